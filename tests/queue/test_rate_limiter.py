"""Turns and locks in the database: waiting costs no worker, and nobody goes twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.changes import WriteCompleted
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, claim, queued, state_of

SECOND = timedelta(seconds=1)


def wait_of(store: Storage, lease: Lease, *, interval_s: float = 1) -> datetime:
    with pytest.raises(Postponed, match="its turn") as waiting:
        store.rate_limiter.take_slot(lease, "github", interval_s=interval_s)
    assert waiting.value.waiting_for is None
    return waiting.value.at


def goes(store: Storage, lease: Lease, pace: str, *, interval_s: float) -> bool:
    try:
        store.rate_limiter.take_slot(lease, pace, interval_s=interval_s)
    except Postponed:
        return False
    return True


def test_turns_of_different_deliveries_are_an_interval_apart(store: Storage) -> None:
    first, second, third = (begin(store, f"g{i}") for i in range(3))
    store.rate_limiter.take_slot(first, "github", interval_s=60)
    now = store.now()
    at = [wait_of(store, lease, interval_s=60) for lease in (second, third)]
    assert timedelta(seconds=59) < at[0] - now <= timedelta(seconds=60)
    assert at[1] - at[0] == timedelta(seconds=60)


def test_a_delivery_that_comes_back_goes_with_the_turn_it_reserved(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.rate_limiter.take_slot(first, "github", interval_s=10)
    at = wait_of(store, second, interval_s=10)
    assert wait_of(store, second, interval_s=10) == at  # asking again reserves nothing more
    store.queue.reschedule(second, at=at, reason="its turn", failed=False, counts=False)
    skew.pass_by(seconds=10)
    second = claim(store)
    store.rate_limiter.take_slot(second, "github", interval_s=10)
    assert wait_of(store, second, interval_s=10) > at  # used up


def test_a_delivery_that_failed_gives_its_turn_up(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.rate_limiter.take_slot(first, "github", interval_s=10)
    at = wait_of(store, second, interval_s=10)
    store.queue.reschedule(second, at=at, reason="503", failed=True, counts=False)
    skew.pass_by(seconds=10)
    assert wait_of(store, claim(store), interval_s=10) == at + timedelta(seconds=10)


def test_paces_do_not_know_of_each_other(store: Storage) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    assert goes(store, first, "github", interval_s=60)
    assert not goes(store, second, "github", interval_s=60)
    assert goes(store, second, "other", interval_s=60)


def test_no_interval_means_no_waiting(store: Storage) -> None:
    lease = begin(store, "g1")
    assert [goes(store, lease, "github", interval_s=0) for _ in range(3)] == [True, True, True]


def test_what_the_server_dictates_holds_for_turns_reserved_before(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.rate_limiter.take_slot(first, "github", interval_s=1)
    wait_of(store, second)
    until = store.now() + timedelta(minutes=5)
    store.rate_limiter.hold("github", until)
    store.rate_limiter.hold("github", until - timedelta(minutes=4))  # an earlier word does not shorten it
    skew.pass_by(seconds=10)
    assert until <= wait_of(store, second) <= until + timedelta(seconds=0.001)
    assert wait_of(store, first) >= until + SECOND


def test_how_long_the_server_holds_can_be_asked(store: Storage, skew: Skew) -> None:
    assert store.rate_limiter.held_until("github") is None
    until = store.now() + timedelta(minutes=5)
    store.rate_limiter.hold("github", until)
    held = store.rate_limiter.held_until("github")
    assert held is not None
    assert abs(held - until) < timedelta(milliseconds=1)
    assert store.rate_limiter.held_until("claude") is None
    skew.pass_by(minutes=5, seconds=1)
    assert store.rate_limiter.held_until("github") is None


def test_after_a_start_nothing_waits_for_what_may_have_been_mended(store: Storage) -> None:
    running, waiting = begin(store, "g1"), begin(store, "g2")
    store.queue.reschedule(waiting, at=store.now() + timedelta(hours=3), reason="429", failed=True, counts=False)
    store.rate_limiter.hold("github", store.now() + timedelta(hours=3))
    assert store.queue.reschedule_waiting() == 1
    assert claim(store).guid == "g2"
    store.rate_limiter.take_slot(running, "github", interval_s=1)
    assert wait_of(store, running) <= store.now() + SECOND


def test_a_machine_that_joins_others_does_not_make_them_break_a_servers_word(store: Storage) -> None:
    running, waiting = begin(store, "g1"), begin(store, "g2")
    store.queue.reschedule(waiting, at=store.now() + timedelta(hours=3), reason="429", failed=True, counts=False)
    until = store.now() + timedelta(hours=3)
    store.rate_limiter.hold("github", until)
    assert store.queue.reschedule_waiting(forget_servers=False) == 1
    assert wait_of(store, running) >= until


def test_a_lock_is_held_by_one_delivery_and_may_be_taken_again_by_it(store: Storage) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.locks.acquire(first, "1#7:issues", ttl_s=60)
    store.locks.acquire(first, "1#7:issues", ttl_s=60)
    store.locks.acquire(second, "1#8:issues", ttl_s=60)
    with pytest.raises(Postponed, match="waits for delivery g1, which holds 1#7:issues") as waiting:
        store.locks.acquire(second, "1#7:issues", ttl_s=60)
    assert timedelta() < waiting.value.at - store.now() <= SECOND
    store.checkpoints.save(second, unlock=True)  # its own alone
    with pytest.raises(Postponed):
        store.locks.acquire(second, "1#7:issues", ttl_s=60)
    store.checkpoints.save(first, unlock=True)
    store.locks.acquire(second, "1#7:issues", ttl_s=60)


@pytest.mark.parametrize("leaving", ["done", "dead", "postponed", "crashed"])
def test_a_lock_ends_when_its_delivery_stops_running(store: Storage, skew: Skew, leaving: str) -> None:
    holder = begin(store, "g1")
    store.locks.acquire(holder, "thread", ttl_s=3600)
    accept(store, queued("g2"))
    if leaving == "done":
        store.queue.finish(holder, "done", reason=None, took_s=1)
    elif leaving == "dead":
        store.queue.dead_letter(holder, reason="locked")
    elif leaving == "postponed":
        store.queue.reschedule(holder, at=store.now() + SECOND * 900, reason="503", failed=True, counts=False)
    else:
        skew.pass_by(seconds=31)
        assert claim(store).guid == "g1"
    store.locks.acquire(claim(store), "thread", ttl_s=60)
    assert state_of(store, "g2") == "running"


def test_a_lock_that_ran_out_is_taken_over(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.locks.acquire(first, "thread", ttl_s=5)
    skew.pass_by(seconds=5)
    store.locks.acquire(second, "thread", ttl_s=5)
    with pytest.raises(Postponed, match="g2"):
        store.locks.acquire(first, "thread", ttl_s=5)


def begin_to_write(store: Storage, guid: str = "g1") -> Lease:
    lease = begin(store, guid)
    store.locks.acquire(lease, "thread", ttl_s=120)
    store.rate_limiter.take_slot(lease, "github", interval_s=0, write="thread", slowest_write_s=60)
    return lease


def wait_for_lock(store: Storage, lease: Lease) -> datetime:
    with pytest.raises(
        Postponed,
        match=r"an earlier write without a response may still take effect on GitHub \(github.slowest_write_s\)",
    ) as waiting:
        store.locks.acquire(lease, "thread", ttl_s=120)
    assert waiting.value.waiting_for is None
    return waiting.value.at


@pytest.mark.parametrize("leaving", ["postponed", "crashed", "restarted", "dead", "still at it"])
def test_a_write_without_an_answer_keeps_everybody_from_its_lock(store: Storage, skew: Skew, leaving: str) -> None:
    lease, begun = begin_to_write(store), store.now()
    if leaving == "postponed":
        store.queue.reschedule(lease, at=store.now(), reason="no answer", failed=True, counts=False)
    elif leaving == "dead":
        store.queue.dead_letter(lease, reason="no answer")
    elif leaving == "crashed":
        skew.pass_by(seconds=31)
    elif leaving == "restarted":
        store.queue.release_all_leases()
    store.queue.reschedule_waiting()
    again = [lease] if leaving == "still at it" else [] if leaving == "dead" else [claim(store)]
    for waiting in (*again, begin(store, "g2")):
        until = wait_for_lock(store, waiting)
        assert timedelta(seconds=59) < until - begun < timedelta(seconds=61)
    skew.pass_by(seconds=61)
    store.locks.acquire(begin(store, "g3"), "thread", ttl_s=120)


def test_a_write_that_was_answered_keeps_nobody_from_its_lock(store: Storage) -> None:
    lease = begin_to_write(store)
    other = begin(store, "g2")
    store.checkpoints.save(other, WriteCompleted(other.guid, "thread"))  # not its own
    store.queue.reschedule(lease, at=store.now(), reason="its turn", failed=False, counts=False)
    wait_for_lock(store, other)
    lease = claim(store)
    store.checkpoints.save(lease, WriteCompleted(lease.guid, "thread"))
    store.queue.reschedule(lease, at=store.now(), reason="its turn", failed=False, counts=False)
    store.checkpoints.save(other, unlock=True)
    store.locks.acquire(other, "thread", ttl_s=120)
    with pytest.raises(Postponed, match="waits for delivery g2, which holds thread"):
        store.locks.acquire(begin(store, "g3"), "thread", ttl_s=120)


def test_who_lost_the_lock_while_it_looked_does_not_write_beside_who_has_it(store: Storage, skew: Skew) -> None:
    slow, other = begin(store, "g1"), begin(store, "g2")
    store.locks.acquire(slow, "thread", ttl_s=5)
    skew.pass_by(seconds=6)
    store.locks.acquire(other, "thread", ttl_s=120)
    store.rate_limiter.take_slot(other, "github", interval_s=0, write="thread", slowest_write_s=60)
    with pytest.raises(Postponed, match="slowest_write_s"):
        store.rate_limiter.take_slot(slow, "github", interval_s=0, write="thread", slowest_write_s=60)


def test_a_write_whose_turn_has_not_come_keeps_nobody_from_its_lock(store: Storage) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    store.rate_limiter.take_slot(first, "github", interval_s=60)
    with pytest.raises(Postponed, match="its turn"):
        store.rate_limiter.take_slot(second, "github", interval_s=60, write="thread", slowest_write_s=60)
    store.locks.acquire(first, "thread", ttl_s=120)


def test_a_write_that_is_begun_again_is_waited_for_again(store: Storage, skew: Skew) -> None:
    lease = begin_to_write(store)
    skew.pass_by(seconds=61)
    lease = claim(store)
    store.locks.acquire(lease, "thread", ttl_s=120)
    store.rate_limiter.take_slot(lease, "github", interval_s=0, write="thread", slowest_write_s=60)
    assert wait_for_lock(store, lease) - store.now() > timedelta(seconds=58)
