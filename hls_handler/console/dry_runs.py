"""The page of a dry run: the prompts of a delivery are run again, and both results are shown side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.claude_runs import CallRefused, ClaudeRuns
from hls_handler.console.delivery_search import require_delivery
from hls_handler.console.frame import Form, Frame
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.errors import PromptError
from hls_handler.reports.estimate import estimate
from hls_handler.storage import Storage
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, load_stored_facts
from hls_handler.trials.trial import list_prompts, plan_trial


class DryRunPages:
    def __init__(self, frame: Frame, store: Storage, config: Callable[[], DeliveryConfig], runs: ClaudeRuns) -> None:
        self._frame, self._store, self._config, self._runs = frame, store, config, runs

    def routes(self) -> Sequence[BaseRoute]:
        path = "/deliveries/{guid}/dry-run"
        return [self._frame.page(path, self._show), self._frame.form(path, self._start)]

    def _show(self, request: Request) -> Response:
        row = require_delivery(self._store, request)
        return self._page(request, row, request.query_params.get("prompt"))

    def _start(self, request: Request, form: Form) -> Response:
        row, config, prompt = require_delivery(self._store, request), self._config(), form.get("prompt")
        try:
            trial = plan_trial(self._store, config, load_stored_facts(self._store, row, config.table), prompt)
            self._runs.start("dry run", row.guid, [trial], config.settings, {"delivery": row.guid})
        except CallRefused as exc:
            if self._runs.running != row.guid:  # else it is the second request of a double click
                return self._page(request, row, prompt, said=str(exc), status=409)
        except (NotRepeatable, PromptError):  # the page says it
            return self._page(request, row, prompt, status=409)
        return RedirectResponse(f"/deliveries/{row.guid}/dry-run", 303)

    def _page(
        self, request: Request, row: DeliveryRow, prompt: str | None, *, said: str = "", status: int = 200
    ) -> Response:
        config, progress, trial, problem = self._config(), self._runs.find(row.guid), None, ""
        is_running = progress is not None and progress.finished_at is None
        if not is_running:
            try:
                trial = plan_trial(self._store, config, load_stored_facts(self._store, row, config.table), prompt)
            except NotRepeatable as exc:
                problem = f"A dry run is not possible: {exc}."
            except PromptError as exc:
                problem = f"The prompt cannot be rendered: {'; '.join(exc.problems)}."
        return self._frame.render(
            request,
            "dry_run.html",
            status=status,
            row=row,
            event=row.event_key,
            conversation=row.conversation,
            progress=progress,
            is_running=is_running,
            trial=trial,
            prompts=list_prompts(trial.library, trial.source.event) if trial else (),
            estimate=estimate(config.settings.claude, *trial.requests) if trial else None,
            said=said,
            problem=problem,
            used=self._store.calls.count_last_hour(),
            most=self._frame.settings.claude.calls_per_hour,
        )
