"""Figures that teams report about a period: results, times, costs; in total, by repository and by
author.

docs/console.md defines each figure. What happened is counted by the hour (`store/periods.py`). What
can change later (findings fixed or dismissed, labels corrected) and numbers of pull requests are
queries of stored rows, so what retention has deleted is missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    Text,
    and_,
    cast,
    distinct,
    exists,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from hls_handler.analysis import Score
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, corrections, deliveries, findings, labels
from hls_handler.db.values import EPOCH, from_ms, to_ms
from hls_handler.events import PULL_REQUEST_EVENTS
from hls_handler.store.calls import IS_CALL
from hls_handler.store.periods import (
    HOUR,
    Percentiles,
    Period,
    estimate_percentiles,
    find_first_hour,
    part_of,
    read_series,
    sum_by_group,
)
from hls_handler.store.replies import IS_PAID_BY, PAID, REPLY

TOTAL = "total"
MAX_SCORED = 5_000  # replies with scores that a report reads at most: the newest

_d = deliveries.c
_f = findings.c
_c = calls.c
_HAS_SCORES = '%"scores":[{%'
_IS_ACTED_ON = or_(_f.state == "fixed", and_(_f.is_accepted, _f.state != "dismissed"))
_FINDING_COUNTS = {
    "raised": func.count(),
    "accepted": func.count().filter(_f.is_accepted),
    "fixed": func.count().filter(_f.state == "fixed"),
    "dismissed": func.count().filter(_f.state == "dismissed"),
    "ignored": func.count().filter(_f.state == "ignored"),
    "acted_on": func.count().filter(_IS_ACTED_ON),
    "decided": func.count().filter(or_(_IS_ACTED_ON, _f.state.in_(["dismissed", "ignored"]))),
}
_IS_KEPT = and_(
    labels.c.state != "intended",
    labels.c.prompt_id.is_not(None),
    ~exists().where(
        *(corrections.c[key] == labels.c[key] for key in ("repository_id", "bot_login", "number")),
        corrections.c.label == labels.c.name,
    ),
)
FEEDBACK = "feedback"
_FEEDBACK_ROWS: Mapping[str, tuple[ColumnElement[int], ColumnElement[bool]]] = {
    "labels not changed": (labels.c.set_at, _IS_KEPT),
    "labels corrected": (corrections.c.set_at, corrections.c.label.is_not(None)),
    "findings fixed": (_f.raised_at, _f.state == "fixed"),
    "findings dismissed": (_f.raised_at, _f.state == "dismissed"),
}
"""What people did: the time for which it counts, and the rows."""
FEEDBACK_NAMES = tuple(_FEEDBACK_ROWS)
_of_conversation = deliveries.alias("of_conversation")
_IS_OF_PULL_REQUEST = and_(
    or_(*(_d.event == literal_column(f"'{event}'") for event in sorted(PULL_REQUEST_EVENTS))),
    _d.conversation_key.is_not(None),
)


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
    """The figures of one repository, of one author, or of all. A value is None if there is nothing
    to divide by.
    """

    name: str  # "owner/repo", a login, or `TOTAL`
    processed: int
    done: int
    dead: int
    per_minute: float
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
class DailyScore:
    """The average score that replies gave one dimension of a score card on one day (UTC)."""

    day: date
    dimension: str  # "readability"
    average: float  # from 1 (poor) to 5 (good)
    replies: int


@dataclass(frozen=True, slots=True)
class FiguresReport:
    """The figures of a period, as `/api/stats` sends them."""

    since: datetime  # a full hour; later than requested if HLS counts only from then on
    until: datetime
    is_complete: bool  # False: HLS counts only from a later time than requested
    repository: str | None  # the filter; None stands for all
    total: Figures
    repositories: tuple[Figures, ...]  # by name
    authors: tuple[Figures, ...] | None  # by login; None unless they were requested
    scores: tuple[DailyScore, ...]  # by day, then by dimension


class _ScoredReply(BaseModel):
    scores: list[Score]


Counts = Counter[str]  # by "ended:done" of the counters, and by the labels of the queries


class FiguresReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    def read(
        self,
        since: datetime,
        until: datetime,
        *,
        repository: str | None = None,
        has_authors: bool = False,
    ) -> FiguresReport:
        """Return the figures of the hours that begin from `since`, or within its hour, until before
        `until`.

        `repository` is "owner/repo" in any case; None stands for all. Raises `StoreUnavailable`.
        """
        begin = since - (since - EPOCH) % HOUR
        with self._database.reading() as connection:
            first = find_first_hour(connection)
            is_complete = first is None or first <= begin
            if first is not None and begin < first < until:
                begin = first
            span = _Span(connection, Period(begin, until, HOUR), repository)
            minutes = (until - begin) / timedelta(minutes=1)
            repositories = span.count("repository")
            total = sum(repositories.values(), Counter[str]())
            authors = None
            if has_authors:
                authors = _list_figures(span.count("author"), minutes)
            return FiguresReport(
                since=begin,
                until=until,
                is_complete=is_complete,
                repository=repository,
                total=_make_figures(TOTAL, minutes, total),
                repositories=_list_figures(repositories, minutes),
                authors=authors,
                scores=tuple(span.scores()),
            )

    def series(self, period: Period) -> dict[tuple[str, str], tuple[int, ...]]:
        """Return what people did with labels and findings, as `CounterHours.series`: {("feedback",
        "findings fixed"): (3, 0)}.
        """
        numbers: list[Select[str, str, int, int]] = []
        kind: ColumnElement[str] = literal_column(f"'{FEEDBACK}'")
        for name, (moment, which) in _FEEDBACK_ROWS.items():
            label: ColumnElement[str] = literal_column(f"'{name}'")
            number = select(kind, label, part_of(moment, period), func.count())
            numbers.append(number.where(_is_within(moment, period), which).group_by("part"))
        with self._database.reading() as connection:
            return read_series(connection, union_all(*numbers), period)

    def count_findings(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return {prompt id: {category: {state: number}}} of all findings on pull requests.

        Besides the states, "raised" counts all findings, and "accepted" those with thumbs up.
        """
        groups = (_f.prompt_id, _f.category, _f.state)
        counted = (one.label(name) for name, one in _FINDING_COUNTS.items())
        query = select(*groups, *counted).group_by(*groups).order_by(*groups)
        found: dict[str, dict[str, dict[str, int]]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query):
                categories = found.setdefault(row.prompt_id, {})
                of_category = categories.setdefault(row.category, {"raised": 0, "accepted": 0})
                of_category["raised"] += row.raised
                of_category["accepted"] += row.accepted
                of_category[row.state] = row.raised
        return found


