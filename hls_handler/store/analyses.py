"""Searches the stored replies of Claude."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select

from hls_handler.analysis import TOKENS
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deliveries
from hls_handler.db.values import from_row, to_ms
from hls_handler.events import HANDLED_EVENTS, EventKind
from hls_handler.store.call_rows import IS_NEWEST, IS_PAID_BY, IS_RECORDED, MODEL, PAID, REPLY

_c = calls.c
_d = deliveries.c
_IS_SHOWN = and_(_c.reply_type.is_not(None), IS_NEWEST, ~IS_RECORDED)
_NEWEST_FIRST = (_c.finished_at.desc(), _c.delivery_id.desc(), _c.step_index.desc())
_OF_DELIVERY = (
    _d.guid,
    _d.repository,
    func.coalesce(_d.number, _d.posted_on).label("number"),
    _d.event,
    _d.action,
)


@dataclass(frozen=True, slots=True)
class AnalysisSearch:
    """The filters of a search; None matches every analysis."""

    repository: str | None = None  # "owner/repo", as GitHub writes it
    number: int | None = None  # of the issue or pull request
    kind: EventKind | None = None
    since: datetime | None = None  # of the time of the reply
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """A valid reply of Claude. Tokens and cost are the sums of its calls; all are 0 if the cache
    had the reply.
    """

    guid: str  # of the delivery
    index: int  # of the step of the delivery
    repository: str | None
    # of the issue or pull request of the event, or else of the one that was commented on
    number: int | None
    event: str
    action: str | None
    prompt_id: str
    reply_type: str  # "issue_analysis"
    model: str
    analysed_at: datetime  # aware UTC
    reply: dict[str, Any]
    input_tokens: int
    output_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    cost_usd: float | None  # None if a call has no known price

    @property
    def kind(self) -> EventKind:
        event = HANDLED_EVENTS.get(self.event)
        return event.kind if event else "generic"


@dataclass(frozen=True, slots=True)
class AnalysisPage:
    rows: tuple[AnalysisRow, ...]  # newest first
    has_more: bool


class Analyses:
    """Reads the valid replies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, search: AnalysisSearch) -> AnalysisPage:
        """Return the analyses that match, newest first. Raises `StoreUnavailable`."""
        # Only the rows of the page are read whole: PostgreSQL would read all replies before it,
        # too.
        page = (
            select(_c.id)
            .where(_IS_SHOWN, *_conditions(search))
            .order_by(*_NEWEST_FIRST)
            .limit(search.limit + 1)
            .offset(search.offset)
        )
        with self._database.reading() as connection:
            ids = connection.execute(page).scalars().all()
            rows = _read_rows(connection, _c.id.in_(ids[: search.limit]))
            return AnalysisPage(_with_costs(connection, rows), len(ids) > search.limit)

    def get(self, guid: str, index: int) -> AnalysisRow | None:
        """Return the reply to a step of a delivery. Raises `StoreUnavailable`."""
        with self._database.reading() as connection:
            rows = _read_rows(connection, and_(_IS_SHOWN, _d.guid == guid, _c.step_index == index))
            return next(iter(_with_costs(connection, rows)), None)


def _read_rows(connection: Connection, which: ColumnElement[bool]) -> list[Row[Any]]:
    query = (
        select(
            _c.finished_at.label("analysed_at"),
            _c.delivery_id,
            _c.step_index,
            _c.prompt_id,
            _c.reply_type,
            MODEL.label("model"),
            REPLY.label("reply"),
            *_OF_DELIVERY,
        )
        .join(deliveries, _d.id == _c.delivery_id)
        .outerjoin(PAID, IS_PAID_BY)
        .where(which, REPLY.is_not(None))
        .order_by(*_NEWEST_FIRST)
    )
    return list(connection.execute(query))


def _conditions(search: AnalysisSearch) -> Iterator[ColumnElement[bool]]:
    def select_from_delivery(value: ColumnElement[Any]) -> ColumnElement[Any]:
        # With a join, PostgreSQL may choose to read all deliveries.
        query = select(value).where(_d.id == _c.delivery_id)
        return query.correlate_except(deliveries).scalar_subquery()

    if search.kind == "generic":
        yield select_from_delivery(_d.event).not_in(list(HANDLED_EVENTS))
    elif search.kind is not None:
        yield select_from_delivery(_d.event).in_(
            [name for name, event in HANDLED_EVENTS.items() if event.kind == search.kind]
        )
    if search.since is not None:
        yield _c.finished_at >= to_ms(search.since)
    if search.repository is not None and search.number is not None:
        about, answered = (
            select(_d.id).where(_d.repository == search.repository, column == search.number)
            for column in (_d.number, _d.posted_on)
        )
        yield _c.delivery_id.in_(about.union(answered))
    elif search.repository is not None:
        yield select_from_delivery(_d.repository) == search.repository
    elif search.number is not None:
        yield select_from_delivery(func.coalesce(_d.number, _d.posted_on)) == search.number


def _with_costs(connection: Connection, rows: Iterable[Row[Any]]) -> tuple[AnalysisRow, ...]:
    analyses = list(rows)
    totals = [func.coalesce(func.sum(_c[kind]), 0).label(kind) for kind in TOKENS]
    cost = func.coalesce(func.sum(_c.cost_micro_usd), 0).label("cost")
    unknown = func.count().filter(_c.cost_micro_usd.is_(None), _c.outcome == "ok").label("unknown")
    query = (
        select(_c.delivery_id, _c.step_index, *totals, cost, unknown)
        .where(_c.delivery_id.in_({row.delivery_id for row in analyses}))
        .group_by(_c.delivery_id, _c.step_index)
    )
    sums = (
        {(row.delivery_id, row.step_index): row for row in connection.execute(query)}
        if analyses
        else {}
    )
    return tuple(_to_analysis(row, sums.get((row.delivery_id, row.step_index))) for row in analyses)


def _to_analysis(row: Row[Any], sums: Any) -> AnalysisRow:
    spent = {} if sums is None else sums._mapping
    return from_row(
        AnalysisRow,
        row,
        index=row.step_index,
        reply=json.loads(row.reply),
        **{kind: int(spent.get(kind, 0)) for kind in TOKENS},  # sums are Decimal on PostgreSQL
        cost_usd=None if spent.get("unknown") else int(spent.get("cost", 0)) / 1_000_000,
    )
