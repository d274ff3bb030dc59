"""Reads all numbers: for `/stats`, `/metrics`, the overview, the figures, the API and commands.

What happened is counted (`db/counters.py`), as a total and by the hour: a call to Claude in the
hour in which it began, everything else in that in which it happened. What can change later (labels
corrected, findings fixed or dismissed) is one query of stored rows. By repository, it and the
numbers of pull requests lack what retention has deleted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Subquery,
    Text,
    and_,
    cast,
    distinct,
    exists,
    func,
    literal_column,
    select,
    union_all,
)

from hls_handler.db.counters import COST, LAST_WEBHOOK, NO_COUNTS, RENAMED, TOTAL
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    calls,
    corrections,
    counters,
    deliveries,
    findings,
    labels,
)
from hls_handler.db.values import EPOCH, HOUR_MS, from_ms, to_ms
from hls_handler.events import PULL_REQUEST_EVENTS
from hls_handler.store.call_rows import CACHED, COUNTED_AS, SUCCESS
from hls_handler.store.deliveries import Rename
from hls_handler.store.figures import (
    HOUR,
    FigureCounts,
    FiguresReport,
    Period,
    make_figures,
)

Totals = Mapping[tuple[str, str, str], int]
"""{(name, label, "owner/repo" or ""): number since the first start}."""

Series = Mapping[tuple[str, str], tuple[int, ...]]
"""{(name, label): the number of each part of a period, oldest first}."""

_FIGURES = (
    COST,
    "first_reply_le",
    "outcome",
    "processing_le",
    "recovered_by_retry",
    "replies",
    "reply_cache",
)
_TOKENS = ("input", "output", "cache_write", "cache_read")

_c = calls.c
_d = deliveries.c
_f = findings.c
_n = counters.c
_conversation_deliveries = deliveries.alias("of_conversation")
_IS_KEPT = and_(
    labels.c.state != "intended",
    labels.c.prompt_id.is_not(None),
    ~exists().where(
        *(corrections.c[key] == labels.c[key] for key in ("repository_id", "bot_login", "number")),
        corrections.c.label == labels.c.name,
    ),
)


class Statistics:
    def __init__(self, database: Database) -> None:
        self._database = database

    def counters(self) -> Counter[tuple[str, str]]:
        """Return {(name, label): total} of all repositories."""
        sums: Counter[tuple[str, str]] = Counter()
        for (name, label, _), number in self.totals().items():
            sums[name, label] += number
        return +sums

    def totals(self, *, settled: bool = False) -> Totals:
        """Return the totals, without counters that store a time or an id.

        `settled` leaves out the estimated tokens and cost of calls in progress, so that no total
        ever decreases. The estimate of a call whose end could not be stored is included an hour
        after its start.
        """
        is_total = (_n.hour == literal_column(str(TOTAL)), _n.name.not_in(NO_COUNTS))
        queries = [select(_n.name, _n.label, _n.repository, _n.value).where(*is_total)]
        if settled:
            queries += self._subtract_estimates()
        totals: Counter[tuple[str, str, str]] = Counter()
        with self._database.reading() as connection:
            # One statement reads both: between two, a call could end, and its estimate would stay.
            for name, label, repository, value in connection.execute(union_all(*queries)):
                totals[name, label, repository] += value
        return totals

    def _subtract_estimates(self) -> Iterator[Select[Any, str, str, int]]:
        is_in_progress = (_c.finished_at.is_(None), _c.started_at > self._database.now - HOUR_MS)
        repository = func.coalesce(_d.repository, "")
        estimates: list[tuple[str, ColumnElement[str], Column[int]]] = [
            ("tokens", literal_column(f"'{kind}'"), _c[f"{kind}_tokens"]) for kind in _TOKENS
        ]
        estimates.append((COST, COUNTED_AS, _c.cost_micro_usd))
        for name, label, value in estimates:
            counter_name: ColumnElement[str] = literal_column(f"'{name}'")
            estimate = select(counter_name, label, repository, -value)
            estimate = estimate.join_from(calls, deliveries, _d.id == _c.delivery_id)
            yield estimate.where(*is_in_progress, value.is_not(None))

    def last_webhooks(self) -> dict[str, datetime]:
        """Return {"owner/repo": time of its last verified webhook}. The key "" has the latest time,
        including pings.
        """
        query = select(_n.label, _n.value).where(_n.name == LAST_WEBHOOK)
        with self._database.reading() as connection:
            return {row.label: from_ms(row.value) for row in connection.execute(query)}

    def renames(self) -> list[Rename]:
        """Return the renamed and transferred repositories, oldest first."""
        query = select(_n.label, _n.value).where(_n.name == RENAMED)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_n.value)).all()
        renames = []
        for label, moment in rows:
            former, _, name = label.partition(" ")
            renames.append(Rename(former, name, from_ms(moment)))
        return renames

    def series(self, names: Collection[str], period: Period) -> Series:
        """Return the counters by hour with these names, and what people did: {("labels", "kept"):
        (3, 0)}. A label counts when it was set, a finding when it was raised.
        """
        outcomes = _list_outcomes(period)
        counted = _sum(_n.name, _n.label, _part_of(_n.hour, period), func.sum(_n.value))
        queries = (
            counted.where(_is_in(names, period)),
            _sum(outcomes.c.name, outcomes.c.label, _part_of(outcomes.c.at, period), func.count()),
        )
        size = len(period.starts)
        series: dict[tuple[str, str], list[int]] = {}
        with self._database.reading() as connection:
            for query in queries:
                for name, label, part, number in connection.execute(query):
                    series.setdefault((name, label), [0] * size)[part] = int(number)
        return {key: tuple(parts) for key, parts in series.items()}

    def report(
        self, since: datetime, until: datetime, *, repository: str | None = None
    ) -> FiguresReport:
        """Return the figures of the hours that begin from `since`, or within its hour, until before
        `until`.

        `repository` is "owner/repo" in any case; None stands for all. Raises `StoreUnavailable`.
        """
        period = Period(since - (since - EPOCH) % HOUR, until, HOUR)
        rows: list[tuple[str, str, str, Any]] = []
        with self._database.reading() as connection:
            for query in (_select_hours(period), _select_outcomes_by_repository(period)):
                rows += map(tuple, connection.execute(query))
            for name, analysed, micro_usd in connection.execute(_select_pull_requests(period)):
                rows.append(("pull_requests", "analysed", name, analysed))
                rows.append(("pull_requests", "micro_usd", name, micro_usd))
        total: FigureCounts = defaultdict(Counter)
        repositories = defaultdict[str, FigureCounts](lambda: defaultdict(Counter))
        for name, label, row_repository, number in rows:
            if repository is None or row_repository.lower() == repository.lower():
                total[name][label] += int(number or 0)
                repositories[row_repository][name][label] += int(number or 0)
        figures = [make_figures(name, counts) for name, counts in sorted(repositories.items())]
        return FiguresReport(
            since=period.since,
            until=until,
            repository=repository,
            total=make_figures("total", total),
            repositories=tuple(figures),
        )


def sum_labels(totals: Totals) -> Mapping[str, Mapping[str, int]]:
    """Return {"outcome": {"done": 3}}, of all repositories."""
    sums = defaultdict[str, Counter[str]](Counter)
    for (name, label, _), number in sorted(totals.items()):
        sums[name][label] += number
    return defaultdict(dict, {name: +labels for name, labels in sums.items()})


def sum_repositories(totals: Totals, name: str) -> Mapping[str, Mapping[str, int]]:
    """Return {"octo/widgets": {"done": 3}} of the counter "outcome"."""
    sums = defaultdict[str, dict[str, int]](dict)
    for (counter, label, repository), number in sorted(totals.items()):
        if counter == name and repository:
            sums[repository][label] = number
    return sums


def _part_of(moment: ColumnElement[int], period: Period) -> ColumnElement[int]:
    """Return the index of the part of the period in which a time (ms) is."""
    return (moment - to_ms(period.since)) // (period.step // timedelta(milliseconds=1))


def _is_within(moment: ColumnElement[Any], period: Period) -> ColumnElement[bool]:
    return and_(moment >= to_ms(period.since), moment < to_ms(period.until))


def _is_in(names: Collection[str], period: Period) -> ColumnElement[bool]:
    is_hour = _n.hour > TOTAL  # a period may contain the beginning of 1970
    return and_(_n.name.in_(sorted(names)), is_hour, _is_within(_n.hour, period))


def _sum(
    name: ColumnElement[str],
    label: ColumnElement[str],
    key: ColumnElement[Any],
    number: ColumnElement[int],
) -> Select[Any]:
    return select(name, label, key.label("key"), number).group_by(name, label, "key")


def _select_hours(period: Period) -> Select[Any]:
    query = _sum(_n.name, _n.label, _n.repository, func.sum(_n.value))
    return query.where(_is_in(_FIGURES, period), _n.repository != "")


def _select_outcomes_by_repository(period: Period) -> Select[Any]:
    """Count outcomes. The newest delivery of a conversation has its repository."""
    outcomes = _list_outcomes(period).c
    groups = (outcomes.name, outcomes.label, outcomes.repository_id, outcomes.number)
    counted = select(*groups, func.count().label("rows")).group_by(*groups).subquery()
    key = cast(counted.c.repository_id, Text) + "#" + cast(counted.c.number, Text)
    newest = select(func.max(_conversation_deliveries.c.id)).where(
        _conversation_deliveries.c.conversation_key == key
    )
    query = _sum(counted.c.name, counted.c.label, _d.repository, func.sum(counted.c.rows))
    query = query.join_from(counted, deliveries, _d.id == newest.scalar_subquery())
    return query.where(_d.repository.is_not(None))


def _select_pull_requests(period: Period) -> Select[Any]:
    """Return the number of pull requests with a reply, and the cost of their calls, by
    repository.
    """
    has_reply = _c.outcome.in_((SUCCESS, CACHED))
    query = select(
        _d.repository,
        func.count(distinct(_d.conversation_key)).filter(has_reply),
        func.sum(_c.cost_micro_usd),
    )
    is_of_pull_request = (
        _d.event.in_(sorted(PULL_REQUEST_EVENTS)),
        _d.conversation_key.is_not(None),
        _d.repository.is_not(None),
    )
    query = query.join_from(calls, deliveries).where(*is_of_pull_request)
    return query.where(_is_within(_c.started_at, period)).group_by(_d.repository)


def _list_outcomes(period: Period) -> Subquery:
    """Return the labels that were set in the period and the findings raised in it, with what
    became of them: name, label, time (ms), and the keys of the conversation.
    """
    kept = _select_outcomes("labels", literal_column("'kept'"), labels.c.set_at, period)
    corrected: ColumnElement[str] = literal_column("'corrected'")
    accepted = _select_outcomes("accepted_findings", _f.state, _f.raised_at, period)
    return union_all(
        kept.where(_IS_KEPT),
        _select_outcomes("labels", corrected, corrections.c.set_at, period),
        _select_outcomes("findings", _f.state, _f.raised_at, period),
        accepted.where(_f.is_accepted),
    ).subquery()


def _select_outcomes(
    name: str, label: ColumnElement[str], time_column: Column[Any], period: Period
) -> Select[Any]:
    return select(
        literal_column(f"'{name}'", Text).label("name"),
        cast(label, Text).label("label"),
        time_column.label("at"),
        time_column.table.c.repository_id,
        time_column.table.c.number,
    ).where(_is_within(time_column, period))
