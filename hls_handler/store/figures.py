"""Figures that teams report about a period: results, times, costs; in total, by repository and by
author.

docs/console.md defines each figure. They are computed from stored rows, so deliveries that
retention has deleted are missing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Table,
    Text,
    and_,
    cast,
    desc,
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
from hls_handler.db.tables import analyses, calls, corrections, deliveries, findings, labels
from hls_handler.db.values import from_ms, literal, to_ms
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.events import PULL_REQUEST_EVENTS
from hls_handler.store.calls import IS_CALL
from hls_handler.store.periods import nearest_rank
from hls_handler.store.replies import CACHED, IS_PAID_BY, PAID, REPLY

MAX_DELIVERIES = 100_000
"""Ended deliveries, ignored ones included, that a report reads at most: the newest of the period.
About 2.5 s.
"""

TOTAL = "total"
MAX_SCORED = 5_000  # replies with scores that a report reads at most: the newest

_d = deliveries.c
_f = findings.c
_c = calls.c
_IS_POSTED = and_(_c.delivery_id == deliveries.c.id, _c.step_index < FIRST_SHADOW_STEP)
_IS_POSTED_OLD = and_(
    analyses.c.delivery_id == deliveries.c.id, analyses.c.step_index < FIRST_SHADOW_STEP
)
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
_earlier = deliveries.alias("earlier")
_of_conversation = deliveries.alias("of_conversation")

_IS_DONE = _d.state == literal("done")
_IS_DEAD = _d.state == literal("dead")
_IS_OF_PULL_REQUEST = and_(
    or_(*(_d.event == literal_column(f"'{event}'") for event in sorted(PULL_REQUEST_EVENTS))),
    _d.conversation_key.is_not(None),
)


def _has_posted(table: Any) -> ColumnElement[bool]:
    posted: ColumnElement[bool] = and_(
        table.state == literal("done"), table.posting_status == "done"
    )
    return posted


_IS_FIRST_REPLY = and_(
    _has_posted(_d),
    _d.conversation_key.is_not(None),
    ~_d.is_command,
    ~exists().where(
        _earlier.c.conversation_key == _d.conversation_key,
        _has_posted(_earlier.c),
        _earlier.c.id < _d.id,
    ),
)
_FIRST_RECEIVED = (
    select(func.min(_of_conversation.c.received_at))
    .where(_of_conversation.c.conversation_key == _d.conversation_key)
    .where(
        or_(
            *(
                _of_conversation.c.state == literal(state)
                for state in ("done", "superseded", "dead")
            )
        )
    )
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nearest-rank percentiles in seconds; None without times."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


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

    since: datetime  # later than requested if the period has more than `MAX_DELIVERIES`
    until: datetime
    is_complete: bool  # False: `since` is later than requested
    repository: str | None  # the filter; None stands for all
    total: Figures
    repositories: tuple[Figures, ...]  # by name
    authors: tuple[Figures, ...] | None  # by login; None unless they were requested
    scores: tuple[DailyScore, ...]  # by day, then by dimension


class _ScoredReply(BaseModel):
    scores: list[Score]


Counts = Counter[str]  # by the labels of the queries, such as "done"
Times = defaultdict[str, list[int]]  # ms, by name


class FiguresReader:
    def __init__(self, database: Database, *, max_deliveries: int = MAX_DELIVERIES) -> None:
        self._database = database
        self._max_deliveries = max_deliveries

    def read(
        self,
        since: datetime,
        until: datetime,
        *,
        repository: str | None = None,
        has_authors: bool = False,
    ) -> FiguresReport:
        """Return the figures of the deliveries that ended from `since` until before `until`.

        `repository` is "owner/repo" in any case; None stands for all. Raises `StoreUnavailable`.
        """
        names = (_d.repository, _d.author) if has_authors else (_d.repository,)
        with self._database.reading() as connection:
            left_out_ms = self._find_left_out(connection, to_ms(since), to_ms(until))
            since_ms = to_ms(since) if left_out_ms is None else left_out_ms + 1
            span = _Span(connection, since_ms, to_ms(until), repository)
            processing = span.times(_d.finished_at - _d.queued_at, _IS_DONE, names)
            first_replies = span.times(_d.finished_at - _FIRST_RECEIVED, _IS_FIRST_REPLY, names)
            counts = [span.count(name) for name in names]
            scores = tuple(span.scores())
        groups = [{TOTAL: sum(counts[0].values(), Counter[str]())}, *counts]
        total, repositories, *others = (
            tuple(
                _make_figures(
                    name,
                    (to_ms(until) - since_ms) / 60_000,
                    of_group[name],
                    took[name],
                    replied[name],
                )
                for name in sorted(of_group)
            )
            for of_group, took, replied in zip(groups, processing, first_replies, strict=True)
        )
        return FiguresReport(
            since=from_ms(since_ms),
            until=until,
            is_complete=left_out_ms is None,
            repository=repository,
            total=total[0],
            repositories=repositories,
            authors=others[0] if has_authors else None,
            scores=scores,
        )

    def _find_left_out(self, connection: Connection, since_ms: int, until_ms: int) -> int | None:
        """Return the end (ms) of the newest delivery of the period that the report leaves out; None
        if it reads all.
        """
        ended = select(_d.finished_at).where(_d.finished_at >= since_ms, _d.finished_at < until_ms)
        last = ended.order_by(_d.finished_at.desc()).offset(self._max_deliveries).limit(1)
        return connection.execute(last).scalar()


def _make_figures(
    name: str, minutes: float, counts: Counts, processing_ms: list[int], first_reply_ms: list[int]
) -> Figures:
    done, dead, replies, raised = (counts[one] for one in ("done", "dead", "replies", "raised"))
    costing = counts["pull_requests_with_calls"]
    return Figures(
        name=name,
        processed=done + dead,
        done=done,
        dead=dead,
        per_minute=round((done + dead) / minutes, 4),
        success_percent=_percent(done, done + dead),
        recovered=counts["recovered"],
        recovery_percent=_percent(counts["recovered"], counts["recovered"] + dead),
        processing_seconds=_percentiles(processing_ms),
        first_reply_seconds=_percentiles(first_reply_ms),
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
        cost_per_pull_request_usd=(
            round(counts["pull_request_cost_micro_usd"] / 1_000_000 / costing, 6)
            if costing
            else None
        ),
        reply_cache=CacheFigures(
            replies=replies,
            hits=counts["cached_replies"],
            hit_percent=_percent(counts["cached_replies"], replies),
            saved_usd=counts["saved_micro_usd"] / 1_000_000,
        ),
    )


def _percentiles(times_ms: list[int]) -> Percentiles:
    if not times_ms:
        return Percentiles(0, None, None, None)
    ascending = sorted(times_ms)
    return Percentiles(
        len(ascending), *(nearest_rank(ascending, percent) / 1000 for percent in (50, 95, 99))
    )


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None


class _Span:
    """The queries about one period, on one connection. `name` is the column by which their results
    are grouped.
    """

    def __init__(
        self, connection: Connection, since_ms: int, until_ms: int, repository: str | None
    ) -> None:
        self._connection = connection
        self._since_ms = since_ms
        self._until_ms = until_ms
        self._is_wanted: ColumnElement[bool] = _d.repository.is_not(None)
        if repository is not None:
            self._is_wanted = func.lower(_d.repository) == repository.lower()
        self._has_ended = and_(self._is_within(_d.finished_at), self._is_wanted)

    def count(self, name: Column[str]) -> dict[str, Counts]:
        """Return the counts of each repository or author."""
        counts: defaultdict[str, Counts] = defaultdict(Counter)
        corrected = {"corrected": func.count()}
        kept = {"kept": func.count()}
        queries = (
            self._results(name),
            self._costs(name),
            self._replies(name),
            self._of_conversations(name, findings, self._is_within(_f.raised_at), _FINDING_COUNTS),
            self._of_conversations(
                name, corrections, self._is_within(corrections.c.set_at), corrected
            ),
            self._of_conversations(
                name, labels, and_(self._is_within(labels.c.set_at), _IS_KEPT), kept
            ),
        )
        for query in queries:
            for row in self._connection.execute(query):
                values = row._asdict()
                counts[values.pop("name")].update(
                    {key: int(value or 0) for key, value in values.items()}
                )
        return counts

    def times(
        self, took_ms: ColumnElement[int], which: ColumnElement[bool], names: Sequence[Column[str]]
    ) -> Sequence[Times]:
        """Return {"total": all times}, and for each column of `names` the times by its values."""
        groups: list[Times] = [defaultdict(list) for _ in (TOTAL, *names)]
        for took, *values in self._connection.execute(
            select(took_ms, *names).where(self._has_ended, which)
        ):
            for group, value in zip(groups, (TOTAL, *values), strict=True):
                if value is not None:
                    group[value].append(took)
        return groups

    def scores(self) -> Iterator[DailyScore]:
        is_review = and_(self._has_ended, _d.event == "pull_request")
        of_calls = (
            select(_d.finished_at, REPLY.label("reply"))
            .join(calls, _IS_POSTED)
            .outerjoin(PAID, IS_PAID_BY)
            .where(is_review, _c.reply_type.is_not(None), REPLY.like(_HAS_SCORES))
        )
        old = (
            select(_d.finished_at, analyses.c.reply)
            .join(analyses, _IS_POSTED_OLD)
            .where(is_review, analyses.c.reply.like(_HAS_SCORES))
        )
        query = union_all(of_calls, old).order_by(desc("finished_at")).limit(MAX_SCORED)
        given: defaultdict[tuple[date, str], list[int]] = defaultdict(list)
        for row in self._connection.execute(query):
            with suppress(ValidationError):  # another version may have written it
                for one in _ScoredReply.model_validate_json(row.reply).scores:
                    given[from_ms(row.finished_at).date(), one.dimension].append(one.score)
        for (day, dimension), scores in sorted(given.items()):
            yield DailyScore(day, dimension, round(sum(scores) / len(scores), 2), len(scores))

    def _is_within(self, moment: ColumnElement[Any]) -> ColumnElement[bool]:
        return and_(moment >= self._since_ms, moment < self._until_ms)

    def _results(self, name: Column[str]) -> Executable:
        is_analysed = and_(_IS_OF_PULL_REQUEST, _d.analysis_status == "done")
        return (
            select(
                name.label("name"),
                func.count().filter(_IS_DONE).label("done"),
                func.count().filter(_IS_DEAD).label("dead"),
                func.count().filter(_IS_DONE, _d.failures > 0).label("recovered"),
                func.count(distinct(_d.conversation_key))
                .filter(is_analysed)
                .label("pull_requests"),
            )
            .where(
                self._has_ended,
                or_(_IS_DONE, _IS_DEAD, _d.state == literal("superseded")),
                name.is_not(None),
            )
            .group_by(name)
        )

    def _costs(self, name: Column[str]) -> Executable:
        of_pull_request = func.count(distinct(_d.conversation_key)).filter(_IS_OF_PULL_REQUEST)
        return (
            select(
                name.label("name"),
                func.sum(_c.cost_micro_usd).label("cost_micro_usd"),
                func.sum(_c.cost_micro_usd)
                .filter(_IS_OF_PULL_REQUEST)
                .label("pull_request_cost_micro_usd"),
                of_pull_request.label("pull_requests_with_calls"),
            )
            .join(deliveries, _d.id == _c.delivery_id)
            .where(self._is_within(_c.started_at), IS_CALL, self._is_wanted, name.is_not(None))
            .group_by(name)
        )

    def _replies(self, name: Column[str]) -> Executable:
        of_calls = (
            select(
                name.label("name"),
                func.count().label("replies"),
                func.count().filter(_c.outcome == CACHED).label("cached_replies"),
                func.sum(PAID.c.cost_micro_usd).label("saved_micro_usd"),
            )
            .join(calls, _IS_POSTED)
            .outerjoin(PAID, IS_PAID_BY)
            .where(self._has_ended, name.is_not(None), _c.reply_type.is_not(None))
            .group_by(name)
        )
        old = (  # stored by versions before 0.4.0
            select(
                name.label("name"),
                func.count().label("replies"),
                func.count(analyses.c.saved_micro_usd).label("cached_replies"),
                func.sum(analyses.c.saved_micro_usd).label("saved_micro_usd"),
            )
            .join(analyses, _IS_POSTED_OLD)
            .where(self._has_ended, name.is_not(None))
            .group_by(name)
        )
        return union_all(of_calls, old)

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
