"""A clock that is set back: nothing waits longer than from now on."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.queue.clock_steps import ClockSteps
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, claim, nothing_is_due, queued


def check(steps: ClockSteps) -> bool:
    return steps.check(lease_s=30, slowest_write_s=60)


def test_waits_end_after_the_clock_was_set_back(store: Storage, skew: Skew) -> None:
    steps = ClockSteps(store.database, store.queue)
    assert not check(steps)
    begin(store, "killed", number=1)
    retried = begin(store, "retried", number=2)
    store.queue.reschedule(
        retried, at=store.now() + timedelta(seconds=10), reason="GitHub is down", failed=True, counts=False
    )
    store.rate_limiter.hold("github", store.now() + timedelta(seconds=10))
    skew.advance(hours=-1)
    assert check(steps)
    assert claim(store).guid == "retried"
    assert store.rate_limiter.held_until("github") is None
    assert nothing_is_due(store)
    skew.advance(seconds=31)
    assert claim(store).guid == "killed"


def test_lease_from_before_the_clock_was_set_back_ends_after_a_start(store: Storage, skew: Skew) -> None:
    begin(store, "killed")
    skew.advance(hours=-1)
    assert not check(ClockSteps(store.database, store.queue))
    skew.advance(seconds=31)
    assert claim(store).guid == "killed"


def test_later_clock_changes_nothing(store: Storage, skew: Skew) -> None:
    steps = ClockSteps(store.database, store.queue)
    assert not check(steps)
    accept(store, queued("settles", settle_s=10))
    skew.advance(seconds=5)
    assert not check(steps)
    assert nothing_is_due(store)
