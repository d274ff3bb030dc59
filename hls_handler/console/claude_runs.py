"""Runs that ask Claude for a page: in the background, one at a time, with the budget checked before each call."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Generic, Protocol, TypeVar

from hls_handler.analysis import UnusableReply, Usage, ValidReply
from hls_handler.engine.active_config import Claude
from hls_handler.errors import HlsError, PromptError, with_remedy
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import CLAUDE_RATE_LIMIT
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import add_usd, count

KEPT = 20
"""Runs whose results one process keeps."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class ClaudeClient(Claude, Protocol):
    def close(self) -> None: ...


ConnectClaude = Callable[[ClaudeSettings], ClaudeClient]
"""Returns a client that the caller closes. Raises `SettingsError`."""


CheckCost = Callable[[Sequence[Usage], Usage], None]
"""Raises `HlsError` if the next call is too expensive after others. Its arguments are their usage, and its estimate."""


def _allow_cost(_spent: Sequence[Usage], _estimate: Usage) -> None:
    """Allow any cost."""


class CallRefused(HlsError):
    """A dry run or the trial of an edit must not ask Claude now. The message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Progress(Generic[T]):
    """A run that was started."""

    prompt_id: str
    started_at: datetime  # aware UTC
    usages: tuple[Usage, ...] = ()  # of the replies so far
    finished_at: datetime | None = None
    result: T | None = None  # None while it runs, or after an error
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
class ClaudeRuns(Generic[T]):
    """Runs one function at a time in a thread, and keeps the results of the newest in memory. Thread-safe."""

    kind: str  # "dry run"
    store: Storage
    connect: ConnectClaude
    now: Callable[[], float]  # seconds since 1970
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _runs: OrderedDict[str, Progress[T]] = field(default_factory=OrderedDict, init=False)  # by key, newest last
    _running: str | None = field(default=None, init=False)  # the key of the run in progress
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def find(self, key: str) -> Progress[T] | None:
        with self._lock:
            return self._runs.get(key)

    @property
    def running(self) -> str | None:
        """The key of the run in progress, such as the GUID of a dry run's delivery, or None."""
        return self._running

    def start(
        self,
        key: str,
        prompt_id: str,
        settings: Settings,
        run: Callable[[GuardedClaude], T],
        fields: Mapping[str, object],
        *,
        check_cost: CheckCost = _allow_cost,
    ) -> None:
        """Start the run. Raises `CallRefused` if another one is in progress, or if the hourly budget is used up.

        `fields` are for the log line at its end.
        """
        check_budget(self.store, settings)
        with self._lock:
            if self._stopping.is_set():
                raise CallRefused("The service is stopping.")
            if self._running is not None:
                raise CallRefused(f"Another {self.kind} is in progress, of {self._running}. Wait for its end.")
            self._running = key
            self._runs.pop(key, None)
            self._runs[key] = Progress(prompt_id, self._time())
            while len(self._runs) > KEPT:
                self._runs.popitem(last=False)
        # A daemon, so that a call in progress does not delay the end of the process: nothing of the run is stored.
        name = self.kind.replace(" ", "-")
        threading.Thread(
            target=self._run, args=(key, settings, run, fields, check_cost), name=name, daemon=True
        ).start()

    def stop(self) -> None:
        """Make no further call."""
        self._stopping.set()

    def _run(
        self,
        key: str,
        settings: Settings,
        run: Callable[[GuardedClaude], T],
        fields: Mapping[str, object],
        check_cost: CheckCost,
    ) -> None:
        result, problem = None, ""
        try:
            with closing(self.connect(settings.claude)) as client:
                wait, observe = partial(self._wait, settings), partial(self._add_usage, key)
                result = run(GuardedClaude(client, check_cost, wait, observe))
        except PromptError as exc:
            problem = "; ".join(exc.problems)
        except HlsError as exc:
            problem = with_remedy(exc)
        except Exception as exc:
            log.exception("defect in a run for the console", extra={"kind": self.kind})
            problem = f"a defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        ended = self._change(key, finished_at=self._time(), result=result, problem=redact(problem))
        with self._lock:
            self._running = None
        spent = {"prompt": ended.prompt_id, "calls": len(ended.usages), "cost_usd": ended.cost_usd}
        log.info("%s ended", self.kind, extra={**fields, **spent, "problem": ended.problem or None})

    def _wait(self, settings: Settings, *, is_first: bool) -> None:
        """Wait for the next call. Raises `CallRefused`."""
        if self._stopping.wait(0 if is_first else 1 / settings.claude.requests_per_second):
            raise CallRefused("The service was stopped.")
        check_budget(self.store, settings)

    def _add_usage(self, key: str, usage: Usage) -> None:
        self._change(key, usages=(*self._runs[key].usages, usage))

    def _change(self, key: str, **changes: object) -> Progress[T]:
        with self._lock:
            changed = self._runs[key] = replace(self._runs[key], **changes)  # type: ignore[arg-type]
            return changed

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)


class GuardedClaude:
    """Calls `check_cost` and `wait` before, and `observe` after each call to Claude."""

    def __init__(
        self, claude: Claude, check_cost: CheckCost, wait: Callable[..., None], observe: Callable[[Usage], None]
    ) -> None:
        self._claude, self._check_cost, self._wait, self._observe = claude, check_cost, wait, observe
        self.usages: list[Usage] = []

    def upper_estimate(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> Usage:
        return self._claude.upper_estimate(rendered, correction=correction)

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        self._check_cost(self.usages, self.upper_estimate(rendered, correction=correction))
        self._wait(is_first=not self.usages)
        answer = self._claude.ask(rendered, correction=correction)
        self.usages.append(answer.usage)
        self._observe(answer.usage)
        return answer
