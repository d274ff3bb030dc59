"""Asks Claude about the issues of a backtest, in several threads. Each call is stored before it is
sent and after its reply, so that a run which was ended continues without paying twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from hls_handler.analysis import Reply, UnusableReply, Usage
from hls_handler.engine.active_config import Claude, Provider
from hls_handler.engine.job import decode_reply, encode_reply
from hls_handler.errors import (
    DependencyDown,
    HlsError,
    Permanent,
    PromptError,
    Retryable,
    SlowResponse,
    StepFailed,
    with_remedy,
)
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt
from hls_handler.store.backtests import AskedSide, BacktestStore
from hls_handler.store.replies import StoredReply
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import format_usd

T = TypeVar("T")

MAX_FAILURES_IN_A_ROW = 5
"""Failed calls of one question after which Claude is down, and the run ends."""
LONGEST_WAIT_S = 60.0


class RunStopped(HlsError):
    """The run ends before all issues are asked; a later run continues."""


@dataclass(frozen=True, slots=True)
class Task:
    """One issue and one side that is asked about it."""

    number: int
    side: int
    trial: Trial


class Pace:
    """Keeps the distance between calls. Thread-safe."""

    def __init__(self, per_second: float, wait: Callable[[float], object]) -> None:
        self._distance_s = 1 / per_second
        self._wait = wait
        self._lock = threading.Lock()
        self._next = 0.0

    def wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._distance_s
        self._wait(at - now)


class _Ledger:
    """Stores all calls of a run, and refuses one that does not fit the money. Thread-safe."""

    def __init__(self, store: BacktestStore, most_usd: float, pace: Pace) -> None:
        self._store = store
        self._most_usd = most_usd
        self._pace = pace
        self._changed = threading.Condition()
        self._open = 0  # calls that have not ended: their cost may become less than reserved

    def begin(self, task: Task, rendered: RenderedPrompt, estimate: Usage) -> int:
        self._pace.wait_for_turn()
        name = rendered.prompt.name
        with self._changed:
            while True:
                call = self._store.begin_call(
                    task.number, task.side, prompt=name, estimate=estimate, most_usd=self._most_usd
                )
                if call is not None:
                    self._open += 1
                    return call
                if self._open == 0:
                    break
                self._changed.wait()
        raise RunStopped(
            f"the next call may cost {format_usd(estimate.cost_usd or 0)}, which does not fit"
            f" --max-usd {self._most_usd:g}; run it again with more to continue"
        )

    def lose(self) -> None:
        """Let others go on after a call of which nothing is known: its reservation stays."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def end(
        self, call: int, usage: Usage, *, reply: StoredReply | None = None, error: str | None = None
    ) -> None:
        with self._changed:
            self._store.end_call(call, usage, reply=reply, error=error)
            self._open -= 1
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _StoringProvider:
    """Implements `engine.active_config.Provider`."""

    provider: Provider
    ledger: _Ledger
    task: Task

    def upper_estimate(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Usage:
        return self.provider.upper_estimate(rendered, correction=correction)

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        ledger = self.ledger
        estimate = self.upper_estimate(rendered, correction=correction)
        call = ledger.begin(self.task, rendered, estimate)
        try:
            answer = self.provider.ask(rendered, correction=correction)
        except StepFailed as exc:
            usage = Usage(estimate.model, cost_usd=0.0)
            is_paid = isinstance(exc, SlowResponse)
            if isinstance(exc, DependencyDown):
                is_paid = exc.may_have_succeeded
            if is_paid:
                usage = estimate
            ledger.end(call, usage, error=redact(str(exc)))
            raise
        except BaseException:
            ledger.lose()
            raise
        if isinstance(answer, UnusableReply):
            ledger.end(call, answer.usage, error=redact(answer.problem))
        else:
            ledger.end(call, answer.usage, reply=encode_reply(answer, shown=rendered.code))
        return answer


@dataclass(frozen=True, slots=True)
class _StoringClaude:
    """Implements `engine.active_config.Claude`."""

    claude: Claude
    ledger: _Ledger
    task: Task

    def answer(self, model: str | None, ask: Callable[[Provider], T], *, delivery: str = "") -> T:
        return self.claude.answer(
            model,
            lambda provider: ask(_StoringProvider(provider, self.ledger, self.task)),
            delivery=delivery,
        )

    def find_outage(self) -> DependencyDown | None:
        return self.claude.find_outage()


class Run:
    """Asks what is missing."""

    def __init__(
        self,
        store: BacktestStore,
        tasks: Sequence[Task],
        *,
        per_second: float,
        threads: int,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`wait` waits so many seconds, or until the run stops."""
        self._store = store
        self._threads = threads
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._pace = Pace(per_second, self._wait)
        self._clients = threading.local()
        self._stopped_by: HlsError | None = None
        ended = {key for key, asked in store.load_all().items() if asked.problem is not None}
        self.missing = [task for task in tasks if (task.number, task.side) not in ended]

    def ask_all(self, connect: Callable[[], Claude], most_usd: float) -> Iterator[Task]:
        """Yield each task when it has ended. Raises `RunStopped`.

        `connect` returns a client; each thread has its own. If the caller ends the iteration, only
        calls that were sent are waited for.
        """
        self._connect = connect
        self._ledger = _Ledger(self._store, most_usd, self._pace)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="backtest")
        try:
            futures = [pool.submit(self._ask, task) for task in self.missing]
            for future in as_completed(futures):
                task = future.result()
                if task is not None:
                    yield task
        finally:
            self._stopping.set()
            pool.shutdown(cancel_futures=True)
        if self._stopped_by is not None:
            raise RunStopped(with_remedy(self._stopped_by))

    def _ask(self, task: Task) -> Task | None:
        """Ask about one issue; None if the run stops."""
        failures = 0
        while not self._stopping.is_set():
            try:
                self._ask_once(task)
            except Retryable as exc:
                failures += 1
                if failures == MAX_FAILURES_IN_A_ROW:
                    self._stop(exc)
                    return None
                self._wait(_find_wait_s(exc, failures))
            except (Permanent, PromptError) as exc:
                self._store.end(task.number, task.side, redact(with_remedy(exc)))
                return task
            except HlsError as exc:
                self._stop(exc)
                return None
            else:
                self._store.end(task.number, task.side)
                return task
        return None

    def _stop(self, error: HlsError) -> None:
        self._stopped_by = self._stopped_by or error
        self._stopping.set()

    def _ask_once(self, task: Task) -> None:
        sender = Sender(_StoringClaude(self._claude(), self._ledger, task))
        asked = self._store.load(task.number, task.side)
        trial = replace(task.trial, kept=decode_replies(asked, task.trial.library))
        trial.make_job(sender.send).run(trial.source.handler)

    def _claude(self) -> Claude:
        if not hasattr(self._clients, "claude"):
            self._clients.claude = self._connect()
        claude: Claude = self._clients.claude
        return claude


def decode_replies(asked: AskedSide, library: Library) -> Mapping[int, Reply]:
    """Return the stored replies by their index, up to the first that its prompt cannot read."""
    replies: dict[int, Reply] = {}
    for index, (name, stored) in enumerate(asked.replies.items()):
        prompt = library.prompts.get(name)
        if prompt is None:
            break
        reply = decode_reply(stored, reply_type=prompt.reply, model=prompt.reply_model)
        if reply is None:
            break
        replies[index] = reply
    return replies


def _find_wait_s(error: Retryable, failures: int) -> float:
    wait_s = min(2.0**failures, LONGEST_WAIT_S)
    if error.not_before is None:
        return wait_s
    until = (error.not_before - datetime.now(UTC)).total_seconds()
    return min(max(until, wait_s), LONGEST_WAIT_S)
