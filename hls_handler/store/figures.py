"""Periods, and the figures that teams report about them: values and their calculation.

docs/console.md defines each figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from hls_handler.db.counters import BUCKETS_S, COST, OF_BATCHES
from hls_handler.db.values import EPOCH

PeriodName = Literal["24h", "7d", "30d"]

PERIODS: Mapping[PeriodName, tuple[timedelta, timedelta]] = {
    "24h": (timedelta(hours=24), timedelta(hours=1)),
    "7d": (timedelta(days=7), timedelta(hours=6)),
    "30d": (timedelta(days=30), timedelta(days=1)),
}
"""Name -> length of the period, and length of the parts that its series have."""

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The hours from `since` until `until` (exclusive), in parts of the length `step`. Times are
    aware UTC.

    An hour belongs to the period if it begins in it.
    """

    since: datetime
    until: datetime
    step: timedelta

    @property
    def starts(self) -> tuple[datetime, ...]:
        """The beginnings of the parts, oldest first."""
        return tuple(
            self.since + index * self.step
            for index in range(-((self.since - self.until) // self.step))
        )


def latest_period(name: PeriodName, now: datetime) -> Period:
    """Return the period whose last part contains `now`; its parts begin at full hours, or days, of
    UTC.
    """
    length, step = PERIODS[name]
    until = now - (now - EPOCH) % step + step
    return Period(until - length, until, step)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Estimated percentiles in seconds, interpolated between the bounds of a histogram, whose last
    one is 300 s; None without times.
    """

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


def estimate_percentiles(histogram: Mapping[str, int]) -> Percentiles:
    """Return the percentiles of a histogram: {upper bound in seconds, or "inf": number}."""
    p50, p95, p99 = (percentile(histogram, share) for share in (0.5, 0.95, 0.99))
    return Percentiles(sum(histogram.values()), p50, p95, p99)


def percentile(histogram: Mapping[str, int], share: float) -> float | None:
    """Estimate the seconds within which a `share` (0.95 for 95%) of the deliveries ended; None if
    there are none.

    Interpolates between the bounds of a bucket. Of the last bucket that has deliveries, returns the
    lower bound, so that no estimate exceeds the longest time.
    """
    total = sum(histogram.values())
    if not total:
        return None
    rank = share * total
    below = 0
    for lower, upper in pairwise((0.0, *BUCKETS_S)):
        inside = histogram.get(f"{upper:g}", 0)
        if inside and below + inside == total:
            return lower
        if inside and below + inside >= rank:
            return round(lower + (upper - lower) * (rank - below) / inside, 3)
        below += inside
    return BUCKETS_S[-1]


@dataclass(frozen=True, slots=True)
class FindingFigures:
    raised: int
    accepted: int
    fixed: int
    dismissed: int
    false_positive_percent: float | None
    ignored: int
    acted_on: int
    decided: int  # acted on, dismissed or ignored
    acted_on_percent: float | None  # of those decided: signal against noise


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """Labels that replies asked for."""

    kept: int
    corrected: int


@dataclass(frozen=True, slots=True)
class CacheFigures:
    replies: int
    hits: int
    hit_percent: float | None
    saved_usd: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a repository, or of all. A value is None if there is nothing to divide by."""

    name: str  # "owner/repo", or "total"
    processed: int
    done: int
    dead: int
    success_percent: float | None
    recovered: int  # done after at least one failure
    recovery_percent: float | None
    processing_seconds: Percentiles
    first_reply_seconds: Percentiles
    pull_requests_analysed: int
    findings: FindingFigures
    labels: LabelFigures
    cost_usd: float
    batches_cost_usd: float  # part of `cost_usd`
    cost_per_pull_request_usd: float | None
    reply_cache: CacheFigures


@dataclass(frozen=True, slots=True)
class FiguresReport:
    """The figures of a period, as `/api/stats` sends them."""

    since: datetime  # a full hour
    until: datetime
    repository: str | None  # the filter; None stands for all
    total: Figures
    repositories: tuple[Figures, ...]  # by name


FigureCounts = Mapping[str, Counter[str]]
"""{"outcome": {"done": 3}}: counters by hour, and those of the queries."""


def make_figures(name: str, counts: FigureCounts) -> Figures:
    outcomes = counts["outcome"]
    done = outcomes["done"]
    dead = outcomes["dead"] + outcomes["discarded"]
    recovered = counts["recovered_by_retry"].total()
    pull_requests = counts["pull_requests"]
    cost_per_pull_request_usd = None
    if pull_requests["analysed"]:
        cost = pull_requests["micro_usd"] / pull_requests["analysed"]
        cost_per_pull_request_usd = round(cost / 1_000_000, 6)
    return Figures(
        name=name,
        processed=done + dead,
        done=done,
        dead=dead,
        success_percent=_percent(done, done + dead),
        recovered=recovered,
        recovery_percent=_percent(recovered, recovered + dead),
        processing_seconds=estimate_percentiles(counts["processing_le"]),
        first_reply_seconds=estimate_percentiles(counts["first_reply_le"]),
        pull_requests_analysed=pull_requests["analysed"],
        findings=_count_findings(counts["findings"], counts["accepted_findings"]),
        labels=LabelFigures(counts["labels"]["kept"], counts["labels"]["corrected"]),
        cost_usd=counts[COST].total() / 1_000_000,
        batches_cost_usd=counts[COST][OF_BATCHES] / 1_000_000,
        cost_per_pull_request_usd=cost_per_pull_request_usd,
        reply_cache=_describe_cache(counts["replies"].total(), counts["reply_cache"]),
    )


def _count_findings(states: Counter[str], accepted: Counter[str]) -> FindingFigures:
    raised = states.total()
    acted_on = states["fixed"] + accepted.total() - accepted["fixed"] - accepted["dismissed"]
    decided = acted_on + states["dismissed"] + states["ignored"] - accepted["ignored"]
    return FindingFigures(
        raised=raised,
        accepted=accepted.total(),
        fixed=states["fixed"],
        dismissed=states["dismissed"],
        false_positive_percent=_percent(states["dismissed"], raised) if decided else None,
        ignored=states["ignored"],
        acted_on=acted_on,
        decided=decided,
        acted_on_percent=_percent(acted_on, decided),
    )


def _describe_cache(asked: int, cache: Counter[str]) -> CacheFigures:
    hits = cache["hits"]
    saved_usd = cache["saved_micro_usd"] / 1_000_000
    return CacheFigures(asked + hits, hits, _percent(hits, asked + hits), saved_usd)


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None
