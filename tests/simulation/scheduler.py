"""Runs threads one at a time in virtual time: always the one that wakes first. A seed determines the whole run."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

STARTED_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REAL_LIMIT_S = 60.0
"""Limit for a thread that does not give the turn back; reached only if a test fails."""


class Killed(BaseException):
    """The machine of this thread was killed; no `except Exception` may catch it."""


@dataclass
class Machine:
    """What threads share that are killed, frozen and continued together."""

    name: str
    is_killed: bool = False
    frozen_until_s: float = 0.0


@dataclass(order=True)
class _Turn:
    at_s: float
    order: int
    thread: _Thread = field(compare=False)


def _closed() -> threading.Lock:
    """Return a lock that is acquired: the next `acquire` waits for a `release` by another thread."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class _Thread:
    def __init__(self, scheduler: Scheduler, machine: Machine, run: Callable[[], None]) -> None:
        self.machine, self.turn, self.has_ended = machine, _closed(), False
        self._scheduler, self._run = scheduler, run
        self.thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        try:
            self.turn.acquire()
            if not self.machine.is_killed:
                self._run()
        except Killed:
            pass
        except BaseException as exc:  # noqa: BLE001 (`Scheduler.run` raises it)
            self._scheduler.error = exc
        self.has_ended = True
        self._scheduler.turn.release()


class Scheduler:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.seconds = 0.0  # monotonic
        self.clock_step = timedelta()  # of the clock that the database uses
        self.turn = _closed()
        self.error: BaseException | None = None
        self._turns: list[_Turn] = []
        self._count = 0
        self._current: _Thread | None = None

    def now(self) -> datetime:
        return STARTED_AT + timedelta(seconds=self.seconds) + self.clock_step

    def start(self, machine: Machine, run: Callable[[], None], *, after_s: float = 0.0) -> None:
        thread = _Thread(self, machine, run)
        thread.thread.start()
        self._wake(thread, self.seconds + after_s)

    def sleep(self, seconds: float) -> None:
        """Let other threads run for this time. Raises `Killed` if the machine was killed meanwhile."""
        thread = self._current
        assert thread is not None
        self._wake(thread, self.seconds + seconds)
        self.turn.release()
        thread.turn.acquire()
        if thread.machine.is_killed:
            raise Killed

    def pass_turn(self) -> None:
        """Let other threads run for some milliseconds. Does nothing outside of a thread of the scheduler."""
        if self._current is not None:
            self.sleep(self.random.uniform(0.001, 0.02))

    def run(self, until_s: float) -> None:
        """Run all threads until this time. Raises the error that ended a thread."""
        while self._turns and self._turns[0].at_s <= until_s:
            turn = heapq.heappop(self._turns)
            self.seconds = max(self.seconds, turn.at_s)
            machine = turn.thread.machine
            if machine.frozen_until_s > self.seconds and not machine.is_killed:
                self._wake(turn.thread, machine.frozen_until_s)
                continue
            self._give_turn(turn.thread)
        self.seconds = until_s

    def end(self) -> None:
        """End all threads, as if their machines were killed."""
        for turn in self._turns:
            turn.thread.machine.is_killed = True
        while self._turns:
            self._give_turn(heapq.heappop(self._turns).thread)

    def _give_turn(self, thread: _Thread) -> None:
        self._current = thread
        thread.turn.release()
        if not self.turn.acquire(timeout=REAL_LIMIT_S):
            raise TimeoutError(f"a thread of {thread.machine.name} did not give the turn back")
        self._current = None
        if thread.has_ended:
            thread.thread.join()
        if self.error is not None:
            raise self.error

    def _wake(self, thread: _Thread, at_s: float) -> None:
        self._count += 1
        heapq.heappush(self._turns, _Turn(at_s, self._count, thread))
