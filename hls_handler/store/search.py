"""Searches deliveries, page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, literal_column, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries
from hls_handler.db.values import HOUR_MS, from_ms, from_row, literal, to_ms
from hls_handler.deliveries import State
from hls_handler.queue.pauses import is_paused
from hls_handler.store.statistics import DELIVERY_COLUMNS, LAST_ID, DeliveryRow

PAGE_ROWS = 50
MAX_READ = 5_000
"""Rows that one page reads at most, because few filters have an index."""
SLACK_MS = HOUR_MS
"""Deliveries are stored in the order of `received_at`, unless the clock was set back by more than this."""

_c = deliveries.c
IDS = (_c.guid, _c.request_id)
ID = re.compile(r"[0-9A-Za-z:-]+")
NAMES = re.compile(r"([\w.-]+/[\w.-]+)?(?:#([0-9]{1,9}))?")  # "owner/repo#7", "owner/repo" or "#7"
_FIRST_OF = (
    select(_c.id, _c.received_at).where(_c.id >= bindparam("middle"), _c.id < bindparam("end")).order_by(_c.id).limit(1)
)


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """The filters of a search; None, or "" for `text`, matches every delivery."""

    state: State | None = None
    repository: str | None = None  # "owner/repo", in any case
    event: str | None = None  # "issues", or "issues.opened"
    sender: str | None = None  # login, in any case
    text: str = ""  # "owner/repo#7", "owner/repo", "#7", part of reason or title, or beginning of GUID or request id
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None  # GUID of the last delivery of the page before


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    rows: tuple[DeliveryRow, ...]  # newest first, at most `PAGE_ROWS`
    next: str | None  # `before` of the next page; None if there is none
    is_complete: bool  # False: `MAX_READ` rows were read before the page was full


class DeliverySearches:
    def __init__(self, database: Database, *, max_read: int = MAX_READ) -> None:
        self._database, self._max_read = database, max_read

    def find(self, search: DeliverySearch) -> DeliveryPage:
        """Return the page of deliveries. Raises `StoreUnavailable`. An unknown `before` finds nothing."""
        with self._database.reading() as connection:
            first, end = _find_bounds(connection, search)
            if search.before is not None:
                end = min(end, connection.execute(select(_c.id).where(_c.guid == search.before)).scalar() or 0)
            block = self._read(connection, search, first, end)
            rows = tuple(from_row(DeliveryRow, row) for row in block.found)
            if block.end is None or block.is_full:
                return DeliveryPage(rows, rows[-1].guid if block.is_full else None, is_complete=True)
            oldest = select(_c.guid).where(_c.id >= block.end).order_by(_c.id).limit(1)
            return DeliveryPage(rows, connection.execute(oldest).scalar(), is_complete=False)

    def read_all(self, search: DeliverySearch) -> Iterator[DeliveryRow]:
        """Yield all deliveries that match, newest first; `before` is ignored. Raises `StoreUnavailable`.

        Only one page of them is in memory. Between pages, no transaction is open.
        """
        with self._database.reading() as connection:
            first, end = _find_bounds(connection, search)
        block = _Block((), is_full=False, end=end)
        while block.end is not None:
            with self._database.reading() as connection:
                block = self._read(connection, search, first, block.end)
            yield from (from_row(DeliveryRow, row) for row in block.found)

    def count_reasons(self, search: DeliverySearch, *, is_waiting: bool = False) -> list[tuple[str, int, datetime]]:
        """Return each reason of the matching deliveries with their number and the time when the first one is due.

        With `is_waiting`, only of those that wait until a later time and are not paused. `before` is ignored. Reads all
        deliveries in the state; only those of "queued" and "dead" have an index.
        """
        reason, first_due_at = func.coalesce(_c.reason, ""), func.min(_c.due_at)
        query = _query(self._database, search).with_only_columns(reason, func.count(), first_due_at)
        query = query.group_by(reason).order_by(None).order_by(first_due_at, reason)
        if is_waiting:
            query = query.where(_c.due_at > self._database.now, _c.reason.is_not(None), ~is_paused(deliveries))
        if search.state == "dead":
            query = query.where(_c.id > literal_column("0"))  # else SQLite does not use the partial index
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [(text, number, from_ms(due_ms)) for text, number, due_ms in rows]

    def count(self, search: DeliverySearch) -> int:
        """Return the number of matching deliveries, as `count_reasons`."""
        return sum(number for _, number, _ in self.count_reasons(search))

    def _read(self, connection: Connection, search: DeliverySearch, lowest: int, end: int) -> _Block:
        # Few ids are unused, so a range of ids is a range of rows. To count rows would mean to read them.
        first = max(lowest, end - self._max_read)
        query = _query(self._database, search).where(_c.id >= first, _c.id < end).limit(PAGE_ROWS + 1)
        found = connection.execute(query).all()
        if len(found) > PAGE_ROWS:
            return _Block(found[:PAGE_ROWS], True, found[PAGE_ROWS - 1].id)
        return _Block(found, False, first if first > lowest else None)


class _Block(NamedTuple):
    found: Sequence[Row[Any]]  # newest first, at most `PAGE_ROWS`
    is_full: bool  # more rows of the block match
    end: int | None  # above the highest id of the next block; None if this is the last one


def _find_bounds(connection: Connection, search: DeliverySearch) -> tuple[int, int]:
    """Return the lowest id that may match `since` and `until`, and the end above the highest."""
    ends = (select(_c.id).order_by(order).limit(1).scalar_subquery() for order in (_c.id, _c.id.desc()))
    lowest, highest = connection.execute(select(*ends)).one()
    if lowest is None:
        return 0, 0
    first, end = lowest, highest + 1
    if search.since is not None:
        first = _find_id(connection, lowest, end, to_ms(search.since) - SLACK_MS)
    if search.until is not None:
        end = _find_id(connection, lowest, end, to_ms(search.until) + SLACK_MS)
    return first, end


def _find_id(connection: Connection, low: int, high: int, received_ms: int) -> int:
    """Return the lowest id of a delivery received at `received_ms` or later, by a binary search; `high` for none."""
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_FIRST_OF, {"middle": middle, "end": high}).first()
        if row is None or row.received_at >= received_ms:
            high = middle
        else:
            low = row.id + 1
    return low


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
    if database.file is not None:  # LIKE of SQLite ignores the case; with lower(), it takes half as long again
        found = _c.reason.contains(text, autoescape=True) | _c.title.contains(text, autoescape=True)
    else:
        found = _c.reason.icontains(text, autoescape=True) | _c.title.icontains(text, autoescape=True)
    if (named := NAMES.fullmatch(text)) is not None:
        names = [] if named[1] is None else [func.lower(_c.repository) == named[1].lower()]
        numbers = [] if named[2] is None else [_c.number == int(named[2])]
        return found | and_(*names, *numbers)
    if not ID.fullmatch(text):
        return found
    ids = (column.between(text, text + LAST_ID) & column.startswith(text, autoescape=True) for column in IDS)
    return or_(found, *ids)