def _list_figures(counts: Mapping[str, Counts], minutes: float) -> tuple[Figures, ...]:
    return tuple(_make_figures(name, minutes, counts[name]) for name in sorted(counts))


def _make_figures(name: str, minutes: float, counts: Counts) -> Figures:
    done = counts["ended:done"]
    dead = counts["ended:dead"]
    raised = counts["raised"]
    hits = counts["replies:cached"]
    replies = counts["replies:asked"] + hits
    costing = counts["pull_requests_with_calls"]
    cost_per_pull_request_usd = None
    if costing:
        cost_usd = counts["pull_request_cost_micro_usd"] / 1_000_000
        cost_per_pull_request_usd = round(cost_usd / costing, 6)
    return Figures(
        name=name,
        processed=done + dead,
        done=done,
        dead=dead,
        per_minute=round((done + dead) / minutes, 4),
        success_percent=_percent(done, done + dead),
        recovered=counts["recovered"],
        recovery_percent=_percent(counts["recovered"], counts["recovered"] + dead),
        processing_seconds=_percentiles(counts, "processing_le:"),
        first_reply_seconds=_percentiles(counts, "first_reply_le:"),
        pull_requests_analysed=counts["pull_requests"],
        findings=FindingFigures(
            raised=raised,
            accepted=counts["accepted"],
            fixed=counts["fixed"],
            dismissed=counts["dismissed"],
            false_positive_percent=_percent(counts["dismissed"], raised),
            ignored=counts["ignored"],
            acted_on=counts["acted_on"],
            decided=counts["decided"],
            acted_on_percent=_percent(counts["acted_on"], counts["decided"]),
        ),
        labels=LabelFigures(counts["kept"], counts["corrected"]),
        cost_usd=counts["cost_micro_usd"] / 1_000_000,
        batches_cost_usd=counts["batch_cost_micro_usd"] / 1_000_000,
        cost_per_pull_request_usd=cost_per_pull_request_usd,
        reply_cache=CacheFigures(
            replies=replies,
            hits=hits,
            hit_percent=_percent(hits, replies),
            saved_usd=counts["saved_micro_usd"] / 1_000_000,
        ),
    )


