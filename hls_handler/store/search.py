"""Searches deliveries, page by page, and groups them by cause."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from hls_handler.db.database import Database
from hls_handler.db.tables import audit, calls, checkpoints, deliveries
from hls_handler.db.values import from_ms, from_row, literal, to_ms
from hls_handler.deliveries import FIRST_SHADOW_STEP, OPEN_STATES, ListedState, State
from hls_handler.queue.pauses import is_paused
from hls_handler.queue.rate_limiter import SLOT_WAIT
from hls_handler.store.statistics import DELIVERY_COLUMNS, LAST_ID, DeliveryRow

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
_reason = func.coalesce(_c.reason, "")
_earliest = deliveries.alias("earliest")
_NAMES_ONE_DELIVERY = re.compile(r"[\d@]")
"""Matches words of a reason that say nothing about its cause: numbers, times, hashes, and ids."""


@dataclass(frozen=True, slots=True)
class DeliverySearch:
    """The filters of a search; None, or "" for `text`, matches every delivery."""

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
    cause: str | None = None  # `find_cause` of the reason
    retried: tuple[int, int] | None = None  # ids of the first and the last retry in the audit
    guids: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """The deliveries in a state, for a reason."""

    state: State
    reason: str  # "" without one
    is_later: bool  # they wait until a later time
    number: int
    first_due_at: datetime
    newest_id: int = field(default=0, compare=False)  # of the deliveries

    @property
    def is_open(self) -> bool:
        """True if they run, are due, or wait only for their turn."""
        is_next = not self.is_later or self.reason.startswith(SLOT_WAIT)
        return self.state in OPEN_STATES and is_next


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """Deliveries that wait, or failed, for the same cause."""

    cause: str  # "3f9c2a1b"
    state: State
    reason: str  # of the first one; those of the others may name another time
    reasons: tuple[str, ...]  # that of the newest delivery first
    number: int
    first_due_at: datetime

    @property
    def query(self) -> str:
        """The query for these deliveries, in the words of `reports.delivery_query`."""
        state: str = self.state
        if state == "queued":
            state = "waiting"
        return f"is:{state} cause:{self.cause}"


@dataclass(frozen=True, slots=True)
class Effort:
    processing_s: float | None  # of the measured steps and calls; None if there are none
    cost_usd: float | None  # of the calls whose cost is known


@dataclass(frozen=True, slots=True)
class StateCounts:
    """Numbers of deliveries by state."""

    of_all: Mapping[str, int]  # "queued", "running", "dead" and "discarded"
    of_span: Mapping[str, int]  # all states, of the deliveries received in a span


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

        Only one page of them is in memory. Between pages, no transaction is open. The reasons of a
        cause are read once.
        """
        query = self._select_rows(search)
        page = self._read_page(query, None)
        yield from page.rows
        while page.next is not None:
            page = self._read_page(query, page.next)
            yield from page.rows

    def find_newest(
        self, search: DeliverySearch, groups: Sequence[CauseGroup], *, most: int
    ) -> list[DeliveryRow]:
        """Return the newest deliveries of each group, newest first, at most `most` of each.

        They have the first `most` reasons: a group may have as many reasons as deliveries.
        """
        newest = []
        for group in groups:
            query = _filter(self._database, select(_c.id), search)
            query = (
                query.where(_reason.in_(group.reasons[:most])).order_by(_c.id.desc()).limit(most)
            )
            newest.append(select(query.subquery().c.id))
        if not newest:
            return []
        is_newest = _c.id.in_(union_all(*newest))
        return self._read(select(*DELIVERY_COLUMNS).where(is_newest).order_by(_c.id.desc()))

    def count_reasons(
        self, search: DeliverySearch, *, is_waiting: bool = False
    ) -> list[ReasonCount]:
        """Return the numbers of the matching deliveries by state and reason, those that are due
        first at the beginning.

        With `is_waiting`, only of those that wait until a later time and are not paused. `before`
        and `cause` are ignored. Reads all deliveries in the state; only those of "queued" and
        "dead" have an index.
        """
        first_due_at = func.min(_c.due_at)
        is_later = and_(_c.state == literal("queued"), _c.due_at > self._database.now)
        columns = (_c.state, _reason, is_later)
        counted = (func.count(), first_due_at, func.max(_c.id))
        query = _filter(self._database, select(*columns, *counted), search)
        query = query.group_by(*columns).order_by(first_due_at, _reason)
        if is_waiting:
            query = query.where(is_later, _c.reason.is_not(None), ~is_paused(deliveries))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            ReasonCount(state, reason, bool(later), number, from_ms(due_ms), newest_id)
            for state, reason, later, number, due_ms, newest_id in rows
        ]

    def count(self, search: DeliverySearch) -> int:
        """Return the number of matching deliveries, as `count_reasons`."""
        found = self.count_reasons(search)
        return sum(one.number for one in found if search.cause in (None, find_cause(one.reason)))

    def count_states(self, search: DeliverySearch, *, since: datetime | None) -> StateCounts:
        """Return the numbers of matching deliveries by state; `search.state` is ignored.

        Those of a span are of the deliveries received since `since`; without it, of the newest
        `MOST_COUNTED` and one more.
        """
        numbers = []
        for state in OF_ALL:
            query = _count("all", literal_column(f"'{state}'"))
            if state in _IS_INDEXED:
                query = query.where(_IS_INDEXED[state])
            numbers.append(_filter(self._database, query, replace(search, state=state)))
        in_span = replace(search, state=None, since=since)
        matching = _filter(self._database, select(_c.state), in_span)
        if since is None:
            matching = matching.order_by(_c.id.desc()).limit(MOST_COUNTED + 1)
        counted = matching.subquery()
        of_span = select(literal_column("'span'"), counted.c.state, func.count())
        numbers.append(of_span.group_by(counted.c.state))
        found: dict[str, dict[str, int]] = {"all": {}, "span": {}}
        with self._database.reading() as connection:
            for kind, state, number in connection.execute(union_all(*numbers)):
                found[kind][state] = number
        return StateCounts(found["all"], found["span"])

    def efforts(self, rows: Collection[DeliveryRow]) -> dict[str, Effort]:
        """Return what the processing of these deliveries took and cost, by GUID."""
        guids = [row.guid for row in rows]
        steps = (
            select(_c.guid, func.sum(checkpoints.c.duration_ms), literal_column("NULL"))
            .join(checkpoints, checkpoints.c.delivery_id == _c.id)
            .where(_c.guid.in_(guids), checkpoints.c.started_at.is_not(None))
            .group_by(_c.guid)
        )
        lasted = func.coalesce(calls.c.duration_ms, calls.c.finished_at - calls.c.started_at)
        own_lasted = func.sum(lasted).filter(calls.c.step_index < FIRST_SHADOW_STEP)
        asked = (
            select(_c.guid, own_lasted, func.sum(calls.c.cost_micro_usd))
            .join(calls, calls.c.delivery_id == _c.id)
            .where(_c.guid.in_(guids))
            .group_by(_c.guid)
        )
        found: dict[str, Effort] = {}
        with self._database.reading() as connection:
            for guid, took_ms, cost in connection.execute(union_all(steps, asked)):
                known = found.get(guid, Effort(None, None))
                if took_ms is not None:
                    took_s = (known.processing_s or 0.0) + int(took_ms) / 1000
                    known = replace(known, processing_s=took_s)
                if cost is not None:
                    known = replace(known, cost_usd=int(cost) / 1_000_000)
                found[guid] = known
        return found

    def _select_rows(self, search: DeliverySearch) -> Select[Any]:
        query = _filter(self._database, select(*DELIVERY_COLUMNS), search)
        if search.cause is not None:
            reasons = {one.reason for one in self.count_reasons(search)}
            of_cause = [reason for reason in reasons if find_cause(reason) == search.cause]
            query = query.where(_reason.in_(of_cause))
        return query.order_by(_c.id.desc())

    def _read_page(self, query: Select[Any], before: str | None) -> DeliveryPage:
        query = query.limit(PAGE_ROWS + 1)
        if before is not None:
            last = select(_before.c.id).where(_before.c.guid == before)
            query = query.where(_c.id < last.scalar_subquery())
        found = self._read(query)
        rows = tuple(found[:PAGE_ROWS])
        following = None
        if len(found) > PAGE_ROWS:
            following = rows[-1].guid
        return DeliveryPage(rows, following)

    def _read(self, query: Select[Any]) -> list[DeliveryRow]:
        with self._database.reading() as connection:
            return [from_row(DeliveryRow, row) for row in connection.execute(query)]


