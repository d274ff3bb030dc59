"""The pages of triage runs: preview, progress, result and undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Form, Frame
from hls_handler.console.queries import parse_repository
from hls_handler.errors import HlsError, StoreUnavailable, with_remedy
from hls_handler.github.client import connect_read_only
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.storage import Storage
from hls_handler.store.triage import Progress

if TYPE_CHECKING:
    from hls_handler.triage.plan import Plan, Terms

LIMITS = (10, 50, 200)
"""Numbers of issues that the form offers."""

AMOUNTS = (0.1, 1.0, 10.0)
MOST_RUNS = 20
CHANGED = "The issues have changed since the preview. This is the new one; start it again."


class TriagePages:
    def __init__(
        self, frame: Frame, store: Storage, prompts: Callable[[], ReloadingLibrary]
    ) -> None:
        self._frame = frame
        self._store = store
        self._prompts = prompts

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/triage", self._list),
            self._frame.form("/triage", self._process),
            self._frame.page("/triage/{run}", self._show),
            self._frame.form("/triage/{run}/undo", self._undo),
        ]

    def _list(self, request: Request) -> Response:
        return self._page(request, {})

    def _process(self, request: Request, form: Form) -> Response:
        """Show the preview of a run, or start it."""
        # imported here: a service without runs does not need it
        from hls_handler.triage.runs import start

        try:
            terms = _parse_terms(form)
            plan = self._make_plan(terms)
        except StoreUnavailable:
            raise
        except HlsError as exc:
            return self._page(request, form, said=with_remedy(exc), status=409)
        shown = _list_numbers(plan)
        if "start" not in form:
            return self._page(request, form, plan)
        if form["start"] != shown:
            return self._page(request, form, plan, said=CHANGED, status=409)
        run = start(self._store, plan, by=self._frame.person(request))
        return RedirectResponse(f"/triage/{run.id}", 303)

    def _make_plan(self, terms: Terms) -> Plan:
        from hls_handler.triage.plan import Planner

        settings = self._frame.settings
        with closing(connect_read_only(settings.github, now=lambda: datetime.now(UTC))) as github:
            return Planner(self._store, settings, self._prompts().latest, github).plan(terms)

    def _page(
        self,
        request: Request,
        form: Form,
        plan: Plan | None = None,
        *,
        said: str = "",
        status: int = 200,
    ) -> Response:
        forecast: Sequence[str] = ()
        skipped = numbers = ""
        if plan is not None:
            from hls_handler.triage.report import describe_plan, describe_skipped

            forecast = describe_plan(plan)
            skipped = describe_skipped(plan.skipped)
            numbers = _list_numbers(plan)
        runs = self._store.triage.newest(most=MOST_RUNS)
        return self._frame.render(
            request,
            "triage.html",
            status=status,
            form=form,
            plan=plan,
            said=said,
            forecast=forecast,
            skipped=skipped,
            numbers=numbers,
            runs=[self._store.triage.load_progress(run) for run in runs],
            limits=LIMITS,
            amounts=AMOUNTS,
        )

    def _show(self, request: Request) -> Response:
        progress = self._find(request)
        rows = progress.undo or progress.issues
        return self._frame.render(
            request,
            "triage_run.html",
            progress=progress,
            run=progress.run,
            is_open=any(one.is_open for one in (*progress.issues, *progress.undo)),
            rows=rows,
        )

    def _undo(self, request: Request, form: Form) -> Response:
        from hls_handler.triage.runs import undo

        del form  # it has only the token, which the frame has checked
        progress = self._find(request)
        undo(self._store, progress.run, by=self._frame.person(request))
        return RedirectResponse(f"/triage/{progress.run.id}", 303)

    def _find(self, request: Request) -> Progress:
        given = request.path_params["run"]
        run = None
        if given.isascii() and given.isdigit() and len(given) < 10:
            run = self._store.triage.find(int(given))
        if run is None:
            raise HTTPException(404, "there is no such triage run")
        return self._store.triage.load_progress(run)


class InvalidTerms(HlsError):
    """A field of the form is wrong; the message names it."""


def _parse_terms(form: Form) -> Terms:
    from hls_handler.triage.plan import Terms

    repository = parse_repository(form)
    if repository is None:
        raise InvalidTerms("name the repository, as owner/repo")
    try:
        limit = int(form.get("limit", ""))
        max_usd = float(form.get("max_usd", ""))
    except ValueError:
        raise InvalidTerms("the number of issues and the cost must be numbers") from None
    if not (1 <= limit <= 1000 and 0.0001 <= max_usd <= 1000):
        raise InvalidTerms("at most 1,000 issues and 1,000 USD are possible")
    return Terms(repository, limit, max_usd, form.get("comments") == "yes")


def _list_numbers(plan: Plan) -> str:
    return " ".join(str(one.number) for one in plan.chosen)
