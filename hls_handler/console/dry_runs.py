"""Dry runs: the prompts of a delivery are run again in the background, and both results are shown side by side."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.analysis import UnusableReply, Usage, ValidReply
from hls_handler.console.delivery_search import describe_conversation, describe_event, find_delivery
from hls_handler.console.frame import Frame
from hls_handler.errors import HlsError, PromptError, with_remedy
from hls_handler.history.calls import CLAUDE_RATE_LIMIT
from hls_handler.history.statistics import DeliveryRow
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.reports.dry_run import DryRun, DryRunPlan, plan_dry_run, run_dry
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import add_usd, count
from hls_handler.work.active_config import Claude, DeliveryConfig
from hls_handler.work.replay import NotRepeatable

KEPT = 20
"""Dry runs whose results one process keeps."""

log = logging.getLogger(__name__)


class ClaudeClient(Claude, Protocol):
    def close(self) -> None: ...


ConnectClaude = Callable[[ClaudeSettings], ClaudeClient]
"""Returns a client that the caller closes. Raises `SettingsError`."""


class CallRefused(HlsError):
    """A dry run or an unsaved edit must not ask Claude now. The message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A dry run that was started."""

    prompt_id: str
    started_at: datetime  # aware UTC
    usages: tuple[Usage, ...] = ()  # of the replies so far
    finished_at: datetime | None = None
    result: DryRun | None = None  # None while it runs, or after an error
    problem: str = ""

    @property
    def cost_usd(self) -> float | None:
        return add_usd(usage.cost_usd for usage in self.usages)


def check_budget(store: Storage, settings: Settings) -> None:
    """Raise `CallRefused` while the service itself may not call Claude."""
    used, most = store.calls.count_last_hour(), settings.claude.calls_per_hour
    if used >= most:
        made = count(most, "call")
        raise CallRefused(f"The hourly budget is used up: claude.calls_per_hour allows {made}. Try again later.")
    until = store.rate_limiter.held_until(CLAUDE_RATE_LIMIT)
    if until is not None:
        raise CallRefused(f"Claude is not asked before {until:%H:%M:%S} UTC, because it asked to wait.")


@dataclass
class DryRuns:
    """Runs one dry run at a time in a thread, and keeps the results of the newest in memory. Thread-safe."""

    store: Storage
    connect: ConnectClaude
    now: Callable[[], float]  # seconds since 1970
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _runs: OrderedDict[str, Progress] = field(default_factory=OrderedDict, init=False)  # by GUID, newest last
    _running: str | None = field(default=None, init=False)  # the GUID of the delivery
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def find(self, guid: str) -> Progress | None:
        with self._lock:
            return self._runs.get(guid)

    @property
    def running(self) -> str | None:
        """The GUID of the delivery whose dry run is in progress, or None."""
        return self._running

    def start(self, plan: DryRunPlan) -> None:
        """Start the run. Raises `CallRefused` if another one is in progress, or if the hourly budget is used up."""
        check_budget(self.store, plan.settings)
        guid = plan.source.row.guid
        with self._lock:
            if self._stopping.is_set():
                raise CallRefused("The service is stopping.")
            if self._running is not None:
                raise CallRefused(f"Another dry run is in progress, of delivery {self._running}. Wait for its end.")
            self._running = guid
            self._runs.pop(guid, None)
            self._runs[guid] = Progress(plan.prompt.id, self._time())
            while len(self._runs) > KEPT:
                self._runs.popitem(last=False)
        # A daemon, so that a call in progress does not delay the end of the process: nothing of the run is stored.
        threading.Thread(target=self._run, args=(plan,), name="dry-run", daemon=True).start()

    def stop(self) -> None:
        """Make no further call."""
        self._stopping.set()

    def _run(self, plan: DryRunPlan) -> None:
        guid, result, problem = plan.source.row.guid, None, ""
        try:
            with closing(self.connect(plan.settings.claude)) as client:
                wait, observe = partial(self._wait, plan.settings), partial(self._add_usage, guid)
                claude = _GuardedClaude(client, plan, wait, observe)
                result = run_dry(plan, claude, claude.usages)
        except PromptError as exc:
            problem = "; ".join(exc.problems)
        except HlsError as exc:
            problem = with_remedy(exc)
        except Exception as exc:
            log.exception("defect in a dry run")
            problem = f"a defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        ended = self._change(guid, finished_at=self._time(), result=result, problem=redact(problem))
        with self._lock:
            self._running = None
        fields = {"delivery": guid, "prompt": plan.prompt.id, "calls": len(ended.usages), "cost_usd": ended.cost_usd}
        log.info("dry run ended", extra={**fields, "problem": ended.problem or None})

    def _wait(self, settings: Settings, *, is_first: bool) -> None:
        """Wait for the next call. Raises `CallRefused`."""
        if self._stopping.wait(0 if is_first else 1 / settings.claude.requests_per_second):
            raise CallRefused("The service was stopped.")
        check_budget(self.store, settings)

    def _add_usage(self, guid: str, usage: Usage) -> None:
        self._change(guid, usages=(*self._runs[guid].usages, usage))

    def _change(self, guid: str, **changes: object) -> Progress:
        with self._lock:
            changed = self._runs[guid] = replace(self._runs[guid], **changes)  # type: ignore[arg-type]
            return changed

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)


class _GuardedClaude:
    """Checks the cost and calls `wait` before, and calls `observe` after each call to Claude."""

    def __init__(
        self, claude: Claude, plan: DryRunPlan, wait: Callable[..., None], observe: Callable[[Usage], None]
    ) -> None:
        self._claude, self._plan, self._wait, self._observe = claude, plan, wait, observe
        self.usages: list[Usage] = []

    def upper_estimate(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> Usage:
        return self._claude.upper_estimate(rendered, correction=correction)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        self._plan.check_cost(self.usages, self.upper_estimate(rendered, correction=correction))
        self._wait(is_first=not self.usages)
        answer = self._claude.ask(rendered, correction=correction)
        self.usages.append(answer.usage)
        self._observe(answer.usage)
        return answer


class DryRunPages:
    def __init__(self, frame: Frame, store: Storage, config: Callable[[], DeliveryConfig], runs: DryRuns) -> None:
        self._frame, self._store, self._config, self._runs = frame, store, config, runs

    def routes(self) -> Sequence[BaseRoute]:
        path = "/deliveries/{guid}/dry-run"
        return [self._frame.page(path, self._show), self._frame.page(path, self._start, method="POST")]

    async def _show(self, request: Request) -> Response:
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            return self._missing(request)
        return await self._page(request, row, request.query_params.get("prompt"))

    def _missing(self, request: Request) -> Response:
        guid = request.path_params["guid"]
        return self._frame.message(request, f"There is no delivery {guid}, or it was deleted.", status=404)

    async def _start(self, request: Request) -> Response:
        form = await self._frame.read_own_form(request)
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            return self._missing(request)
        prompt = form.get("prompt")
        if self._runs.running == row.guid:  # the second request of a double click
            return RedirectResponse(f"/deliveries/{row.guid}/dry-run", 303)
        try:
            await asyncio.to_thread(lambda: self._runs.start(self._plan(row, prompt)))
        except CallRefused as exc:
            return await self._page(request, row, prompt, said=str(exc), status=409)
        except (NotRepeatable, PromptError):  # the page says it
            return await self._page(request, row, prompt, status=409)
        return RedirectResponse(f"/deliveries/{row.guid}/dry-run", 303)

    def _plan(self, row: DeliveryRow, prompt: str | None) -> DryRunPlan:
        return plan_dry_run(self._store, row, self._config(), prompt)

    async def _page(
        self, request: Request, row: DeliveryRow, prompt: str | None, *, said: str = "", status: int = 200
    ) -> Response:
        # In a thread, because rendering long prompts and comparing long comments takes a part of a second.
        return await asyncio.to_thread(partial(self._render, request, row, prompt, said=said, status=status))

    def _render(self, request: Request, row: DeliveryRow, prompt: str | None, *, said: str, status: int) -> Response:
        progress, plan, problem = self._runs.find(row.guid), None, ""
        is_running = progress is not None and progress.finished_at is None
        if not is_running:
            try:
                plan = self._plan(row, prompt)
            except NotRepeatable as exc:
                problem = f"A dry run is not possible: {exc}."
            except PromptError as exc:
                problem = f"The prompt cannot be rendered: {'; '.join(exc.problems)}."
        return self._frame.render(
            request,
            "dry_run.html",
            status=status,
            row=row,
            event=describe_event(row),
            conversation=describe_conversation(row),
            progress=progress,
            result=progress.result if progress else None,
            is_running=is_running,
            plan=plan,
            said=said,
            problem=problem,
            other=self._runs.running if not is_running else None,
            used=self._store.calls.count_last_hour(),
            most=self._frame.settings.claude.calls_per_hour,
        )
