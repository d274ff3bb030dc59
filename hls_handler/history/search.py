"""Searches deliveries, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries
from hls_handler.db.values import from_row, literal, to_ms
from hls_handler.deliveries import State
from hls_handler.history.statistics import DELIVERY_COLUMNS, DeliveryRow

PAGE_ROWS = 50
MAX_READ = 20_000
"""Rows that one page reads at most, because few filters have an index: about 20 ms."""

_c = deliveries.c


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """The filters of a search; None, or "" for `text`, matches every delivery."""

    state: State | None = None
    repository: str | None = None  # "owner/repo", in any case
    event: str | None = None  # "issues", or "issues.opened"
    text: str = ""  # part of the reason, or beginning of the GUID or of the request id, in any case
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None  # GUID of the last delivery of the page before


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    rows: tuple[DeliveryRow, ...]  # newest first, at most `PAGE_ROWS`
    next: str | None  # `before` of the next page; None if there is none
    is_complete: bool  # False: `MAX_READ` rows were read before the page was full


class DeliverySearches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, search: DeliverySearch) -> DeliveryPage:
        """Return the page of deliveries. Raises `StoreUnavailable`. An unknown `before` finds nothing."""
        read = select(_c.id).order_by(_c.id.desc()).limit(MAX_READ)
        if search.before is not None:
            read = read.where(_c.id < select(_c.id).where(_c.guid == search.before).scalar_subquery())
        newest = read.subquery()
        with self._database.reading() as connection:
            bounds = select(func.min(newest.c.id), func.max(newest.c.id), func.count())
            first, last, number = connection.execute(bounds).one()
            if not number:
                return DeliveryPage((), None, is_complete=True)
            found = connection.execute(_query(search).where(_c.id.between(first, last))).all()
            rows = tuple(from_row(DeliveryRow, row) for row in found[:PAGE_ROWS])
            if len(found) > PAGE_ROWS:
                return DeliveryPage(rows, rows[-1].guid, is_complete=True)
            if number < MAX_READ:
                return DeliveryPage(rows, None, is_complete=True)
            guid = connection.execute(select(_c.guid).where(_c.id == first)).scalar_one()
            return DeliveryPage(rows, guid, is_complete=False)


def _query(search: DeliverySearch) -> Select[Any]:
    query = select(*DELIVERY_COLUMNS).order_by(_c.id.desc()).limit(PAGE_ROWS + 1)
    if search.state is not None:
        query = query.where(_c.state == literal(search.state))
    if search.repository is not None:
        query = query.where(func.lower(_c.repository) == search.repository.lower())
    if search.event is not None:
        event, _, action = search.event.partition(".")
        query = query.where(_c.event == event)
        query = query.where(_c.action == action) if action else query
    if search.since is not None:
        query = query.where(_c.received_at >= to_ms(search.since))
    if search.until is not None:
        query = query.where(_c.received_at < to_ms(search.until))
    return query.where(_has_text(search.text)) if search.text else query


def _has_text(text: str) -> ColumnElement[bool]:
    return (
        _c.reason.icontains(text, autoescape=True)
        | _c.guid.istartswith(text, autoescape=True)
        | _c.request_id.istartswith(text, autoescape=True)
    )
