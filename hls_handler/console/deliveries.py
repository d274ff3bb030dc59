"""The pages about deliveries: the list, and one delivery with all that is known about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.frame import Form, Pages
from hls_handler.console.queries import (
    MAX_FILTER_CHARACTERS,
    DeliveriesQuery,
    InvalidFilter,
    RetryQuery,
    find_github_page,
    find_list,
    find_search,
    require_delivery,
)
from hls_handler.deliveries import OPEN_STATES, ListedState
from hls_handler.reports.delivery_list import (
    ListedDelivery,
    explain_deliveries,
    list_deliveries,
)
from hls_handler.reports.delivery_query import GROUPED, TEXT, format_query
from hls_handler.reports.delivery_report import load_facts, load_report
from hls_handler.reports.retry import (
    MAX_RESULTS,
    FilterResult,
    describe_results,
    discard_matching,
    retry_delivery,
    retry_matching,
)
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
from hls_handler.wording import count, is_or_are

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
    total = sum(counts.in_span.values())
    tabs = []
    for title, state in TABS.items():
        number = counts.in_span.get(state or "", 0)
        if state in OF_ALL:
            number = counts.overall[state]
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
        results = store.searches.count_results(search, limit=MAX_RESULTS)
    causes = Causes((), 0, 0)
    following = None
    if search.state in GROUPED and search.cause is None and before is None:
        causes = store.searches.count_causes(search, limit=MAX_GROUPS)
        rows: Sequence[DeliveryRow] = store.searches.find_newest(
            search, causes.groups, limit=ROWS_OF_GROUP
        )
    else:
        if search.cause is not None:
            causes = store.searches.count_causes(search, limit=1)
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


CHOSEN = "chosen:"  # beginning of the field of a delivery in the list; the rest is its GUID


@dataclass(frozen=True, slots=True)
class ListChange:
    """A change of deliveries in a list."""

    words: Mapping[str, str]  # of the list
    search: DeliverySearch  # for the deliveries
    number: int  # how many were shown

    @property
    def words_of_list(self) -> Mapping[str, str]:
        """The words of the list that is shown after the change: without the cause."""
        return {name: value for name, value in self.words.items() if name != "cause"}


class DeliveryPages(Pages):
    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries", self._list),
            self._frame.form("/deliveries/retry", self._retry_all),
            self._frame.form("/deliveries/discard", self._discard_all),
            self._frame.page("/deliveries/count", self._count_dead),
            self._frame.page("/deliveries/{guid}", self._show),
            self._frame.form("/deliveries/{guid}/retry", self._retry),
        ]

    def _list(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value.strip()}
        follows = given.pop("follow", None) is not None
        discarded = given.pop("discarded", "")
        try:
            query = DeliveriesQuery.parse(given)
            words = query.words()
            if given.keys() == {"text"}:  # from the search box
                row = self._store.deliveries.find(words[TEXT])
                if row is not None and row.guid == words[TEXT]:
                    return RedirectResponse(f"/deliveries/{row.guid}", 303)
            said = ""
            if re.fullmatch("[0-9]{1,9}", discarded):
                number = int(discarded)
                said = f"{count(number, 'delivery')} {is_or_are(number)} discarded."
            return self._list_page(request, words, before=query.before, follows=follows, said=said)
        except InvalidFilter as exc:
            problem = f"{exc.detail}."
        return self._frame.render(
            request,
            "deliveries.html",
            status=400,
            tabs=(),
            query=given.get("q", ""),
            problem=problem,
            listed=None,
        )

    def _list_page(
        self,
        request: Request,
        words: Mapping[str, str],
        *,
        before: str | None = None,
        follows: bool = False,
        said: str = "",
        status: int = 200,
    ) -> Response:
        search = find_search(words, self._store.now())
        listed = read_list(self._store, words, search, before=before)
        query = format_query(words)
        followed = ""
        if follows and listed.is_open:
            followed = f"{find_list(q=query)}&{FOLLOW}"
        return self._frame.render(
            request,
            "deliveries.html",
            status=status,
            tabs=list_tabs(self._store, words, search),
            query=query,
            problem="",
            said=said,
            listed=listed,
            now=listed.now,
            followed=followed,
            first_page=find_list(q=query) if before else "",
            next_page=find_list(q=query, before=listed.next) if listed.next else "",
        )

    def _count_dead(self, _request: Request) -> Response:
        """Show the number of dead deliveries, which the navigation of each page reads."""
        number = self._store.searches.count(DeliverySearch(state="dead"))
        if number == 0:
            return HTMLResponse("")
        return HTMLResponse(f'<span class="counter">{number:,} dead</span>')

    def _retry_all(self, request: Request, form: Form) -> Response:
        change = self._parse_change(request, form)
        result = retry_matching(
            self._store,
            change.search,
            self._frame.settings,
            number=change.number,
            by=self._frame.person(request),
        )
        if result.query is not None and not result.refused:
            return RedirectResponse(f"{find_list(q=result.query)}&{FOLLOW}", 303)
        return self._show_change(request, change, result)

    def _discard_all(self, request: Request, form: Form) -> Response:
        reason = form.get("reason", "").strip()[:MAX_FILTER_CHARACTERS]
        if not reason:
            raise HTTPException(400, "say why the deliveries are discarded, for the log")
        change = self._parse_change(request, form)
        result = discard_matching(
            self._store,
            change.search,
            number=change.number,
            by=self._frame.person(request),
            reason=reason,
        )
        if result.changed and not result.refused:
            query = format_query(change.words_of_list)
            return RedirectResponse(f"{find_list(q=query)}&discarded={result.changed}", 303)
        return self._show_change(request, change, result)

    def _parse_change(self, request: Request, form: Form) -> ListChange:
        """Return the deliveries that were chosen in the list, else those of the filter."""
        given = {name: value for name, value in request.query_params.items() if value}
        chosen = [name.removeprefix(CHOSEN) for name in form if name.startswith(CHOSEN)]
        if chosen:
            words = DeliveriesQuery.parse(given).words()
            return ListChange(words, DeliverySearch(guids=chosen), len(chosen))
        query = RetryQuery.parse({**given, "number": form.get("number", "")})
        return ListChange(query.words(), query.search(self._store.now()), query.number)

    def _show_change(self, request: Request, change: ListChange, result: FilterResult) -> Response:
        status = 200
        if result.changed is None:
            status = 409
        words = change.words_of_list
        return self._list_page(request, words, said=f"{result.sentence}.", status=status)

    def _show(self, request: Request) -> Response:
        return self._page(request, require_delivery(self._store, request))

    def _page(
        self, request: Request, row: DeliveryRow, *, said: str = "", status: int = 200
    ) -> Response:
        facts = load_facts(self._store, row.guid)
        return self._frame.render(
            request,
            "delivery.html",
            status=status,
            report=load_report(self._store, row),
            group=self._find_group(row),
            github_page=find_github_page(row, self._frame.settings.github.base_url),
            facts=None if facts is None else json.loads(facts),
            said=said,
            can_retry=row.state in ("dead", "queued")
            or (row.state == "ignored" and self._store.deliveries.body(row.guid) is not None),
            is_open=row.state in OPEN_STATES,
        )

    def _find_group(self, row: DeliveryRow) -> CauseGroup | None:
        """Return the deliveries that wait, or are dead, for the same cause."""
        if row.listed_state not in ("dead", "queued") or row.cause is None:
            return None
        search = DeliverySearch(state=row.state, cause=row.cause)
        return next(iter(self._store.searches.count_causes(search, limit=1).groups), None)

    def _retry(self, request: Request, _form: Form) -> Response:
        row = require_delivery(self._store, request)
        result = retry_delivery(
            self._store, row, self._frame.settings, by=self._frame.person(request)
        )
        if result.is_queued:
            return RedirectResponse(f"/deliveries/{row.guid}", 303)
        row = require_delivery(self._store, request)  # its state may have changed meanwhile
        return self._page(request, row, said=f"{result.sentence}.", status=409)
