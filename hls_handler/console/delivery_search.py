"""The filters of the list of deliveries, and how a delivery is named there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

from hls_handler.deliveries import State
from hls_handler.reports.retry import RETRIED
from hls_handler.settings.values import web_url
from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch
from hls_handler.store.statistics import DeliveryRow

STATES: tuple[State, ...] = get_args(State)
MAX_FILTER_CHARACTERS = 200
_CONVERSATION = re.compile(
    r"(?:https?://[^/\s]+/)?([\w.-]+/[\w.-]+)(?:/(?:issues|pull)/|\s*#\s*)(\d+)(?:[/?#]\S*)?", re.ASCII
)
"""Matches the address of an issue or a pull request, and "owner/repo #7"."""


MAX_REASONS = 5
_VARYING = re.compile(r"\d\d:\d\d(:\d\d)?|#\d+|\breq_\w+")
"""Matches parts of a reason that differ in each delivery: a time of the day, a number on GitHub, an id of a request."""


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Deliveries that wait, or failed, for the same cause."""

    address: str  # of the list of them
    reason: str  # of the first one; those of the others may name another time
    number: int
    first_due_at: datetime


class InvalidFilter(HTTPException):
    """A filter in the address has an invalid value. `detail` is a sentence for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


def read_filters(query: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """Return the filters that have a value. Raises `InvalidFilter` for a filter that is not `known`, or too long."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidFilter(f"there is no filter {unknown[0]!r}; expected one of {', '.join(known)}")
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    for name, value in given.items():
        if "\0" in value:
            raise InvalidFilter(f"{name}: contains the character NUL")
        if len(value) > MAX_FILTER_CHARACTERS:
            raise InvalidFilter(f"{name}: found {len(value)} characters, expected at most {MAX_FILTER_CHARACTERS}")
    return given


def parse_search(query: Mapping[str, str]) -> DeliverySearch:
    """Return the search of an address such as `/deliveries?state=dead`. Raises `InvalidFilter`."""
    known = ("state", "repository", "event", "sender", "text", "since", "until", "before")
    given = read_filters(query, known)
    state = given.get("state")
    if state is not None and state not in STATES:
        raise InvalidFilter(f"state: found {state!r}, expected one of {', '.join(STATES)}")
    return DeliverySearch(
        state=next((one for one in STATES if one == state), None),
        repository=given.get("repository"),
        event=given.get("event"),
        sender=given.get("sender"),
        text=_CONVERSATION.sub(r"\1#\2", given.get("text", "")),
        since=parse_time("since", given.get("since")),
        until=parse_time("until", given.get("until")),
        before=given.get("before"),
    )


def parse_retried(query: Mapping[str, str]) -> DeliverySearch:
    """Return the search for deliveries to run again, by default dead ones. Raises `InvalidFilter`."""
    search = parse_search({"state": "dead", **{name: value for name, value in query.items() if value}})
    if search.state not in RETRIED:
        raise InvalidFilter(f"state: found {search.state!r}, expected one of {', '.join(RETRIED)}")
    return search


def parse_time(name: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidFilter(f"{name}: found {given!r}, expected a time in UTC such as 2026-11-23T12:00") from None


def to_query(given: Mapping[str, str], *, before: str | None) -> str:
    """Return the query of the address with the given filters and another page: "state=dead&before=GUID"."""
    filters = {name: value for name, value in given.items() if value and name != "before"}
    return urlencode(filters | ({"before": before} if before else {}))


def list_address(filters: Mapping[str, str], *, since: datetime | None = None, until: datetime | None = None) -> str:
    """Return the address of the list of deliveries with these filters: "/deliveries?state=dead"."""
    times = {"since": since, "until": until}
    given = {name: f"{moment:%Y-%m-%dT%H:%M}" for name, moment in times.items() if moment is not None}
    return f"/deliveries?{urlencode({**filters, **given})}"


def group_reasons(reasons: Iterable[tuple[str, int, datetime]], filters: Mapping[str, str]) -> tuple[ReasonGroup, ...]:
    """Return the most frequent reasons. `reasons` are (reason, number, first time due) of deliveries with `filters`.

    Reasons that differ only in a time of the day, a number on GitHub or an id of a request are one.
    """
    groups: dict[str, list[tuple[str, int, datetime]]] = {}
    for one in reasons:
        groups.setdefault(_VARYING.sub("", one[0]), []).append(one)
    found = [
        ReasonGroup(
            list_address({**filters, "text": _VARYING.split(group[0][0])[0].strip()[:MAX_FILTER_CHARACTERS]}),
            group[0][0],
            sum(number for _, number, _ in group),
            min(due_at for _, _, due_at in group),
        )
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda group: -group.number)[:MAX_REASONS])


def require_delivery(store: Storage, request: Request) -> DeliveryRow:
    """Return the delivery whose GUID, unique prefix of it, or request id is in the path. Raises `HTTPException`."""
    guid = request.path_params["guid"]
    row = store.deliveries.find(guid)
    if row is None:
        raise HTTPException(404, f"there is no delivery {guid}, or it was deleted")
    return row


def find_github_page(row: DeliveryRow, base_url: str) -> str | None:
    """Return the address of the issue or pull request, else of the repository. `base_url` is that of GitHub's API."""
    if row.repository is None:
        return None
    path = quote(row.repository) + (f"/issues/{row.number}" if row.number is not None else "")
    return f"{web_url(base_url)}/{path}"  # GitHub redirects to /pull/ if it is a pull request
