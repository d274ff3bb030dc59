"""Trials that ask Claude for a page: in the background, one at a time, with the budget checked
before each call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from hls_handler.analysis import Usage
from hls_handler.engine.active_config import Claude
from hls_handler.errors import HlsError, with_remedy
from hls_handler.operators import log_act
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import CLAUDE_RATE_LIMIT
from hls_handler.trials.comparison import Report
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Plan, Trial, run_trials
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import add_usd, count

log = logging.getLogger(__name__)


class ClaudeClient(Claude, Protocol):
    def close(self) -> None: ...


ConnectClaude = Callable[[ClaudeSettings], ClaudeClient]
"""Returns a client that the caller closes. Raises `SettingsError`."""


class CallRefused(HlsError):
    """A trial must not ask Claude now. The message is a sentence for the operator."""


@dataclass(slots=True)
class Progress:
    """A trial that was started. Its thread changes it, `finished_at` last."""

    name: str  # of the prompt
    prompt_id: str
    started_at: datetime  # aware UTC
    about: Any  # what its page shows besides
    usages: list[Usage] = field(default_factory=list)  # of the replies so far
    finished_at: datetime | None = None
    report: Report | None = None  # None while it runs, or after a defect
    problem: str = ""

    @property
    def cost_usd(self) -> float | None:
        return add_usd(usage.cost_usd for usage in self.usages)


@dataclass
class ClaudeRuns:
    """Runs one trial at a time in a thread, and keeps the results of the last one in memory.
    Thread-safe.
    """

    store: Storage
    connect: ConnectClaude
    now: Callable[[], float]  # seconds since 1970
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _last: Progress | None = field(default=None, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    def find(self, name: str) -> Progress | None:
        """Return the last trial if it is of this prompt."""
        last = self._last
        if last is None or last.name != name:
            return None
        return last

    def start(
        self, name: str, planned: Sequence[Plan], settings: Settings, about: Any, *, by: str
    ) -> None:
        """Start the trials of a prompt for the person `by`, unless one of it is in progress: the
        second of two clicks.

        Raises `CallRefused` if another one is in progress, or while the service itself may not call
        Claude.
        """
        with self._lock:
            if self._last is not None and self._last.finished_at is None:
                if self._last.name == name:
                    return
                raise CallRefused(
                    f"Another trial is in progress, of {self._last.name}. Wait for its end."
                )
            self._check_budget(settings)
            prompt_id = next(one.prompt_id for one in planned if isinstance(one, Trial))
            progress = self._last = Progress(name, prompt_id, self._time(), about)
            log_act(by, "trial", [prompt_id], number=len(planned))
        # A daemon, so that a call in progress does not delay the end of the process: nothing of the
        # trial is stored.
        threading.Thread(
            target=self._run, args=(progress, planned, settings), name="trial", daemon=True
        ).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self, progress: Progress, planned: Sequence[Plan], settings: Settings) -> None:
        try:
            with closing(self.connect(settings.claude)) as client:
                sender = Sender(
                    client, partial(self._check_budget, settings), progress.usages.append
                )
                progress.report = Report(run_trials(self.store, planned, sender))
        except HlsError as exc:
            progress.problem = redact(with_remedy(exc))
        except Exception as exc:
            log.exception("defect in a trial")
            progress.problem = (
                f"a defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
            )
        progress.finished_at = self._time()
        results = progress.report.comparisons if progress.report is not None else ()
        problem = next(filter(None, [progress.problem, *(one.problem for one in results)]), None)
        spent = {
            "prompt": progress.prompt_id,
            "calls": len(progress.usages),
            "cost_usd": progress.cost_usd,
        }
        log.info("trial ended", extra={**spent, "problem": problem})

    def _check_budget(self, settings: Settings) -> None:
        """Raise `CallRefused` if the next call must not be made."""
        if self._stopping.is_set():
            raise CallRefused("The service was stopped.")
        used = self.store.calls.count_last_hour()
        most = settings.claude.calls_per_hour
        if used >= most:
            made = count(most, "call")
            raise CallRefused(
                f"The hourly budget is used up: claude.calls_per_hour allows {made}. Try again"
                " later."
            )
        until = self.store.rate_limiter.held_until(CLAUDE_RATE_LIMIT)
        if until is not None:
            raise CallRefused(
                f"Claude is not asked before {until:%H:%M:%S} UTC, because it asked to wait."
            )

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)
