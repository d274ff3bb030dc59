"""Rate-limit slots in the database."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.interruptions import Situation
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, begin, claim, newest, reschedule, take_slot

SECOND = timedelta(seconds=1)


def time_of_slot(
    store: Storage, lease: Lease, *, interval_s: float = 1, can_move: bool = False
) -> datetime:
    with pytest.raises(Postponed, match="waits for a slot") as waiting:
        store.rate_limiter.take_slot(lease, SlotRequest("github", interval_s, can_move=can_move))
    assert waiting.value.waiting_for is None
    return waiting.value.at


def test_slots_of_different_deliveries_are_an_interval_apart(store: Storage) -> None:
    first, second, third = (begin(store, f"g{i}") for i in range(3))
    take_slot(store, first, 60)
    now = store.now()
    at = [time_of_slot(store, lease, interval_s=60) for lease in (second, third)]
    store.rate_limiter.take_slot(second, SlotRequest("other", 60))
    assert timedelta(seconds=59) < at[0] - now <= timedelta(seconds=60)
    assert at[1] - at[0] == timedelta(seconds=60)
    assert [
        time_of_slot(store, lease, interval_s=60) for lease in (second, third)
    ] == at  # each keeps its slot


def test_rescheduled_delivery_uses_its_reserved_slot(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    take_slot(store, first, 10)
    at = time_of_slot(store, second, interval_s=10)
    reschedule(store, second, at)
    skew.advance(seconds=10)
    second = claim(store)
    take_slot(store, second, 10)
    assert time_of_slot(store, second, interval_s=10) > at  # used up


def test_failed_delivery_loses_its_reserved_slot(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    take_slot(store, first, 10)
    at = time_of_slot(store, second, interval_s=10)
    reschedule(store, second, at, failed=True)
    skew.advance(seconds=10)
    assert time_of_slot(store, claim(store), interval_s=10) == at + timedelta(seconds=10)


def test_slot_that_can_move_is_exchanged_for_the_one_of_a_delivery_that_cannot(
    store: Storage,
) -> None:
    used, *waiting, first, second, third = (begin(store, f"g{i}") for i in range(6))
    take_slot(store, used, 60)
    at = [time_of_slot(store, lease, interval_s=60, can_move=True) for lease in waiting]
    for lease, slot_at in zip(waiting, at, strict=True):
        reschedule(store, lease, slot_at)
    at += [time_of_slot(store, lease, interval_s=60) for lease in (first, second, third)]
    assert [(one - at[0]).total_seconds() for one in at] == [0, 60, 0, 60, 120]
    assert [time_of_slot(store, lease, interval_s=60) for lease in (first, second, third)] == at[2:]
    moved = {
        row.guid: (row.due_at - at[0]).total_seconds() for row in newest(store, state="queued")
    }
    assert moved == {"g1": 240, "g2": 180}


def test_slot_of_a_delivery_that_does_not_wait_for_it_moves_alone(store: Storage) -> None:
    used, running, other = (begin(store, f"g{i}") for i in range(3))
    take_slot(store, used, 60)
    at = time_of_slot(store, running, interval_s=60, can_move=True)
    reschedule(store, running)
    assert time_of_slot(store, other, interval_s=60) == at
    assert time_of_slot(store, claim(store), interval_s=60, can_move=True) == at + timedelta(
        seconds=60
    )


def test_first_result_passes_no_later_write_of_a_delivery_queued_twenty_minutes_before(
    store: Storage, skew: Skew
) -> None:
    used, waiting = begin(store, "used"), begin(store, "waiting")
    take_slot(store, used, 2400)
    at = time_of_slot(store, waiting, interval_s=2400, can_move=True)
    for lease in (used, waiting):
        reschedule(store, lease, at)
    found = []
    for minutes in (19, 2):
        skew.advance(minutes=minutes)
        lease = begin(store, f"after {minutes}")
        found.append(time_of_slot(store, lease, interval_s=2400))
        reschedule(store, lease, found[-1])
    assert [(one - at).total_seconds() for one in found] == [0, 4800]


def test_slot_moves_only_for_its_own_rate_limit_and_after_the_end_of_a_hold(store: Storage) -> None:
    used, waiting, other, first = (begin(store, f"g{i}") for i in range(4))
    for name in ("github", "another"):
        store.rate_limiter.take_slot(used, SlotRequest(name, 60))
    at = time_of_slot(store, waiting, interval_s=60, can_move=True)
    with pytest.raises(Postponed) as waits:
        store.rate_limiter.take_slot(other, SlotRequest("another", 120))
    assert waits.value.at > at
    store.rate_limiter.hold("github", at + timedelta(seconds=1))
    assert time_of_slot(store, first, interval_s=60) > at


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_slot_does_not_move_while_its_delivery_uses_it(store: Storage) -> None:
    used, running, other = (begin(store, f"g{i}") for i in range(3))
    take_slot(store, used, 60)
    at = time_of_slot(store, running, interval_s=60, can_move=True)
    found: list[datetime] = []

    def reserve(_: Situation) -> None:  # in another transaction
        found.append(time_of_slot(store, other, interval_s=60))

    check = store.interruptions.check(
        running, reserve, prompt="issues/analyze", rate_limit="github"
    )
    with pytest.raises(Postponed) as waiting:
        store.rate_limiter.take_slot(running, SlotRequest("github", 60, can_move=True), check=check)
    assert (waiting.value.at, found) == (at, [at + timedelta(seconds=60)])


def test_hold_applies_to_slots_reserved_before_it(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    take_slot(store, first, 1)
    time_of_slot(store, second)
    until = store.now() + timedelta(minutes=5)
    store.rate_limiter.hold("github", until)
    # a shorter hold does not shorten it
    store.rate_limiter.hold("github", until - timedelta(minutes=4))
    skew.advance(seconds=10)
    assert until <= time_of_slot(store, second) <= until + timedelta(seconds=0.001)
    assert time_of_slot(store, first) >= until + SECOND


def test_held_until_returns_the_end_of_a_hold(store: Storage, skew: Skew) -> None:
    assert store.rate_limiter.held_until("github") is None
    assert store.rate_limiter.all_held() == {}
    until = store.now() + timedelta(minutes=5)
    store.rate_limiter.hold("github", until)
    held = store.rate_limiter.held_until("github")
    assert held is not None
    assert abs(held - until) < timedelta(milliseconds=1)
    assert store.rate_limiter.held_until("claude") is None
    assert store.rate_limiter.all_held() == {"github": held}
    skew.advance(minutes=5, seconds=1)
    assert store.rate_limiter.held_until("github") is None
    assert store.rate_limiter.all_held() == {}


def test_hold_of_many_days_holds_for_47_hours(store: Storage) -> None:
    now = store.now()
    store.rate_limiter.hold("github", now + timedelta(days=11))
    held = store.rate_limiter.held_until("github")
    assert held is not None
    assert timedelta(0) <= held - now - timedelta(hours=47) < timedelta(seconds=10)
    first, second = begin(store, "g1"), begin(store, "g2")
    assert time_of_slot(store, first) >= held
    assert time_of_slot(store, second) >= held


def test_reschedule_waiting_makes_deliveries_due_and_ends_holds_unless_others_run(
    store: Storage,
) -> None:
    running, waiting = begin(store, "g1"), begin(store, "g2")
    until = store.now() + timedelta(hours=3)
    reschedule(store, waiting, until, failed=True)
    store.rate_limiter.hold("github", until)
    assert store.queue.reschedule_waiting(forget_servers=False) == 1
    assert time_of_slot(store, running) >= until
    store.queue.reschedule_waiting()
    assert claim(store).guid == "g2"
    take_slot(store, running, 1)
    assert time_of_slot(store, running) <= store.now() + SECOND


def test_slot_without_a_delivery_is_an_interval_after_the_last_one(store: Storage) -> None:
    take_slot(store, begin(store, "g1"), 10)
    now = store.now()
    at = [store.rate_limiter.reserve_slot("github", interval_s=10, within_s=60) for _ in range(2)]
    assert 9 * SECOND < at[0] - now <= 10 * SECOND
    assert at[1] - at[0] == 10 * SECOND
    assert time_of_slot(store, begin(store, "g2"), interval_s=10) - at[1] == 10 * SECOND


def test_slot_without_a_delivery_that_is_too_far_away_is_not_reserved(store: Storage) -> None:
    take_slot(store, begin(store, "g1"), 10)
    for _ in range(2):
        with pytest.raises(Postponed, match="waits for a slot"):
            store.rate_limiter.reserve_slot("github", interval_s=10, within_s=5)
    assert time_of_slot(store, begin(store, "g2"), interval_s=10) - store.now() <= 10 * SECOND


def test_waits_are_those_that_are_longer_and_not_from_before_the_clock_was_set_back(
    store: Storage, skew: Skew
) -> None:
    take_slot(store, begin(store, "g1"), 60)
    waits = [list(store.rate_limiter.all_waits(longer_than_s=seconds)) for seconds in (30, 90)]
    skew.advance(hours=-1)
    assert (waits, store.rate_limiter.all_waits(longer_than_s=30)) == ([["github"], []], {})
