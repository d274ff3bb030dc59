"""The database's clock, and a clock that is set back: nothing waits longer than from now on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.background.health_checks import ClockSteps
from hls_handler.db.values import from_ms, to_ms
from hls_handler.store.repositories import StoredFile
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    Skew,
    accept,
    begin,
    claim,
    finish,
    nothing_is_due,
    queued,
    reschedule,
    row_of,
    start_call,
)


def test_waits_end_after_the_clock_was_set_back(store: Storage, skew: Skew) -> None:
    steps = ClockSteps(store.database, store.queue)
    assert not steps.check()
    begin(store, "killed", number=1)
    retried = begin(store, "retried", number=2)
    reschedule(store, retried, store.now() + timedelta(seconds=10), failed=True)
    store.rate_limiter.hold("github", store.now() + timedelta(seconds=10))
    skew.advance(hours=-1)
    assert steps.check()
    assert claim(store).guid == "retried"
    assert store.rate_limiter.held_until("github") is None
    assert nothing_is_due(store)
    skew.advance(seconds=31)
    assert claim(store).guid == "killed"


def test_lease_from_before_the_clock_was_set_back_ends_after_a_start(
    store: Storage, skew: Skew
) -> None:
    begin(store, "killed")
    skew.advance(hours=-1)
    assert not ClockSteps(store.database, store.queue).check()
    skew.advance(seconds=31)
    assert claim(store).guid == "killed"


def test_later_clock_changes_nothing(store: Storage, skew: Skew) -> None:
    steps = ClockSteps(store.database, store.queue)
    assert not steps.check()
    accept(store, queued("settles", settle_s=10))
    skew.advance(seconds=5)
    assert not steps.check()
    assert nothing_is_due(store)


# The clock


@pytest.mark.parametrize(("microseconds", "milliseconds"), [(0, 0), (1, 1), (1000, 1)])
def test_milliseconds_are_rounded_up(microseconds: int, milliseconds: int) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert to_ms(noon + timedelta(microseconds=microseconds)) - to_ms(noon) == milliseconds
    assert from_ms(to_ms(noon)) == noon


def test_calls_and_reads_that_seem_to_be_far_ahead_do_not_count(store: Storage, skew: Skew) -> None:
    skew.advance(days=3)
    earlier = begin(store, "g1", number=7)
    start_call(store, earlier, "issues/analyze@3f9c2a")
    store.repository_files.save(
        earlier, 1, "octo/widgets", "hls", StoredFile(version=None, text=None)
    )
    finish(store, earlier)
    skew.advance(days=-3)
    assert store.calls.count_last_hour() == 0
    assert store.calls.count_conversation_runs(begin(store, "g2", number=7)) == 0
    assert store.repository_files.find("hls", 1)[1].age_s > 86400


def test_no_delivery_waits_longer_than_two_days(store: Storage) -> None:
    lease = begin(store, "g1")
    reschedule(store, lease, store.now() + timedelta(days=30))
    row = row_of(store, "g1")
    assert timedelta(days=1, hours=23) < row.due_at - store.now() <= timedelta(days=2)
