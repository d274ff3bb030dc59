"""Counters by hour, and what a period has of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.analysis import Usage
from hls_handler.store.figures import Period, PeriodName, latest_period, percentile
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, begin, start_call

HOUR = timedelta(hours=1)


@pytest.fixture
def half_past(store: Storage, skew: Skew) -> datetime:
    """Set the clock to half past an hour, and return the beginning of this hour."""
    now = store.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    skew.advance(seconds=(hour + HOUR * 1.5 - now).total_seconds())
    return hour + HOUR


def test_call_counts_in_the_hour_in_which_it_began(
    store: Storage, skew: Skew, half_past: datetime
) -> None:
    lease = begin(store, "a")
    call = start_call(store, lease, estimate=Usage("claude-haiku-5-5", cost_usd=0.5))
    period = Period(half_past, half_past + 2 * HOUR, HOUR)
    prompt = ("cost_micro_usd", "issues/analyze@3f9c2a")
    assert store.statistics.series(["cost_micro_usd"], period) == {prompt: (500_000, 0)}
    skew.advance(hours=1)
    store.calls.end(
        lease, call, outcome="ok", usage=Usage("claude-haiku-5-5", cost_usd=0.25), error=None
    )
    assert store.statistics.series(["cost_micro_usd"], period) == {prompt: (250_000, 0)}


def test_hours_are_deleted_after_their_time(
    store: Storage, skew: Skew, half_past: datetime
) -> None:
    def count_up(store: Storage, **counts: int) -> None:
        store.queue.accept([], counts={(name, ""): number for name, number in counts.items()})

    count_up(store, stored=1)
    skew.advance(hours=1)
    count_up(store, stored=10)
    skew.advance(days=400, minutes=-40)
    store.retention.delete_counter_hours(after=timedelta(days=400))
    period = Period(half_past, half_past + 2 * HOUR, HOUR)
    assert store.statistics.series(["stored"], period) == {("stored", ""): (0, 10)}
    assert store.statistics.counters() == {("stored", ""): 11}


@pytest.mark.parametrize(
    ("name", "since", "until", "parts"),
    [
        ("7d", datetime(2026, 11, 16, 12, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC), 28),
        ("30d", datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC), 30),
    ],
)
def test_latest_period_ends_with_the_present_part(
    name: PeriodName, since: datetime, until: datetime, parts: int
) -> None:
    period = latest_period(name, datetime(2026, 11, 23, 10, 59, 59, tzinfo=UTC))
    assert (period.since, period.until, len(period.starts)) == (since, until, parts)
    assert (period.starts[0], period.starts[-1] + period.step) == (since, until)


@pytest.mark.parametrize(
    ("histogram", "share", "seconds"),
    [
        ({}, 0.5, None),
        ({"1": 4, "10": 1}, 0.4, 0.875),
        ({"0.1": 50, "300": 50}, 0.75, 180.0),
        ({"8": 1, "9": 1, "10": 1, "12": 1}, 0.5, 9.0),
        ({"8": 1, "9": 1, "10": 1, "12": 1}, 0.95, 10.0),
        ({"0.1": 1, "inf": 1}, 0.99, 300.0),
    ],
    ids=[
        "nothing",
        "halfway",
        "far apart",
        "7.8 to 11.5 s, p50",
        "7.8 to 11.5 s, p95",
        "over the last bound",
    ],
)
def test_percentiles_are_interpolated_within_their_bucket(
    histogram: Mapping[str, int], share: float, seconds: float | None
) -> None:
    assert percentile(histogram, share) == (None if seconds is None else pytest.approx(seconds))
