"""Trials that ask Claude for a page: in the background, one at a time, with the budget checked before each call."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from hls_handler.analysis import Usage
from hls_handler.engine.active_config import Claude
from hls_handler.errors import HlsError
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import CLAUDE_RATE_LIMIT
from hls_handler.trials.comparison import Report
from hls_handler.trials.trial import Sender, Trial, run_trials
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import add_usd, count

KEPT = 20
"""Trials whose results one process keeps."""

log = logging.getLogger(__name__)


class ClaudeClient(Claude, Protocol):
    def close(self) -> None: ...


ConnectClaude = Callable[[ClaudeSettings], ClaudeClient]
"""Returns a client that the caller closes. Raises `SettingsError`."""


class CallRefused(HlsError):
    """A trial must not ask Claude now. The message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A trial that was started."""

    kind: str  # "dry run", or "trial" of an unsaved edit
    prompt_id: str
    started_at: datetime  # aware UTC
    about: Any  # what its page shows besides
    usages: tuple[Usage, ...] = ()  # of the replies so far
    finished_at: datetime | None = None
    report: Report | None = None  # None while it runs, or after a defect
    problem: str = ""

    @property
    def cost_usd(self) -> float | None:
        return add_usd(usage.cost_usd for usage in self.usages)


@dataclass
class ClaudeRuns:
    """Runs one trial at a time in a thread, and keeps the results of the newest in memory. Thread-safe."""

    store: Storage
    connect: ConnectClaude
    now: Callable[[], float]  # seconds since 1970
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _runs: OrderedDict[str, Progress] = field(default_factory=OrderedDict, init=False)  # by key, newest last
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def find(self, key: str) -> Progress | None:
        with self._lock:
            return self._runs.get(key)

    @property
    def running(self) -> str | None:
        """The key of the trial in progress: the GUID of a delivery, or the name of a prompt; None if there is none."""
        with self._lock:
            return next((key for key, one in self._runs.items() if one.finished_at is None), None)

    def start(
        self,
        kind: str,
        key: str,
        trials: Sequence[Trial],
        settings: Settings,
        fields: Mapping[str, object],
        about: Any = None,
    ) -> None:
        """Start a trial of this kind. `fields` are for the log line at its end.

        Raises `CallRefused` if another one is in progress, or while the service itself may not call Claude.
        """
        self._check_budget(settings)
        with self._lock:
            if self._stopping.is_set():
                raise CallRefused("The service is stopping.")
            for other, progress in self._runs.items():
                if progress.finished_at is None:
                    raise CallRefused(f"Another {progress.kind} is in progress, of {other}. Wait for its end.")
            self._runs.pop(key, None)
            self._runs[key] = Progress(kind, trials[0].prompt_id, self._time(), about)
            while len(self._runs) > KEPT:
                self._runs.popitem(last=False)
        # A daemon, so that a call in progress does not delay the end of the process: nothing of the trial is stored.
        run = partial(self._run, kind, key, trials, settings, fields)
        threading.Thread(target=run, name=kind.replace(" ", "-"), daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(
        self, kind: str, key: str, trials: Sequence[Trial], settings: Settings, fields: Mapping[str, object]
    ) -> None:
        report, problem = None, ""
        try:
            with closing(self.connect(settings.claude)) as client:
                wait, interval_s = partial(self._wait, settings), 1 / settings.claude.requests_per_second
                sender = Sender(client, wait, partial(self._add_usage, key), interval_s=interval_s)
                report = Report(run_trials(trials, sender))
        except HlsError as exc:
            problem = redact(str(exc))
        except Exception as exc:
            log.exception("defect in a run for the console", extra={"kind": kind})
            problem = f"a defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        ended = self._change(key, finished_at=self._time(), report=report, problem=problem)
        problems = [problem, *(one.problem for one in (report.comparisons if report else ()))]
        spent = {"prompt": ended.prompt_id, "calls": len(ended.usages), "cost_usd": ended.cost_usd}
        log.info("%s ended", kind, extra={**fields, **spent, "problem": next(filter(None, problems), None)})

    def _wait(self, settings: Settings, seconds: float) -> None:
        """Wait for the next call. Raises `CallRefused`."""
        if self._stopping.wait(seconds):
            raise CallRefused("The service was stopped.")
        self._check_budget(settings)

    def _check_budget(self, settings: Settings) -> None:
        used, most = self.store.calls.count_last_hour(), settings.claude.calls_per_hour
        if used >= most:
            made = count(most, "call")
            raise CallRefused(f"The hourly budget is used up: claude.calls_per_hour allows {made}. Try again later.")
        until = self.store.rate_limiter.held_until(CLAUDE_RATE_LIMIT)
        if until is not None:
            raise CallRefused(f"Claude is not asked before {until:%H:%M:%S} UTC, because it asked to wait.")

    def _add_usage(self, key: str, usage: Usage) -> None:
        self._change(key, usages=(*self._runs[key].usages, usage))

    def _change(self, key: str, **changes: object) -> Progress:
        with self._lock:
            changed = self._runs[key] = replace(self._runs[key], **changes)  # type: ignore[arg-type]
            return changed

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)