def _percentiles(counts: Counts, prefix: str) -> Percentiles:
    histogram = {
        figure.removeprefix(prefix): number
        for figure, number in counts.items()
        if figure.startswith(prefix)
    }
    return estimate_percentiles(histogram)


def _is_within(moment: ColumnElement[Any], period: Period) -> ColumnElement[bool]:
    return and_(moment >= to_ms(period.since), moment < to_ms(period.until))


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None


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

    def count(self, group: Literal["repository", "author"]) -> Mapping[str, Counts]:
        """Add up what is counted by the hour, and what stored rows show: numbers that change later,
        and those of pull requests, which cannot be added up by the hour.
        """
        counts = sum_by_group(self._connection, group, self._period, self._repository)
        name = {"repository": _d.repository, "author": _d.author}[group]
        c = corrections.c
        is_kept = and_(_is_within(labels.c.set_at, self._period), _IS_KEPT)
        queries = (
            self._pull_requests(name),
            self._costs(name),
            self._of_conversations(
                name, findings, _is_within(_f.raised_at, self._period), _FINDING_COUNTS
            ),
            self._of_conversations(
                name, corrections, _is_within(c.set_at, self._period), {"corrected": func.count()}
            ),
            self._of_conversations(name, labels, is_kept, {"kept": func.count()}),
        )
        for query in queries:
            for row in self._connection.execute(query):
                values = row._asdict()
                of_name = counts.setdefault(values.pop("name"), Counter())
                of_name.update({key: int(value or 0) for key, value in values.items()})
        return counts

    def scores(self) -> Iterator[DailyScore]:
        is_review = and_(self._has_ended, _d.event == "pull_request", _d.batch_id.is_(None))
        query = (
            select(_d.finished_at, REPLY.label("reply"))
            .join(calls, _c.delivery_id == _d.id)
            .outerjoin(PAID, IS_PAID_BY)
            .where(is_review, _c.reply_type.is_not(None), REPLY.like(_HAS_SCORES))
            .order_by(_d.finished_at.desc())
            .limit(MAX_SCORED)
        )
        given: defaultdict[tuple[date, str], list[int]] = defaultdict(list)
        for row in self._connection.execute(query):
            with suppress(ValidationError):  # another version may have written it
                for one in _ScoredReply.model_validate_json(row.reply).scores:
                    given[from_ms(row.finished_at).date(), one.dimension].append(one.score)
        for (day, dimension), scores in sorted(given.items()):
            yield DailyScore(day, dimension, round(sum(scores) / len(scores), 2), len(scores))

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

    def _of_conversations(
        self,
        name: Column[str],
        table: Table,
        which: ColumnElement[bool],
        counts: Mapping[str, ColumnElement[int]],
    ) -> Executable:
        """Count rows of conversations. The newest delivery of a conversation has its repository and
        author.
        """
        number = table.c.number
        repository_id = table.c.repository_id
        key = cast(repository_id, Text) + "#" + cast(number, Text)
        newest = select(func.max(_of_conversation.c.id)).where(
            _of_conversation.c.conversation_key == key
        )
        counted = (
            select(
                newest.scalar_subquery().label("newest_delivery"),
                *(one.label(to) for to, one in counts.items()),
            )
            .where(which)
            .group_by(repository_id, number)
            .subquery()
        )
        return (
            select(name.label("name"), *(func.sum(counted.c[one]).label(one) for one in counts))
            .join_from(counted, deliveries, _d.id == counted.c.newest_delivery)
            .where(self._is_wanted, name.is_not(None))
            .group_by(name)
        )
