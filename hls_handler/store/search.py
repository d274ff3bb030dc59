"""Searches deliveries, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries
from hls_handler.db.values import from_ms, from_row, literal, to_ms
from hls_handler.deliveries import State
from hls_handler.queue.pauses import is_paused
from hls_handler.store.statistics import DELIVERY_COLUMNS, LAST_ID, DeliveryRow

PAGE_ROWS = 50

_c = deliveries.c
_before = deliveries.alias("before")
IDS = (_c.guid, _c.request_id)
ID = re.compile(r"[0-9A-Za-z:-]+")
NAMES = re.compile(r"([\w.-]+/[\w.-]+)?(?:#([0-9]{1,9}))?")  # "owner/repo#7", "owner/repo" or "#7"


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """The filters of a search; None, or "" for `text`, matches every delivery."""

    state: State | None = None
    repository: str | None = None  # "owner/repo", in any case
    event: str | None = None  # "issues", or "issues.opened"
    sender: str | None = None  # login, in any case
    # "owner/repo#7", "owner/repo", "#7", part of reason or title, or beginning of GUID or request
    # id
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None  # GUID of the last delivery of the page before


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    rows: tuple[DeliveryRow, ...]  # newest first, at most `PAGE_ROWS`
    next: str | None  # `before` of the next page; None if there is none


class DeliverySearches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, search: DeliverySearch) -> DeliveryPage:
        """Return the page of deliveries. Raises `StoreUnavailable`. An unknown `before` finds
        nothing.

        Few filters have an index, so deliveries are read from the newest on until the page is full.
        """
        query = _query(self._database, search).limit(PAGE_ROWS + 1)
        if search.before is not None:
            query = query.where(
                _c.id
                < select(_before.c.id).where(_before.c.guid == search.before).scalar_subquery()
            )
        with self._database.reading() as connection:
            found = [from_row(DeliveryRow, row) for row in connection.execute(query)]
        rows = tuple(found[:PAGE_ROWS])
        return DeliveryPage(rows, rows[-1].guid if len(found) > PAGE_ROWS else None)

    def read_all(self, search: DeliverySearch) -> Iterator[DeliveryRow]:
        """Yield all deliveries that match, newest first; `before` is ignored. Raises
        `StoreUnavailable`.

        Only one page of them is in memory. Between pages, no transaction is open.
        """
        page = self.find(replace(search, before=None))
        yield from page.rows
        while page.next is not None:
            page = self.find(replace(search, before=page.next))
            yield from page.rows

    def count_reasons(
        self, search: DeliverySearch, *, is_waiting: bool = False
    ) -> list[tuple[str, int, datetime]]:
        """Return each reason of the matching deliveries with their number and the time when the
        first one is due.

        With `is_waiting`, only of those that wait until a later time and are not paused. `before`
        is ignored. Reads all deliveries in the state; only those of "queued" and "dead" have an
        index.
        """
        reason = func.coalesce(_c.reason, "")
        first_due_at = func.min(_c.due_at)
        query = _query(self._database, search).with_only_columns(reason, func.count(), first_due_at)
        query = query.group_by(reason).order_by(None).order_by(first_due_at, reason)
        if is_waiting:
            query = query.where(
                _c.due_at > self._database.now, _c.reason.is_not(None), ~is_paused(deliveries)
            )
        if search.state == "dead":
            # else SQLite does not use the partial index
            query = query.where(_c.id > literal_column("0"))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [(text, number, from_ms(due_ms)) for text, number, due_ms in rows]

    def count(self, search: DeliverySearch) -> int:
        """Return the number of matching deliveries, as `count_reasons`."""
        return sum(number for _, number, _ in self.count_reasons(search))


def _query(database: Database, search: DeliverySearch) -> Select[Any]:
    query = select(*DELIVERY_COLUMNS).order_by(_c.id.desc())
    if search.state is not None:
        query = query.where(_c.state == literal(search.state))
    if search.repository is not None:
        query = query.where(func.lower(_c.repository) == search.repository.lower())
    if search.sender is not None:
        query = query.where(func.lower(_c.sender) == search.sender.lower())
    if search.event is not None:
        event, _, action = search.event.partition(".")
        query = query.where(_c.event == event)
        query = query.where(_c.action == action) if action else query
    if search.since is not None:
        query = query.where(_c.received_at >= to_ms(search.since))
    if search.until is not None:
        query = query.where(_c.received_at < to_ms(search.until))
    return query.where(_has_text(database, search.text)) if search.text else query


def _has_text(database: Database, text: str) -> ColumnElement[bool]:
    # LIKE of SQLite ignores the case; with lower(), it takes half as long again
    if database.file is not None:
        found = _c.reason.contains(text, autoescape=True) | _c.title.contains(text, autoescape=True)
    else:
        found = _c.reason.icontains(text, autoescape=True) | _c.title.icontains(
            text, autoescape=True
        )
    if (named := NAMES.fullmatch(text)) is not None:
        names = [] if named[1] is None else [func.lower(_c.repository) == named[1].lower()]
        numbers = [] if named[2] is None else [_c.number == int(named[2])]
        return found | and_(*names, *numbers)
    if not ID.fullmatch(text):
        return found
    ids = (
        column.between(text, text + LAST_ID) & column.startswith(text, autoescape=True)
        for column in IDS
    )
    return or_(found, *ids)
