"""Contents of the list of deliveries: tabs of states, groups by cause, and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hls_handler.console.delivery_search import find_list
from hls_handler.deliveries import ListedState
from hls_handler.reports.delivery_list import (
    ListedDelivery,
    explain_deliveries,
    list_deliveries,
)
from hls_handler.reports.delivery_query import GROUPED, format_query
from hls_handler.reports.retry import MAX_RESULTS, describe_results
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.search import (
    MOST_COUNTED,
    NAMES,
    NO_CAUSE,
    OF_ALL,
    CauseGroup,
    Causes,
    DeliverySearch,
)
from hls_handler.store.storage import Storage

FOLLOW = "follow=true"  # of a list that reloads while a delivery in it waits or runs
SPAN = timedelta(days=7)
"""Span of the list, unless the query names a time or a text, or a state in `OF_ALL`."""
TABS: Mapping[str, ListedState | None] = {
    "All": None,
    "Waiting": "queued",
    "Running": "running",
    "Dead": "dead",
    "Done": "done",
    "Ignored": "ignored",
    "Superseded": "superseded",
    "Discarded": "discarded",
}
OF_TABS = ("repo", "event", "sender", "since", "until", "text")  # words that a tab keeps
MAX_GROUPS = 20
ROWS_OF_GROUP = 3
NOTHING: Mapping[str, str] = {"dead": "Nothing is dead", "queued": "Nothing waits"}


@dataclass(frozen=True, slots=True)
class Tab:
    title: str
    address: str
    number: int
    is_more: bool  # the number is only that of the newest deliveries
    is_current: bool


@dataclass(frozen=True, slots=True)
class CauseSection:
    """Rows with the same cause; without a group, all rows of a page."""

    group: CauseGroup | None
    query: str  # for the deliveries of the group
    rows: Sequence[ListedDelivery]
    explanations: Mapping[str, str]  # of the rows, by GUID; without the cause of the group


@dataclass(frozen=True, slots=True)
class DeliveryList:
    search: DeliverySearch
    now: datetime
    has_default_span: bool
    sections: Sequence[CauseSection]
    hidden_groups: int
    results: str  # of a retry
    is_open: bool  # a retried delivery runs or is due
    next: str | None  # `before` of the next page

    @property
    def can_change(self) -> bool:
        return any(row.can_change for section in self.sections for row in section.rows)

    @property
    def nothing(self) -> str:
        """The heading of an empty list."""
        if self.search == DeliverySearch(state=self.search.state, since=self.search.since):
            return NOTHING.get(self.search.state or "", "No delivery was received")
        return "No delivery matches"

    @property
    def repository(self) -> str | None:
        """The repository that the query names."""
        named = NAMES.fullmatch(self.search.text)
        if self.search.repository is None and named is not None:
            return named[1]
        return self.search.repository


def list_tabs(store: Storage, words: Mapping[str, str], search: DeliverySearch) -> Sequence[Tab]:
    """Return the tabs of all states, with the numbers of deliveries that match besides."""
    searched = replace(search, cause=None, retried_ms=None)
    since = search.since
    if not (search.since or search.until or search.text):
        since = store.now() - SPAN
    counts = store.searches.count_states(searched, since=since)
    common = {name: value for name, value in words.items() if name in OF_TABS}
    total = sum(counts.of_span.values())
    tabs = []
    for title, state in TABS.items():
        number = counts.of_span.get(state or "", 0)
        if state in OF_ALL:
            number = counts.of_all[state]
        elif state is None:
            number = total
        is_more = since is None and total > MOST_COUNTED and state not in OF_ALL
        if is_more:
            number = min(number, MOST_COUNTED)
        if state == "discarded" and not number and search.state != state:
            continue
        query = common
        if state is not None:
            query = {**common, "is": title.lower()}
        is_current = state == search.state and not search.retried_ms
        tabs.append(Tab(title, find_list(q=format_query(query)), number, is_more, is_current))
    return tabs


def read_list(
    store: Storage, words: Mapping[str, str], search: DeliverySearch, *, before: str | None
) -> DeliveryList:
    has_default_span = search == DeliverySearch(
        state=search.state,
        repository=search.repository,
        event=search.event,
        sender=search.sender,
    )
    if search.state in OF_ALL:
        has_default_span = False
    now = store.now()
    if has_default_span:
        search = replace(search, since=now - SPAN)
    results = Causes((), 0, 0)
    if search.retried_ms:
        results = store.searches.count_results(search, most=MAX_RESULTS)
    causes = Causes((), 0, 0)
    following = None
    if search.state in GROUPED and search.cause is None and before is None:
        causes = store.searches.count_causes(search, most=MAX_GROUPS)
        rows: Sequence[DeliveryRow] = store.searches.find_newest(
            search, causes.groups, most=ROWS_OF_GROUP
        )
    else:
        if search.cause is not None:
            causes = store.searches.count_causes(search, most=1)
        page = store.searches.find(replace(search, before=before))
        rows = page.rows
        following = page.next
    return DeliveryList(
        search=search,
        now=now,
        has_default_span=has_default_span,
        sections=_divide(store, words, causes.groups, rows),
        hidden_groups=causes.hidden_groups,
        results=describe_results(results),
        is_open=any(group.is_open for group in results.groups),
        next=following,
    )


def _divide(
    store: Storage,
    words: Mapping[str, str],
    groups: Sequence[CauseGroup],
    rows: Sequence[DeliveryRow],
) -> Sequence[CauseSection]:
    """Return a section for each group, or without groups one with all rows."""
    entries: dict[str | None, list[ListedDelivery]] = {}
    grouped = {group.cause for group in groups}
    for row, delivery in zip(rows, list_deliveries(store, rows), strict=True):
        cause: str | None = row.cause or NO_CAUSE
        if cause not in grouped:
            cause = None
        entries.setdefault(cause, []).append(delivery)
    now = store.now()
    sections = []
    for group in groups:
        query = format_query({**words, "cause": group.cause})
        members = entries.get(group.cause, [])
        explanations = explain_deliveries(members, now)
        if group.cause != NO_CAUSE:
            explanations = {
                member.delivery: member.pause or member.describe_wait(now) for member in members
            }
        sections.append(CauseSection(group, query, members, explanations))
    others = entries.get(None)
    if others:
        query = format_query(words)
        sections.append(CauseSection(None, query, others, explain_deliveries(others, now)))
    return sections
