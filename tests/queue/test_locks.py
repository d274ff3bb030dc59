"""Locks in the database, and the pending writes that extend them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.locks import WriteCompleted
from hls_handler.queue.rate_limiter import PendingWrite
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    Skew,
    accept,
    begin,
    claim,
    finish,
    queued,
    reschedule,
    state_of,
    take_slot,
)

SECOND = timedelta(seconds=1)


def test_lock_is_held_by_one_delivery_which_may_acquire_it_again(store: Storage) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.locks.acquire(first, "1#7:issues", ttl_s=60)
    store.locks.acquire(first, "1#7:issues", ttl_s=60)
    store.locks.acquire(second, "1#8:issues", ttl_s=60)
    with pytest.raises(
        Postponed, match="waits for delivery g1, which holds the lock 1#7:issues"
    ) as waiting:
        store.locks.acquire(second, "1#7:issues", ttl_s=60)
    assert timedelta() < waiting.value.at - store.now() <= SECOND
    finish(store, second)  # releases only its own locks
    third = begin(store, "g3")
    with pytest.raises(Postponed):
        store.locks.acquire(third, "1#7:issues", ttl_s=60)
    finish(store, first)
    store.locks.acquire(third, "1#7:issues", ttl_s=60)


@pytest.mark.parametrize("end", ["done", "dead", "postponed", "crashed"])
def test_lock_ends_when_its_delivery_stops_running(store: Storage, skew: Skew, end: str) -> None:
    holder = begin(store, "g1")
    store.locks.acquire(holder, "comment", ttl_s=3600)
    accept(store, queued("g2"))
    if end == "done":
        finish(store, holder)
    elif end == "dead":
        finish(store, holder, "dead")
    elif end == "postponed":
        reschedule(store, holder, store.now() + SECOND * 900, failed=True)
    else:
        skew.advance(seconds=31)
        assert claim(store).guid == "g1"
    store.locks.acquire(claim(store), "comment", ttl_s=60)
    assert state_of(store, "g2") == "running"


def begin_write(store: Storage) -> Lease:
    lease = begin(store, "g1")
    store.locks.acquire(lease, "comment", ttl_s=120)
    take_slot(store, lease, 0, PendingWrite("comment", 60))
    return lease


def wait_for_lock(store: Storage, lease: Lease) -> datetime:
    message = "an earlier write to GitHub got no response and may still take effect"
    with pytest.raises(Postponed, match=message) as waiting:
        store.locks.acquire(lease, "comment", ttl_s=120)
    assert waiting.value.waiting_for is None
    return waiting.value.at


@pytest.mark.parametrize("end", ["postponed", "crashed", "restarted", "dead", "still running"])
def test_pending_write_blocks_its_lock(store: Storage, skew: Skew, end: str) -> None:
    lease, begun = begin_write(store), store.now()
    if end == "postponed":
        reschedule(store, lease, failed=True)
    elif end == "dead":
        finish(store, lease, "dead")
    elif end == "crashed":
        skew.advance(seconds=31)
    elif end == "restarted":
        store.queue.release_all_leases()
    store.queue.reschedule_waiting()
    again = [lease] if end == "still running" else [] if end == "dead" else [claim(store)]
    for waiting in (*again, begin(store, "g2")):
        until = wait_for_lock(store, waiting)
        assert timedelta(seconds=59) < until - begun < timedelta(seconds=61)
    skew.advance(seconds=61)
    # the write may have taken effect
    assert store.locks.acquire(begin(store, "g3"), "comment", ttl_s=120) is True


def test_completed_write_does_not_block_its_lock(store: Storage) -> None:
    lease = begin_write(store)
    other = begin(store, "g2")
    store.checkpoints.save(other, WriteCompleted("comment"))  # of another delivery
    reschedule(store, lease)
    wait_for_lock(store, other)
    lease = claim(store)
    store.checkpoints.save(lease, WriteCompleted("comment"))
    reschedule(store, lease)
    finish(store, other)
    assert store.locks.acquire(claim(store), "comment", ttl_s=120) is False
    with pytest.raises(Postponed, match="waits for delivery g1, which holds the lock comment"):
        store.locks.acquire(begin(store, "g3"), "comment", ttl_s=120)


def test_write_after_a_lost_lock_is_postponed(store: Storage, skew: Skew) -> None:
    late, other = begin(store, "g1"), begin(store, "g2")
    store.locks.acquire(late, "comment", ttl_s=5)
    skew.advance(seconds=6)
    store.locks.acquire(other, "comment", ttl_s=120)
    take_slot(store, other, 0, PendingWrite("comment", 60))
    with pytest.raises(Postponed, match="may still take effect"):
        take_slot(store, late, 0, PendingWrite("comment", 60))


@pytest.mark.parametrize("early_s", range(1, 4))
def test_write_that_begins_while_another_one_expires_is_recorded(
    store: Storage, skew: Skew, early_s: int
) -> None:
    late, other = begin(store, "g1"), begin(store, "g2")
    take_slot(store, other, 0, PendingWrite("comment", 15))
    skew.advance(seconds=15 - early_s)
    skew.step = SECOND
    is_postponed = False
    try:
        take_slot(store, late, 0, PendingWrite("comment", 15))
    except Postponed:
        is_postponed = True
    skew.step = timedelta()
    if not is_postponed:
        wait_for_lock(store, begin(store, "g3"))


def test_write_without_a_slot_does_not_block_its_lock(store: Storage) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    take_slot(store, first, 60)
    with pytest.raises(Postponed, match="waits for a slot"):
        take_slot(store, second, 60, PendingWrite("comment", 60))
    store.locks.acquire(first, "comment", ttl_s=120)
