"""Reads all numbers: for `/stats`, `/metrics`, the overview, the figures, the API and commands.

What happened is counted (`db/counters.py`), as a total and by the hour: a call to Claude in the
hour in which it began, everything else in that in which it happened. What can change later (labels
corrected, findings fixed or dismissed) and numbers of pull requests are queries of stored rows, so
what retention has deleted is missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Label,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    case,
    cast,
    distinct,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from hls_handler.db.counters import COST, LAST_WEBHOOK, NO_COUNTS, RENAMED, TOTAL
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, corrections, counters, deliveries, findings, labels
from hls_handler.db.values import EPOCH, HOUR_MS, from_ms, to_ms
from hls_handler.handled_events import PULL_REQUEST_EVENTS
from hls_handler.store.call_rows import COUNTED_AS, IS_CALL
from hls_handler.store.deliveries import Rename
from hls_handler.store.figures import (
    HOUR,
    FigureCounts,
    FiguresReport,
    Period,
    list_figures,
    make_figures,
)

Totals = Mapping[tuple[str, str, str], int]
"""{(name, label, "owner/repo" or ""): number since the first start}."""

Series = Mapping[tuple[str, str], tuple[int, ...]]
"""{(name, label): the number of each part of a period, oldest first}."""

FEEDBACK = "feedback"
FEEDBACK_NAMES = {
    "kept": "labels not changed",
    "corrected": "labels corrected",
    "fixed": "findings fixed",
    "dismissed": "findings dismissed",
}
"""What people did: the outcome of a label or a finding, and its name in a series."""
_LABEL_OUTCOMES = ("kept", "corrected")
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
_of_conversation = deliveries.alias("of_conversation")
_IS_KEPT = and_(
    labels.c.state != "intended",
    labels.c.prompt_id.is_not(None),
    ~exists().where(
        *(corrections.c[key] == labels.c[key] for key in ("repository_id", "bot_login", "number")),
        corrections.c.label == labels.c.name,
    ),
)
_IS_OF_PULL_REQUEST = and_(
    or_(*(_d.event == literal_column(f"'{event}'") for event in sorted(PULL_REQUEST_EVENTS))),
    _d.conversation_key.is_not(None),
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
            of_name: ColumnElement[str] = literal_column(f"'{name}'")
            estimate = select(of_name, label, repository, -value)
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
        """Return the counters by hour with these names."""
        part = _part_of(_n.hour, period)
        query = select(_n.name, _n.label, part, func.sum(_n.value))
        query = query.where(_is_in(names, period))
        query = query.group_by(_n.name, _n.label, "part")
        return self._read_series(query, period)

    def feedback(self, period: Period) -> Series:
        """Return what people did: {("feedback", "findings fixed"): (3, 0)}. A label counts when it
        was set, a finding when it was raised.
        """
        rows = _list_feedback(period)
        name: ColumnElement[str] = literal_column(f"'{FEEDBACK}'")
        label = case(FEEDBACK_NAMES, value=rows.c.outcome).label("label")
        query = select(name, label, _part_of(rows.c.counted_at, period), func.count())
        query = query.where(rows.c.outcome.in_(list(FEEDBACK_NAMES)))
        return self._read_series(query.group_by("label", "part"), period)

    def _read_series(self, query: Executable, period: Period) -> Series:
        size = len(period.starts)
        series: dict[tuple[str, str], list[int]] = {}
        with self._database.reading() as connection:
            for name, label, part, number in connection.execute(query):
                series.setdefault((name, label), [0] * size)[part] = int(number)
        return {key: tuple(parts) for key, parts in series.items()}

    def report(
        self,
        since: datetime,
        until: datetime,
        *,
        repository: str | None = None,
    ) -> FiguresReport:
        """Return the figures of the hours that begin from `since`, or within its hour, until before
        `until`.

        `repository` is "owner/repo" in any case; None stands for all. Raises `StoreUnavailable`.
        """
        begin = since - (since - EPOCH) % HOUR
        with self._database.reading() as connection:
            first = _find_first_hour(connection)
            is_complete = first is None or first <= begin
            if first is not None and begin < first < until:
                begin = first
            span = _Span(connection, Period(begin, until, HOUR), repository)
            minutes = (until - begin) / timedelta(minutes=1)
            repositories = span.count()
            total = sum(repositories.values(), Counter[str]())
            return FiguresReport(
                since=begin,
                until=until,
                is_complete=is_complete,
                repository=repository,
                total=make_figures("total", minutes, total),
                repositories=list_figures(repositories, minutes),
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


def _part_of(moment: ColumnElement[int], period: Period) -> Label[int]:
    """Return the index of the part of the period in which a time (ms) is, as the column "part"."""
    part = (moment - to_ms(period.since)) // (period.step // timedelta(milliseconds=1))
    return part.label("part")


def _is_within(moment: ColumnElement[Any], period: Period) -> ColumnElement[bool]:
    return and_(moment >= to_ms(period.since), moment < to_ms(period.until))


def _is_in(names: Collection[str], period: Period) -> ColumnElement[bool]:
    is_hour = _n.hour > TOTAL  # a period may contain the beginning of 1970
    is_counted = (_n.name.in_(sorted(names)), is_hour, _is_within(_n.hour, period))
    return and_(*is_counted, _n.author == "")  # by which earlier versions counted, too


def _find_first_hour(connection: Connection) -> datetime | None:
    """Return the first hour of which the figures of repositories are counted."""
    is_counted = (_n.name.in_(_FIGURES), _n.hour > TOTAL, _n.repository != "")
    first_ms = connection.execute(select(func.min(_n.hour)).where(*is_counted)).scalar()
    return None if first_ms is None else from_ms(first_ms)


def _list_feedback(period: Period) -> Subquery:
    """Return the labels that were set in the period and the findings raised in it, with what
    became of them.
    """
    kept: ColumnElement[str] = literal_column("'kept'")
    corrected: ColumnElement[str] = literal_column("'corrected'")
    kept_labels = _select_outcomes(labels, labels.c.set_at, kept, false(), period)
    changed = _select_outcomes(corrections, corrections.c.set_at, corrected, false(), period)
    raised = _select_outcomes(findings, _f.raised_at, _f.state, _f.is_accepted, period)
    return union_all(kept_labels.where(_IS_KEPT), changed, raised).subquery()


def _select_outcomes(
    table: Table,
    counted_at: ColumnElement[int],
    outcome: ColumnElement[str],
    is_accepted: ColumnElement[bool],
    period: Period,
) -> Select[Any]:
    return select(
        table.c.repository_id,
        table.c.number,
        counted_at.label("counted_at"),
        cast(outcome, Text).label("outcome"),
        is_accepted.label("is_accepted"),
    ).where(_is_within(counted_at, period))


def _count_finding(state: str, number: int, *, is_accepted: bool) -> FigureCounts:
    is_acted_on = state == "fixed" or (is_accepted and state != "dismissed")
    counts = Counter({state: number, "raised": number})
    if is_accepted:
        counts["accepted"] = number
    if is_acted_on:
        counts["acted_on"] = number
    if is_acted_on or state in ("dismissed", "ignored"):
        counts["decided"] = number
    return counts


class _Span:
    """The counters and queries about one period, on one connection."""

    def __init__(self, connection: Connection, period: Period, repository: str | None) -> None:
        self._connection = connection
        self._period = period
        self._repository = repository
        self._is_wanted: ColumnElement[bool] = _d.repository.is_not(None)
        if repository is not None:
            self._is_wanted = func.lower(_d.repository) == repository.lower()
        self._has_ended = and_(_is_within(_d.finished_at, period), self._is_wanted)

    def count(self) -> Mapping[str, FigureCounts]:
        """Return {"octo/widgets": {"outcome:done": 3, "raised": 2}}."""
        counts = self._sum_hours()
        name = _d.repository
        for query in (self._pull_requests(name), self._costs(name)):
            for row in self._connection.execute(query):
                numbers = row._asdict()
                of_name = counts[numbers.pop("name")]
                of_name.update({key: int(number or 0) for key, number in numbers.items()})
        for of_name, outcome, is_accepted, number in self._connection.execute(self._feedback(name)):
            if outcome in _LABEL_OUTCOMES:
                counts[of_name][outcome] += int(number)
            else:
                counts[of_name] += _count_finding(outcome, int(number), is_accepted=is_accepted)
        return counts

    def _sum_hours(self) -> defaultdict[str, FigureCounts]:
        is_counted = [_n.repository != "", _is_in(_FIGURES, self._period)]
        if self._repository is not None:
            is_counted.append(func.lower(_n.repository) == self._repository.lower())
        groups = (_n.repository, _n.name, _n.label)
        query = select(*groups, func.sum(_n.value)).where(*is_counted).group_by(*groups)
        counts: defaultdict[str, FigureCounts] = defaultdict(Counter)
        for of_name, figure, label, number in self._connection.execute(query):
            counts[of_name][f"{figure}:{label}"] = int(number)
        return counts

    def _pull_requests(self, name: Column[str]) -> Executable:
        is_analysed = and_(_IS_OF_PULL_REQUEST, _d.analysis_status == "done")
        number = func.count(distinct(_d.conversation_key)).label("pull_requests")
        return (
            select(name.label("name"), number)
            .where(self._has_ended, is_analysed, name.is_not(None))
            .group_by(name)
        )

    def _costs(self, name: Column[str]) -> Executable:
        """Return the cost of pull requests with at least one call, and their number."""
        number = func.count(distinct(_d.conversation_key))
        return (
            select(
                name.label("name"),
                func.sum(_c.cost_micro_usd).label("pull_request_cost_micro_usd"),
                number.label("pull_requests_with_calls"),
            )
            .join(deliveries, _d.id == _c.delivery_id)
            .where(_is_within(_c.started_at, self._period), IS_CALL, self._is_wanted)
            .where(_IS_OF_PULL_REQUEST, name.is_not(None))
            .group_by(name)
        )

    def _feedback(self, name: Column[str]) -> Executable:
        """Count labels and findings. The newest delivery of a conversation has its repository."""
        rows = _list_feedback(self._period)
        groups = (rows.c.repository_id, rows.c.number, rows.c.outcome, rows.c.is_accepted)
        counted = select(*groups, func.count().label("rows")).group_by(*groups).subquery()
        key = cast(counted.c.repository_id, Text) + "#" + cast(counted.c.number, Text)
        newest = select(func.max(_of_conversation.c.id)).where(
            _of_conversation.c.conversation_key == key
        )
        columns = (name.label("name"), counted.c.outcome, counted.c.is_accepted)
        return (
            select(*columns, func.sum(counted.c.rows))
            .join_from(counted, deliveries, _d.id == newest.scalar_subquery())
            .where(self._is_wanted, name.is_not(None))
            .group_by(*columns)
        )
