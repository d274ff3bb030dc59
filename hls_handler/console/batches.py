"""The pages of batches: the list, and one batch with its progress and result."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Form, Pages
from hls_handler.store.batches import Progress

MOST = 50  # newest batches that the list shows


class BatchPages(Pages):
    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/batches", self._list),
            self._frame.page("/batches/{batch}", self._show),
            self._frame.form("/batches/{batch}/stop", self._stop),
            self._frame.form("/batches/{batch}/undo", self._undo),
        ]

    def _list(self, request: Request) -> Response:
        batches = self._store.batches.newest(limit=MOST)
        return self._frame.render(request, "batches.html", batches=batches)

    def _show(self, request: Request) -> Response:
        # imported here: a service without batches does not need it
        from hls_handler.batches.results import load_result, name_prompts
        from hls_handler.batches.triage import TriageResult

        progress = self._find(request)
        result = load_result(self._store, progress)
        lines = result.describe()
        if isinstance(result, TriageResult):  # the table has its issues
            lines = result.summarize()
        return self._frame.render(
            request,
            "batch.html",
            progress=progress,
            batch=progress.batch,
            lines=lines,
            prompts=name_prompts(progress),
        )

    def _stop(self, request: Request, form: Form) -> Response:
        del form  # it has only the token, which the frame has checked
        batch = self._find(request).batch
        self._store.batches.stop(batch.id, by=self._frame.person(request))
        return RedirectResponse(f"/batches/{batch.id}", 303)

    def _undo(self, request: Request, form: Form) -> Response:
        from hls_handler.batches.triage import undo

        del form
        batch = self._find(request).batch
        if batch.kind == "triage":
            undo(self._store, batch, by=self._frame.person(request))
        return RedirectResponse(f"/batches/{batch.id}", 303)

    def _find(self, request: Request) -> Progress:
        given = request.path_params["batch"]
        batch = None
        if given.isascii() and given.isdigit() and len(given) < 10:
            batch = self._store.batches.find(int(given))
        if batch is None:
            raise HTTPException(404, "there is no such batch")
        return self._store.batches.load_progress(batch)
