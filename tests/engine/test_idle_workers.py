"""Idle workers: one polls the queue, the others wait until they are woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hls_handler.engine.workers import IdleWorkers
from tests.engine.world import FOREVER_S, TIMEOUT_S


class Sleeper:
    """A worker that waits once; `awake` is set when it continues."""

    def __init__(self, idle_workers: IdleWorkers, seconds: float = FOREVER_S, *, seen: int | None = None) -> None:
        self.awake = threading.Event()
        self._idle_workers = idle_workers
        self._seen, self._seconds = idle_workers.wake_ups if seen is None else seen, seconds
        self._thread = threading.Thread(target=self._sleep, daemon=True)
        self._thread.start()

    def _sleep(self) -> None:
        self._idle_workers.wait(self._seen, self._seconds)
        self.awake.set()


def is_waiting(idle_workers: IdleWorkers, number: int) -> Callable[[], bool]:
    """Condition that this many workers wait. Only the private `Condition` knows it: no public method returns it."""
    return lambda: len(idle_workers._changed._waiters) == number  # type: ignore[attr-defined]


def test_wake_wakes_one_worker_for_each_delivery() -> None:
    idle_workers = IdleWorkers(lambda: 0.0)
    sleepers = [Sleeper(idle_workers) for _ in range(3)]
    wait_until(is_waiting(idle_workers, 3))
    idle_workers.wake(2)
    wait_until(lambda: sum(one.awake.is_set() for one in sleepers) == 2)
    assert is_waiting(idle_workers, 1)()
    idle_workers.wake()
    assert all(one.awake.wait(TIMEOUT_S) for one in sleepers)


def test_only_one_worker_waits_with_a_timeout() -> None:
    idle_workers = IdleWorkers(lambda: 0.0)
    first = Sleeper(idle_workers, FOREVER_S)
    wait_until(is_waiting(idle_workers, 1))
    later = Sleeper(idle_workers, FOREVER_S + 1)
    wait_until(is_waiting(idle_workers, 2))
    sooner = Sleeper(idle_workers, 0.01)
    assert sooner.awake.wait(TIMEOUT_S)
    assert (first.awake.is_set(), later.awake.is_set()) == (False, False)
    idle_workers.wake()
    assert first.awake.wait(TIMEOUT_S)
    assert later.awake.wait(TIMEOUT_S)


def test_found_work_wakes_another_worker_to_poll() -> None:
    idle_workers = IdleWorkers(lambda: 0.0)
    polling = Sleeper(idle_workers, FOREVER_S)
    wait_until(is_waiting(idle_workers, 1))
    waiting = Sleeper(idle_workers, FOREVER_S)
    wait_until(is_waiting(idle_workers, 2))
    idle_workers.wake(1)  # wakes the longest waiting worker, which is the one that polls
    assert polling.awake.wait(TIMEOUT_S)
    assert not waiting.awake.is_set()
    idle_workers.found_work()
    assert waiting.awake.wait(TIMEOUT_S)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, up to `TIMEOUT_S`, until a condition is true: threads need a moment until they wait."""
    pause = threading.Event()
    for _ in range(int(TIMEOUT_S / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError(f"the condition was not true within {TIMEOUT_S} s")
