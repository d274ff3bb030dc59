"""Decisions of the rate limiter and the hourly budget, as tables."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.db.values import HOUR_MS
from hls_handler.queue.rate_limiter import RateLimitState, Slot, next_slot
from hls_handler.store.limits import budget_frees_at

NOW = 1_000_000


@pytest.mark.parametrize(
    ("state", "reserved", "expected"),
    [
        (RateLimitState(0, 0, 0), None, Slot(True, NOW, RateLimitState(NOW + 1000, 0, NOW))),
        (
            RateLimitState(NOW + 1, 0, NOW - 999),
            None,
            Slot(False, NOW + 1, RateLimitState(NOW + 1001, 0, NOW - 999)),
        ),
        (
            RateLimitState(NOW + 9000, 0, NOW - 1000),
            NOW,
            Slot(True, NOW, RateLimitState(NOW + 9000, 0, NOW)),
        ),
        (
            RateLimitState(NOW + 9000, 0, NOW),
            NOW + 500,
            Slot(False, NOW + 1000, RateLimitState(NOW + 9000, 0, NOW)),
        ),
        (
            RateLimitState(NOW + 9000, 0, 0),
            NOW - 3001,
            Slot(False, NOW + 9000, RateLimitState(NOW + 10_000, 0, 0)),
        ),
        (
            RateLimitState(NOW + 500, 0, 0),
            NOW - 100,
            Slot(True, NOW - 100, RateLimitState(NOW + 1000, 0, NOW)),
        ),
        (
            RateLimitState(NOW + 60_000, NOW + 60_000, 0),
            NOW,
            Slot(False, NOW + 60_000, RateLimitState(NOW + 61_000, NOW + 60_000, 0)),
        ),
        (
            RateLimitState(NOW + 70_000, NOW, 0),
            NOW,
            Slot(True, NOW, RateLimitState(NOW + 70_000, NOW, NOW)),
        ),
        (
            RateLimitState(NOW + 9000, 0, NOW + 21),
            NOW + 500,
            Slot(True, NOW, RateLimitState(NOW + 1000, 0, NOW)),
        ),
        (
            RateLimitState(NOW + 1, NOW + 172_800_001, 0),
            None,
            Slot(True, NOW, RateLimitState(NOW + 1000, 0, NOW)),
        ),
    ],
    ids=[
        "free",
        "taken, reserves the next",
        "reserved slot is due",
        "reserved slot is too soon after the last granted one",
        "reserved slot has expired",
        "late slot moves the next free one",
        "reserved slot is void during a hold",
        "reserved after the hold",
        "the clock was set back since the last slot",
        "the end of the hold is more than two days away",
    ],
)
def test_next_slot(state: RateLimitState, reserved: int | None, expected: Slot) -> None:
    assert next_slot(state, reserved=reserved, interval_ms=1000, now=NOW) == expected


@pytest.mark.parametrize(
    ("state", "interval_ms", "expected"),
    [
        (
            RateLimitState(NOW + 20, 0, NOW),
            5,
            Slot(True, NOW + 20, RateLimitState(NOW + 25, 0, NOW + 20)),
        ),
        (
            RateLimitState(NOW + 21, 0, NOW),
            5,
            Slot(False, NOW + 21, RateLimitState(NOW + 26, 0, NOW)),
        ),
        (
            RateLimitState(NOW + 19, 0, NOW - 1),
            20,
            Slot(False, NOW + 19, RateLimitState(NOW + 39, 0, NOW - 1)),
        ),
        (
            RateLimitState(NOW, NOW + 1, NOW - 9),
            5,
            Slot(False, NOW + 1, RateLimitState(NOW + 6, NOW + 1, NOW - 9)),
        ),
    ],
    ids=[
        "close",
        "not close enough",
        "slots that are far apart are not granted early",
        "still held",
    ],
)
def test_close_slots_are_granted_slightly_early(
    state: RateLimitState, interval_ms: int, expected: Slot
) -> None:
    assert next_slot(state, reserved=None, interval_ms=interval_ms, now=NOW) == expected


@given(st.lists(st.integers(0, 3), min_size=100, max_size=300))
def test_slots_granted_early_do_not_raise_the_rate(delays: list[int]) -> None:
    """One caller that asks again immediately after each result."""
    now, state, taken = NOW, RateLimitState(0, 0, 0), 0
    reserved = None
    for later in delays:
        now += later
        slot = next_slot(state, reserved=reserved, interval_ms=7, now=now)
        state, reserved = slot.after, None if slot.is_now else slot.slot_at
        taken += slot.is_now
    assert taken <= (now - NOW + 20) // 7 + 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3000)), min_size=5, max_size=60))
def test_slots_are_granted_an_interval_apart_after_any_delays(
    delays: list[tuple[int, int]],
) -> None:
    """Five callers that ask repeatedly, each after a random delay."""
    now, state = NOW, RateLimitState(0, 0, 0)
    reserved: dict[int, int] = {}
    taken: list[int] = []
    for who, later in delays:
        now += later
        slot = next_slot(state, reserved=reserved.pop(who, None), interval_ms=1000, now=now)
        state = slot.after
        if slot.is_now:
            taken.append(now)
        else:
            assert slot.slot_at > now
            reserved[who] = slot.slot_at
    assert all(after - before >= 1000 for before, after in itertools.pairwise(taken))


@pytest.mark.parametrize(
    ("started", "limit", "ahead", "frees_at"),
    [
        ([10], 2, 0, None),
        ([10, 20], 2, 0, 10 + HOUR_MS),
        ([10, 20], 2, 1, 20 + HOUR_MS),
        ([10, 20, 30], 2, 0, 20 + HOUR_MS),
        ([10], 1, 5, 10 + 6 * HOUR_MS),
    ],
    ids=["room", "full", "one ahead", "limit was lowered", "five ahead"],
)
def test_budget_frees_at_a_different_time_for_each_waiting_delivery(
    started: list[int], limit: int, ahead: int, frees_at: int | None
) -> None:
    assert budget_frees_at(started, limit=limit, ahead=ahead) == frees_at