def find_cause(reason: str) -> str:
    """Return the key of a reason's cause: "3f9c2a1b".

    Reasons that differ only in words with a digit or an "@" have the same cause. Such a word is a
    number, a time, a commit, a prompt with its version, or an id.
    """
    return sha256(name_cause(reason).encode()).hexdigest()[:8]


def name_cause(reason: str) -> str:
    """Return the words of a reason that name its cause."""
    return " ".join(word for word in reason.split() if not _NAMES_ONE_DELIVERY.search(word))


def group_causes(reasons: Iterable[ReasonCount]) -> list[CauseGroup]:
    """Return the groups of deliveries with the same cause, the largest first."""
    found: dict[str, list[ReasonCount]] = {}
    for one in reasons:
        found.setdefault(find_cause(one.reason), []).append(one)
    groups = [
        CauseGroup(
            cause,
            group[0].state,
            group[0].reason,
            tuple(dict.fromkeys(one.reason for one in sorted(group, key=_newest_first))),
            sum(one.number for one in group),
            min(one.first_due_at for one in group),
        )
        for cause, group in found.items()
    ]
    return sorted(groups, key=lambda group: -group.number)


def _newest_first(one: ReasonCount) -> int:
    return -one.newest_id


def _count(kind: str, state: ColumnElement[str]) -> Select[Any]:
    columns: tuple[Any, ...] = (literal_column(f"'{kind}'"), state, func.count())
    return select(*columns).select_from(deliveries)


def _filter(database: Database, query: Select[Any], search: DeliverySearch) -> Select[Any]:
    """Add the filters, except `before` and `cause`."""
    if search.state == "discarded":
        query = query.where(_c.state == literal("dead"), _c.discarded_at > literal_column("0"))
    elif search.state == "dead":
        query = query.where(_c.state == literal("dead"), _c.discarded_at.is_(None))
    elif search.state is not None:
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
        since_ms = to_ms(search.since)
        # With `+ 0`, SQLite reads the index of times instead of the rows in the order of ids.
        first_id = func.min(_earliest.c.id + literal_column("0"))
        first = select(first_id).where(_earliest.c.received_at >= since_ms)
        # The first condition lets SQLite stop at the oldest row instead of reading all.
        query = query.where(_c.id >= first.scalar_subquery(), _c.received_at >= since_ms)
    if search.until is not None:
        query = query.where(_c.received_at < to_ms(search.until))
    if search.retried is not None:
        is_retry = and_(audit.c.action == "retry", audit.c.id.between(*search.retried))
        query = query.where(_c.guid.in_(select(audit.c.object).where(is_retry)))
    if search.guids:
        query = query.where(_c.guid.in_(search.guids))
    if search.text:
        query = query.where(_has_text(database, search.text))
    return query


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
