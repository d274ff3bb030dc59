"""Claiming deliveries: order, leases and crashed workers."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    Skew,
    accept,
    begin,
    claim,
    finish,
    nothing_is_due,
    push,
    queued,
    reschedule,
    row_of,
)


def seconds_until_due(store: Storage, concurrency: int = 100) -> float:
    seconds = store.queue.seconds_until_due(concurrency=concurrency)
    assert seconds is not None
    return seconds


def test_claim_takes_higher_priority_first_and_then_the_oldest(store: Storage) -> None:
    accept(store, queued("g1"), queued("g2"), queued("g3", priority=1), queued("g4", priority=2))
    assert [claim(store).guid for _ in range(4)] == ["g4", "g3", "g1", "g2"]
    assert nothing_is_due(store)


def test_ten_minutes_of_waiting_outrank_one_step_of_priority(store: Storage, skew: Skew) -> None:
    accept(store, queued("rest"))
    skew.advance(minutes=9)
    accept(store, queued("in time", priority=1))
    skew.advance(minutes=2)
    accept(store, queued("too late", priority=1), queued("two steps", priority=2))
    assert [claim(store).guid for _ in range(4)] == ["two steps", "in time", "rest", "too late"]


def test_debounced_delivery_is_not_due_before_its_time(store: Storage, skew: Skew) -> None:
    accept(store, push("g1", "aaa", settle_s=5.0), queued("g2"))
    assert claim(store).guid == "g2"
    assert nothing_is_due(store)
    row = row_of(store, "g1")
    assert row.reason == "waits 5 s for a newer push (limits.settle_s)"
    assert 4 < seconds_until_due(store) <= 5
    skew.advance(seconds=5)
    assert claim(store).guid == "g1"


def test_running_deliveries_are_limited_by_concurrency(store: Storage, skew: Skew) -> None:
    accept(store, *(queued(f"g{n}") for n in range(4)))

    def claim_one() -> Lease | None:
        return store.queue.claim(worker="worker", concurrency=2)

    first, second = claim_one(), claim_one()
    assert first is not None
    assert second is not None
    assert claim_one() is None
    assert 25 < seconds_until_due(store, concurrency=2) <= 30  # the first lease ends then
    finish(store, first)
    assert store.queue.seconds_until_due(concurrency=2) == 0.0
    third = claim_one()
    assert third is not None
    assert (third.guid, claim_one()) == ("g2", None)
    skew.advance(seconds=31)
    assert claim_one() is not None  # expired leases do not count


def test_one_command_runs_beyond_the_concurrency(store: Storage) -> None:
    accept(store, queued("running", number=7), queued("waiting", number=8))
    accept(store, *(queued(f"command {n}", number=n, is_command=True) for n in (7, 8)))
    claimed = [store.queue.claim(worker="w", concurrency=1) for _ in range(4)]
    assert [None if lease is None else lease.guid for lease in claimed] == [
        "running",
        "command 7",
        None,
        None,
    ]


def test_conversation_runs_one_delivery_at_a_time_oldest_first(store: Storage) -> None:
    accept(
        store,
        queued("g1", number=7),
        queued("g2", number=7, priority=9),
        queued("g3", number=7, repository_id=2),
    )
    first = claim(store)
    assert (first.guid, claim(store).guid) == ("g1", "g3")
    assert nothing_is_due(store)
    finish(store, first)
    assert claim(store).guid == "g2"


def test_waiting_delivery_blocks_only_its_own_conversation(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7), queued("g3", number=8))
    reschedule(store, lease, store.now() + timedelta(minutes=5), failed=True)
    assert claim(store).guid == "g3"
    assert nothing_is_due(store)
    skew.advance(minutes=5)
    assert claim(store).guid == "g1"


def test_expired_lease_is_claimed_again_and_counts_as_a_crash(store: Storage, skew: Skew) -> None:
    stale = begin(store, "g1")
    skew.advance(seconds=31)
    lease = claim(store, worker="other")
    assert (lease.guid, lease.attempt, lease.crashes) == ("g1", 2, 1)
    with pytest.raises(LeaseLost, match="delivery g1"):
        store.queue.renew(stale)


def test_delivery_is_dead_after_max_crashes(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1"))
    for crashes in range(3):
        assert claim(store, max_crashes=3).crashes == crashes
        skew.advance(seconds=31)
    assert store.queue.claim(worker="worker", lease_s=30, max_crashes=3) is None
    row = row_of(store, "g1")
    assert (row.state, row.crashes) == ("dead", 3)
    assert row.reason == "its worker died 3 times without completing another step"
    assert store.statistics.totals()["outcome", "dead", "octo/widgets"] == 1


def test_crash_after_a_checkpoint_is_not_counted(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1"))
    for step in range(5):
        lease = claim(store, max_crashes=2)
        assert lease.crashes == 0
        store.checkpoints.save(lease, Checkpoint("ask", step, 1, "{}"))
        skew.advance(seconds=31)
    assert claim(store, max_crashes=2).crashes == 0
    skew.advance(seconds=31)
    assert claim(store, max_crashes=2).crashes == 1


def test_released_leases_can_be_claimed_at_once_and_count_as_crashes(store: Storage) -> None:
    accept(store, queued("g1"), queued("g2"))
    before = [claim(store), claim(store)]
    assert store.queue.release_all_leases() == 2
    assert store.queue.release_all_leases() == 0
    with pytest.raises(LeaseLost):
        store.queue.renew(before[0])
    after = [claim(store), claim(store)]
    assert sorted((lease.guid, lease.attempt, lease.crashes) for lease in after) == [
        ("g1", 2, 1),
        ("g2", 2, 1),
    ]


def test_seconds_until_due_skips_blocked_deliveries(store: Storage, skew: Skew) -> None:
    assert store.queue.seconds_until_due() is None
    first = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    assert 25 < seconds_until_due(store) <= 30  # until the lease of g1 ends
    reschedule(store, first, store.now() + timedelta(seconds=300), failed=True)
    assert 295 < seconds_until_due(store) <= 300  # g2 is due, but g1 blocks it
    skew.advance(seconds=300)
    assert store.queue.seconds_until_due() == 0.0


def test_command_is_due_although_all_places_are_taken(store: Storage) -> None:
    begin(store, "running", number=7)
    accept(store, queued("waiting", number=8))
    assert 25 < seconds_until_due(store, concurrency=1) <= 30
    accept(store, queued("command", number=9, is_command=True))
    assert seconds_until_due(store, concurrency=1) == 0.0
    begin(store, "another", number=10)
    assert 25 < seconds_until_due(store, concurrency=1) <= 30


def test_delivery_that_is_due_too_far_ahead_is_due_because_the_clock_was_set_back(
    store: Storage, skew: Skew
) -> None:
    skew.advance(days=3)
    accept(store, queued("g1"))
    skew.advance(days=-3)
    assert store.queue.seconds_until_due() == 0.0
    assert claim(store).guid == "g1"
