"""Runs tasks, one at a time, in virtual time: always the one that wakes first. A seed determines
the whole run.

A task is a greenlet: in place of a thread it needs no locks, and a switch takes less time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

STARTED_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Killed(BaseException):
    """The machine of this task was killed; no `except Exception` may catch it."""


@dataclass
class Machine:
    """What tasks share that are killed, frozen and continued together."""

    name: str
    is_killed: bool = False
    frozen_until_s: float = 0.0


@dataclass(frozen=True, eq=False)
class _Task:
    machine: Machine
    greenlet: greenlet


class Scheduler:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.seconds = 0.0  # monotonic
        self.clock_step = timedelta()  # of the clock that the database uses
        self._turns: list[tuple[float, int, _Task]] = []  # time, order, task
        self._count = 0
        self._current: _Task | None = None
        self._main = getcurrent()

    def now(self) -> datetime:
        return STARTED_AT + timedelta(seconds=self.seconds) + self.clock_step

    def start(self, machine: Machine, run: Callable[[], None], *, after_s: float = 0.0) -> None:
        self._wake(_Task(machine, greenlet(run, self._main)), self.seconds + after_s)

    def sleep(self, seconds: float) -> None:
        """Let other tasks run for this time. Raises `Killed` if the machine was killed
        meanwhile.
        """
        task = self._current
        assert task is not None
        self._wake(task, self.seconds + seconds)
        self._main.switch()
        if task.machine.is_killed:
            raise Killed

    def pass_turn(self) -> None:
        """Let other tasks run for some milliseconds. Does nothing outside of a task."""
        if self._current is not None:
            self.sleep(self.random.uniform(0.001, 0.02))

    def run(self, until_s: float) -> None:
        """Run all tasks until this time. Raises the error that ended a task."""
        while self._turns and self._turns[0][0] <= until_s:
            at_s, _, task = heapq.heappop(self._turns)
            self.seconds = max(self.seconds, at_s)
            machine = task.machine
            if machine.frozen_until_s > self.seconds and not machine.is_killed:
                self._wake(task, machine.frozen_until_s)
            else:
                self._give_turn(task)
        self.seconds = until_s

    def end(self) -> None:
        """End all tasks, as if their machines were killed."""
        for _, _, task in self._turns:
            task.machine.is_killed = True
        while self._turns:
            self._give_turn(heapq.heappop(self._turns)[2])

    def _give_turn(self, task: _Task) -> None:
        if task.machine.is_killed and not task.greenlet:  # it has not begun
            return
        self._current = task
        try:
            with suppress(Killed):
                task.greenlet.switch()
        finally:
            self._current = None

    def _wake(self, task: _Task, at_s: float) -> None:
        self._count += 1
        heapq.heappush(self._turns, (at_s, self._count, task))
