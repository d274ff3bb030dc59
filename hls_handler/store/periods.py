"""Counters by hour: series and sums of a period, and percentiles of their histograms.

The names and labels are those of `db.counters.HOURLY`. A call to Claude counts in the hour in which
it began, everything else in that in which it happened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Executable, Label, and_, func, select

from hls_handler.db.counters import BUCKETS_S, FIGURES
from hls_handler.db.database import Database
from hls_handler.db.tables import counter_hours
from hls_handler.db.values import EPOCH, from_ms, to_ms

PeriodName = Literal["24h", "7d", "30d"]

PERIODS: Mapping[PeriodName, tuple[timedelta, timedelta]] = {
    "24h": (timedelta(hours=24), timedelta(hours=1)),
    "7d": (timedelta(days=7), timedelta(hours=6)),
    "30d": (timedelta(days=30), timedelta(days=1)),
}
"""Name -> length of the period, and length of the parts that its series have."""

HOUR = timedelta(hours=1)

_c = counter_hours.c


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


class CounterHours:
    """Reads the counters by hour."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def series(
        self, names: Collection[str], period: Period
    ) -> dict[tuple[str, str], tuple[int, ...]]:
        """Return {(name, label): the sum of each part of the period, oldest first}."""
        query = (
            select(_c.name, _c.label, part_of(_c.hour, period), func.sum(_c.value).label("total"))
            .where(_is_in(names, period))
            .group_by(_c.name, _c.label, "part")
        )
        with self._database.reading() as connection:
            return read_series(connection, query, period)


def part_of(moment: ColumnElement[int], period: Period) -> Label[int]:
    """Return the index of the part of the period in which a time (ms) is, as the column "part"."""
    part = (moment - to_ms(period.since)) // (period.step // timedelta(milliseconds=1))
    return part.label("part")


def read_series(
    connection: Connection, query: Executable, period: Period
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return {(name, label): the value of each part of the period, oldest first}. The rows of the
    query are a name, a label, the index of a part and the value.
    """
    size = len(period.starts)
    found: dict[tuple[str, str], list[int]] = {}
    for name, label, part, value in connection.execute(query):
        found.setdefault((name, label), [0] * size)[part] = int(value)
    return {key: tuple(values) for key, values in found.items()}


def find_first_hour(connection: Connection) -> datetime | None:
    """Return the first hour of which the figures of repositories are counted; None if there is
    none.
    """
    names = [f"repository_{figure}" for figure in FIGURES]
    first = select(func.min(_c.hour)).where(_c.name.in_(names))
    first_ms = connection.execute(first).scalar()
    return None if first_ms is None else from_ms(first_ms)


def sum_by_group(
    connection: Connection,
    group: Literal["repository", "author"],
    period: Period,
    repository: str | None,
) -> dict[str, Counter[str]]:
    """Return the sums of `FIGURES` by repository or author, such as {"octo/widgets": {"ended:done":
    3, "cost_micro_usd": 900}}, of one repository (in any case) or of all.
    """
    names = [f"{group}_{figure}" for figure in FIGURES]
    query = select(_c.name, _c.label, func.sum(_c.value).label("total"))
    query = query.where(_is_in(names, period)).group_by(_c.name, _c.label)
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(query):
        who, separator, part = row.label.partition(":")  # "mona octo/widgets:done"
        author_or_repository, _, of_repository = who.partition(" ")
        counted_in = of_repository or author_or_repository
        if repository is None or counted_in.lower() == repository.lower():
            figure = row.name.removeprefix(f"{group}_") + separator + part
            found[author_or_repository][figure] += int(row.total)
    return found


def _is_in(names: Collection[str], period: Period) -> ColumnElement[bool]:
    return and_(
        _c.name.in_(sorted(names)), _c.hour >= to_ms(period.since), _c.hour < to_ms(period.until)
    )


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

    Interpolates between the bounds of a bucket. For the last bucket, which has no upper bound,
    returns the lower bound.
    """
    total = sum(histogram.values())
    if not total:
        return None
    rank = share * total
    below = 0
    for lower, upper in pairwise((0.0, *BUCKETS_S)):
        inside = histogram.get(f"{upper:g}", 0)
        if inside and below + inside >= rank:
            return round(lower + (upper - lower) * (rank - below) / inside, 3)
        below += inside
    return BUCKETS_S[-1]
