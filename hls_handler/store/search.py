"""Searches deliveries, page by page, and groups them by cause."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from hls_handler.db.database import Database
from hls_handler.db.tables import calls, checkpoints, deliveries
from hls_handler.db.values import from_ms, from_row, literal, to_ms
from hls_handler.deliveries import BATCHED, ListedState, State, summarize_reason
from hls_handler.queue.rate_limiter import SLOT_WAIT
from hls_handler.store.deliveries import DELIVERY_COLUMNS, LAST_ID, DeliveryRow

PAGE_ROWS = 50
MOST_COUNTED = 1_000  # deliveries that are counted by state without a limit of time
OF_ALL: tuple[ListedState, ...] = ("queued", "running", "dead", "discarded")
"""States whose deliveries are counted without a limit of time."""

_c = deliveries.c
_before = deliveries.alias("before")
IDS = (_c.guid, _c.request_id)
ID = re.compile(r"[0-9A-Za-z:-]+")
NAMES = re.compile(r"([\w.-]+/[\w.-]+)?(?:#([0-9]{1,9}))?")  # "owner/repo#7", "owner/repo" or "#7"

_IS_INDEXED: Mapping[ListedState, ColumnElement[bool]] = {
    "queued": _c.sort_key > literal_column("-1"),
    "running": _c.lease_until > literal_column("0"),
}
"""Conditions that are always true, with which SQLite counts by the partial index of the state."""
_earliest = deliveries.alias("earliest")
NO_CAUSE = "00000000"
"""The cause of deliveries without one, because they have no reason."""


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """The filters of a search; None, or "" for `text`, matches every delivery.

    Deliveries of batches are found only by `guids`, and by a `text` with which their GUIDs begin.
    """

    state: ListedState | None = None
    repository: str | None = None  # "owner/repo", in any case
    event: str | None = None  # "issues", or "issues.opened"
    sender: str | None = None  # login, in any case
    # "owner/repo#7", "owner/repo", "#7", part of reason or title, or beginning of GUID or request
    # id
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None  # GUID of the last delivery of the page before
    cause: str | None = None  # `find_cause` of the reason, or `NO_CAUSE`
    retried_ms: int | None = None  # when a person had them run again
    guids: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """Deliveries in a state for the same cause."""

    state: State
    cause: str  # "3f9c2a1b"
    is_open: bool  # of retried ones: they run, are due, or wait only for their turn
    reason: str  # of the newest one, "" without one; those of the others may name another time
    number: int
    first_due_at: datetime  # of queued ones

    @property
    def title(self) -> str:
        """The part that all reasons have in common."""
        if self.number == 1:
            return self.reason
        return summarize_reason(self.reason)

    @property
    def query(self) -> str:
        """The query for these deliveries, in the words of `reports.delivery_query`."""
        state: str = self.state
        if state == "queued":
            state = "waiting"
        return f"is:{state} cause:{self.cause}"


@dataclass(frozen=True, slots=True)
class Causes:
    groups: tuple[CauseGroup, ...]  # the largest ones, the largest first
    hidden_groups: int
    hidden: int  # deliveries in hidden groups


@dataclass(frozen=True, slots=True)
class Expense:
    work_s: float | None  # of the measured steps and calls; None if there are none
    cost_usd: float | None  # of the calls whose cost is known


NO_EXPENSE = Expense(None, None)


@dataclass(frozen=True, slots=True)
class StateCounts:
    """Numbers of deliveries by state."""

    overall: Mapping[str, int]  # "queued", "running", "dead" and "discarded"
    in_span: Mapping[str, int]  # all states, of the deliveries received in a span


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
        return self._read_page(self._select_rows(search), search.before)

    def read_all(self, search: DeliverySearch) -> Iterator[DeliveryRow]:
        """Yield all deliveries that match, newest first; `before` is ignored. Raises
        `StoreUnavailable`.

        Only one page of them is in memory. Between pages, no transaction is open.
        """
        query = self._select_rows(search)
        page = self._read_page(query, None)
        yield from page.rows
        while page.next is not None:
            page = self._read_page(query, page.next)
            yield from page.rows

    def find_newest(
        self, search: DeliverySearch, groups: Sequence[CauseGroup], *, limit: int
    ) -> list[DeliveryRow]:
        """Return the newest deliveries of each group, newest first, at most `limit` of each."""
        newest = []
        for group in groups:
            group_search = replace(search, cause=group.cause)
            query = _filter(select(_c.id), group_search)
            query = query.order_by(_c.id.desc()).limit(limit)
            newest.append(select(query.subquery().c.id))
        if not newest:
            return []
        is_newest = _c.id.in_(union_all(*newest))
        return self._read(select(*DELIVERY_COLUMNS).where(is_newest).order_by(_c.id.desc()))

    def count_causes(self, search: DeliverySearch, *, limit: int) -> Causes:
        """Return the `limit` largest groups of the deliveries in a state, by cause.

        An index has the numbers: only the newest row of each of these groups is read, unless the
        search has other filters.
        """
        return self._count_groups(search, (_c.cause,), limit)

    def count_results(self, search: DeliverySearch, *, limit: int) -> Causes:
        """Return groups of retried deliveries by state, and by the cause of those that are dead or
        wait again; first the open ones, and at most `limit`. Reads each of these deliveries.
        """
        is_next = or_(
            _c.due_at <= self._database.now, _c.reason.startswith(SLOT_WAIT, autoescape=True)
        )
        is_queued = _c.state == literal("queued")
        is_open = or_(_c.state == literal("running"), and_(is_queued, is_next))
        cause = case((~is_open, _c.cause))  # an open one may have that of an earlier failure
        keys = (is_open.label("is_open"), _c.state, cause.label("cause"))
        return self._count_groups(search, keys, limit)

    def count(self, search: DeliverySearch) -> int:
        """Return the number of matching deliveries."""
        query = _filter(select(func.count()).select_from(deliveries), search)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_states(self, search: DeliverySearch, *, since: datetime | None) -> StateCounts:
        """Return the numbers of matching deliveries by state; `search.state` is ignored.

        Those of a span are of the deliveries received since `since`; without it, of the newest
        `MOST_COUNTED` and one more.
        """
        numbers = []
        for state in OF_ALL:
            query = _count("all", literal_column(f"'{state}'"))
            # The index of the queue has no causes, and that of the causes all that is counted.
            has_other_index = state == "queued" and search.cause is not None
            if state in _IS_INDEXED and not has_other_index:
                query = query.where(_IS_INDEXED[state])
            numbers.append(_filter(query, replace(search, state=state)))
        in_span = replace(search, state=None, since=since)
        matching = _filter(select(_c.state), in_span)
        if since is None:
            matching = matching.order_by(_c.id.desc()).limit(MOST_COUNTED + 1)
        counted = matching.subquery()
        span_counts = select(literal_column("'span'"), counted.c.state, func.count())
        numbers.append(span_counts.group_by(counted.c.state))
        counts: dict[str, dict[str, int]] = {"all": {}, "span": {}}
        with self._database.reading() as connection:
            for kind, state, number in connection.execute(union_all(*numbers)):
                counts[kind][state] = number
        return StateCounts(counts["all"], counts["span"])

    def expenses(self, rows: Collection[DeliveryRow]) -> dict[str, Expense]:
        """Return what the processing of these deliveries took and cost, by GUID."""
        guids = [row.guid for row in rows]
        steps = (
            select(_c.guid, func.sum(checkpoints.c.duration_ms), literal_column("NULL"))
            .join(checkpoints, checkpoints.c.delivery_id == _c.id)
            .where(_c.guid.in_(guids), checkpoints.c.started_at.is_not(None))
            .group_by(_c.guid)
        )
        lasted = func.coalesce(calls.c.duration_ms, calls.c.finished_at - calls.c.started_at)
        query = (
            select(_c.guid, func.sum(lasted), func.sum(calls.c.cost_micro_usd))
            .join(calls, calls.c.delivery_id == _c.id)
            .where(_c.guid.in_(guids))
            .group_by(_c.guid)
        )
        expenses: dict[str, Expense] = {}
        with self._database.reading() as connection:
            for guid, took_ms, cost in connection.execute(union_all(steps, query)):
                expense = expenses.get(guid, NO_EXPENSE)
                if took_ms is not None:
                    work_s = round((expense.work_s or 0.0) + int(took_ms) / 1000, 3)
                    expense = replace(expense, work_s=work_s)
                if cost is not None:
                    expense = replace(expense, cost_usd=int(cost) / 1_000_000)
                expenses[guid] = expense
        return expenses

    def _select_rows(self, search: DeliverySearch) -> Select[Any]:
        query = _filter(select(*DELIVERY_COLUMNS), search)
        if search.since is not None:
            # With `+ 0`, SQLite reads the index of times instead of the rows in the order of ids.
            first_id = func.min(_earliest.c.id + literal_column("0"))
            first = select(first_id).where(_earliest.c.received_at >= to_ms(search.since))
            # With this condition, SQLite stops at the oldest row instead of reading all.
            query = query.where(_c.id >= first.scalar_subquery())
        return query.order_by(_c.id.desc())

    def _count_groups(
        self, search: DeliverySearch, keys: Sequence[ColumnElement[Any]], limit: int
    ) -> Causes:
        number = func.count()
        newest_id = func.max(_c.id)
        first_due_at: ColumnElement[int] = literal_column("0")  # the index of dead ones has none
        if search.state == "queued":
            first_due_at = func.min(_c.due_at)
        values = {
            "number": number,
            "newest_id": newest_id,
            "first_due_at": first_due_at,
            "all_groups": func.count().over(),
            "all_deliveries": func.sum(number).over(),
        }
        labelled = (value.label(name) for name, value in values.items())
        query = _filter(select(*keys, *labelled), search)
        *first, _ = (key.desc() for key in keys)
        query = query.group_by(*keys).order_by(*first, number.desc(), newest_id.desc())
        counted = query.limit(limit).subquery()
        rows = (
            select(counted, _c.state.label("state_of_newest"), _c.reason)
            .join(deliveries, _c.id == counted.c.newest_id)
            .order_by(counted.c.number.desc(), counted.c.newest_id.desc())
        )
        with self._database.reading() as connection:
            group_rows = connection.execute(rows).all()
        return _to_causes(group_rows)

    def _read_page(self, query: Select[Any], before: str | None) -> DeliveryPage:
        query = query.limit(PAGE_ROWS + 1)
        if before is not None:
            last = select(_before.c.id).where(_before.c.guid == before)
            query = query.where(_c.id < last.scalar_subquery())
        page_rows = self._read(query)
        rows = tuple(page_rows[:PAGE_ROWS])
        following = None
        if len(page_rows) > PAGE_ROWS:
            following = rows[-1].guid
        return DeliveryPage(rows, following)

    def _read(self, query: Select[Any]) -> list[DeliveryRow]:
        with self._database.reading() as connection:
            return [from_row(DeliveryRow, row) for row in connection.execute(query)]


def _to_causes(rows: Sequence[Row[Any]]) -> Causes:
    if not rows:
        return Causes((), 0, 0)
    groups = tuple(
        CauseGroup(
            row.state_of_newest,
            row.cause or NO_CAUSE,
            bool(row._mapping.get("is_open")),
            row.reason or "",
            row.number,
            from_ms(row.first_due_at),
        )
        for row in rows
    )
    total = sum(group.number for group in groups)
    return Causes(groups, rows[0].all_groups - len(rows), int(rows[0].all_deliveries) - total)


def _count(kind: str, state: ColumnElement[str]) -> Select[Any]:
    columns: tuple[Any, ...] = (literal_column(f"'{kind}'"), state, func.count())
    return select(*columns).select_from(deliveries)


def _filter(query: Select[Any], search: DeliverySearch) -> Select[Any]:
    """Add the filters, except `before`."""
    if not search.guids and not search.text.startswith(BATCHED):
        query = query.where(_c.batch_id.is_(None))
    if search.state == "discarded":
        query = query.where(_c.state == literal("dead"), _c.discarded_at > literal_column("0"))
    elif search.state == "dead":
        query = query.where(_c.state == literal("dead"), _c.discarded_at.is_(None))
    elif search.state is not None:
        query = query.where(_c.state == literal(search.state))
    if search.cause == NO_CAUSE:
        query = query.where(_c.cause.is_(None))
    elif search.cause is not None:
        query = query.where(_c.cause == search.cause)
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
    if search.retried_ms is not None:
        query = query.where(_c.queued_at == search.retried_ms)
    if search.guids:
        query = query.where(_c.guid.in_(search.guids))
    if search.text:
        query = query.where(_has_text(search.text))
    return query


def _has_text(text: str) -> ColumnElement[bool]:
    condition = _c.reason.icontains(text, autoescape=True) | _c.title.icontains(
        text, autoescape=True
    )
    if (named := NAMES.fullmatch(text)) is not None:
        names = [] if named[1] is None else [func.lower(_c.repository) == named[1].lower()]
        numbers = [] if named[2] is None else [_c.number == int(named[2])]
        return condition | and_(*names, *numbers)
    if not ID.fullmatch(text):
        return condition
    ids = (
        column.between(text, text + LAST_ID) & column.startswith(text, autoescape=True)
        for column in IDS
    )
    return or_(condition, *ids)
