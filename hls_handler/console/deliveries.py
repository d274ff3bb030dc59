"""The pages about deliveries: the list, and one delivery with all that is known about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import (
    ReasonGroup,
    find_github_page,
    group_reasons,
    list_address,
    require_delivery,
    to_query,
)
from hls_handler.console.frame import Form, Frame
from hls_handler.console.log import show_line
from hls_handler.console.queries import DeliveriesQuery, RetryQuery
from hls_handler.deliveries import OPEN_STATES, State
from hls_handler.log_ring import LogRing
from hls_handler.queue.pauses import Pause, describe_pause, find_pause
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.reports.retry import RETRIED, retry_delivery, retry_matching
from hls_handler.reports.timeline import Step
from hls_handler.storage import Storage
from hls_handler.store.search import NAMES, DeliverySearch
from hls_handler.store.statistics import DeliveryRow
from hls_handler.untrusted.cleaning import truncate

MAX_JSON_CHARACTERS = 100_000
MAX_LOG_LINES = 200
FOLLOW = "follow=true"  # of a list that reloads while a delivery in it waits or runs
STEP_TITLES = {"route": "Route", "gather": "Read from GitHub", "ask": "Ask Claude", "post": "Post"}


class DeliveryPages:
    def __init__(self, frame: Frame, store: Storage, log_ring: LogRing) -> None:
        self._frame = frame
        self._store = store
        self._log_ring = log_ring

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries", self._list),
            self._frame.form("/deliveries/retry", self._retry_all),
            self._frame.page("/deliveries/{guid}", self._show),
            self._frame.form("/deliveries/{guid}/retry", self._retry),
        ]

    def _list(self, request: Request) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        follows = given.pop("follow", None) is not None
        search = DeliveriesQuery.parse(given).search()
        if given.keys() == {"text"}:  # from the search box
            row = self._store.deliveries.find(search.text)
            if row is not None and row.guid == search.text:
                return RedirectResponse(f"/deliveries/{row.guid}", 303)
        return self._list_page(request, search, given, follows=follows)

    def _list_page(
        self,
        request: Request,
        search: DeliverySearch,
        given: Mapping[str, str],
        *,
        follows: bool = False,
        said: str = "",
        status: int = 200,
    ) -> Response:
        store = self._store
        found = store.searches.find(search)
        pauses = store.pauses.active()
        reasons: Sequence[tuple[str, int, datetime]] = []
        if search.state in RETRIED:
            reasons = store.searches.count_reasons(search)
        filters = {name: value for name, value in given.items() if name not in ("before", "text")}
        named = NAMES.fullmatch(search.text)
        groups: Sequence[ReasonGroup] = ()
        if search.state == "dead" and not search.text:
            groups = group_reasons(reasons, filters)
        query = to_query(given, before=None)
        first_query = None
        if search.before:
            first_query = query
        next_query = None
        if found.next is not None:
            next_query = to_query(given, before=found.next)
        repository = search.repository
        if repository is None and named is not None:
            repository = named[1]
        return self._frame.render(
            request,
            "deliveries.html",
            status=status,
            rows=[(row, _describe_wait(row, pauses)) for row in found.rows],
            search=search,
            given=given,
            states=get_args(State),
            now=store.now(),
            groups=groups,
            # deliveries that a retry of the filter would run
            matching=sum(number for _, number, _ in reasons),
            repository=repository,
            said=said,
            follows=follows,
            follow=FOLLOW,
            number_open=sum(row.state in OPEN_STATES for row in found.rows),
            query=query,
            next_query=next_query,
            first_query=first_query,
        )

    def _retry_all(self, request: Request, form: Form) -> Response:
        given = {name: value for name, value in request.query_params.items() if value}
        query = RetryQuery.parse({**given, "number": form.get("number", "")})
        search = query.search()
        by = self._frame.person(request)
        result = retry_matching(
            self._store, search, self._frame.settings, number=query.number, by=by
        )
        if result.received is not None and not result.refused:
            first, last = result.received
            kept = {
                name: value
                for name, value in given.items()
                if name in ("repository", "event", "sender")
            }
            listed = list_address(kept, since=first, until=last + timedelta(minutes=1))
            return RedirectResponse(f"{listed}&{FOLLOW}", 303)
        status = 200 if result.queued is not None else 409
        return self._list_page(request, search, given, said=f"{result.sentence}.", status=status)

    def _show(self, request: Request) -> Response:
        return self._page(request, require_delivery(self._store, request))

    def _page(
        self, request: Request, row: DeliveryRow, *, said: str = "", status: int = 200
    ) -> Response:
        report = load_report(self._store, row)
        _, *sentences = format_report(report)  # the first one names the delivery
        log_lines = self._log_ring.find(delivery=row.guid, limit=MAX_LOG_LINES)
        return self._frame.render(
            request,
            "delivery.html",
            status=status,
            row=row,
            report=report,
            github_page=find_github_page(row, self._frame.settings.github.base_url),
            sentences=[sentence.strip() for sentence in sentences],
            steps=[(step, _title(step)) for step in report.steps],
            replies=[
                (answered.prompt_id, _format_json(answered.fields.model_dump(mode="json")))
                for answered in report.answers
            ],
            facts=None if report.facts is None else _format_json(json.loads(report.facts)),
            log_lines=[show_line(line) for line in reversed(log_lines)],
            log_begins_at=self._log_ring.begins_at(),
            said=said,
            can_retry=row.state in ("dead", "queued")
            or (row.state == "ignored" and self._store.deliveries.body(row.guid) is not None),
            is_open=row.state in OPEN_STATES,
        )

    def _retry(self, request: Request, _form: Form) -> Response:
        row = require_delivery(self._store, request)
        result = retry_delivery(
            self._store, row, self._frame.settings, by=self._frame.person(request)
        )
        if result.is_queued:
            return RedirectResponse(f"/deliveries/{row.guid}", 303)
        row = require_delivery(self._store, request)  # its state may have changed meanwhile
        return self._page(request, row, said=f"{result.sentence}.", status=409)


class Wait(NamedTuple):
    reason: str  # begins with what differs between deliveries, because a row has little room
    whole: str
    next_attempt_at: datetime | None  # None: the delivery is not queued, or a pause blocks it


def _describe_wait(row: DeliveryRow, pauses: Sequence[Pause]) -> Wait:
    if row.state != "queued":
        return Wait(row.reason or "", row.reason or "", None)
    pause = find_pause(row.repository, pauses)
    if pause is not None:
        reason = "paused"
        if pause.reason:
            reason = f"paused: {pause.reason}"
        return Wait(reason, describe_pause(pause), None)
    reason = row.reason or "waits for a worker"
    return Wait(reason, reason, row.due_at)


def _title(step: Step) -> str:
    name, _, rest = step.name.partition(" ")
    return f"{STEP_TITLES.get(name, name)} {rest}".rstrip()


def _format_json(value: object) -> str:
    """Return JSON for reading. Each line of a text is marked, so that it cannot imitate a key."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    lines = re.sub(r"\\(.)", lambda escape: "\n    | " if escape[1] == "n" else escape[0], text)
    return truncate(lines, MAX_JSON_CHARACTERS)
