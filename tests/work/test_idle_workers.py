"""Idle workers: who looks, who sleeps, and who is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hls_handler.work.workers import IdleWorkers

PATIENCE_S = 30.0
FOREVER_S = 3600.0


class Sleeper:
    """A worker that waits once; `awake` is set when it goes on."""

    def __init__(self, idling: IdleWorkers, seconds: float = FOREVER_S, *, seen: int | None = None) -> None:
        self.awake = threading.Event()
        self._idling = idling
        self._seen, self._seconds = idling.wake_ups if seen is None else seen, seconds
        self._thread = threading.Thread(target=self._sleep, daemon=True)
        self._thread.start()

    def _sleep(self) -> None:
        self._idling.wait(self._seen, self._seconds)
        self.awake.set()


def asleep(idling: IdleWorkers, number: int) -> Callable[[], bool]:
    """Whether so many wait, which only the condition itself knows."""
    return lambda: len(idling._changed._waiters) == number  # type: ignore[attr-defined]


def test_so_many_are_woken_as_there_is_work() -> None:
    idling = IdleWorkers(lambda: 0.0)
    sleepers = [Sleeper(idling) for _ in range(3)]
    until(asleep(idling, 3))
    idling.wake(2)
    until(lambda: sum(one.awake.is_set() for one in sleepers) == 2)
    assert asleep(idling, 1)()
    idling.wake()
    assert all(one.awake.wait(PATIENCE_S) for one in sleepers)


def test_what_came_after_the_last_look_is_not_slept_over() -> None:
    idling = IdleWorkers(lambda: 0.0)
    seen = idling.wake_ups
    idling.wake(1)
    assert Sleeper(idling, seen=seen).awake.wait(PATIENCE_S)


def test_nothing_is_woken_for_nothing() -> None:
    idling = IdleWorkers(lambda: 0.0)
    seen = idling.wake_ups
    idling.wake(0)
    assert idling.wake_ups == seen


def test_only_one_looks_from_time_to_time() -> None:
    idling = IdleWorkers(lambda: 0.0)
    first = Sleeper(idling, FOREVER_S)
    until(asleep(idling, 1))
    later = Sleeper(idling, FOREVER_S + 1)
    until(asleep(idling, 2))
    sooner = Sleeper(idling, 0.01)
    assert sooner.awake.wait(PATIENCE_S)
    assert (first.awake.is_set(), later.awake.is_set()) == (False, False)
    idling.wake()
    assert first.awake.wait(PATIENCE_S)
    assert later.awake.wait(PATIENCE_S)


def test_who_looks_is_followed_by_another_when_he_finds_work() -> None:
    idling = IdleWorkers(lambda: 0.0)
    looks = Sleeper(idling, FOREVER_S)
    until(asleep(idling, 1))
    sleeps = Sleeper(idling, FOREVER_S)
    until(asleep(idling, 2))
    idling.wake(1)  # the one who waits the longest, who is the one that looks
    assert looks.awake.wait(PATIENCE_S)
    assert not sleeps.awake.is_set()
    idling.found_work()
    assert sleeps.awake.wait(PATIENCE_S)


def test_nobody_is_woken_when_another_finds_work_while_one_looks() -> None:
    idling = IdleWorkers(lambda: 0.0)
    looks = Sleeper(idling, FOREVER_S)
    until(asleep(idling, 1))
    idling.found_work()
    assert asleep(idling, 1)()
    idling.wake()
    assert looks.awake.wait(PATIENCE_S)


def until(is_so: Callable[[], bool]) -> None:
    """Bounded: threads need a moment until they wait."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.005)):
        if is_so():
            return
        pause.wait(0.005)
    raise AssertionError("it did not come to that")
