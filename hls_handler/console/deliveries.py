"""The pages about deliveries: the list, and one delivery with all that is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args
from urllib.parse import urlencode

from hls_handler.deliveries import State
from hls_handler.events import event_key
from hls_handler.history.search import DeliverySearch
from hls_handler.history.statistics import DeliveryRow

STATES: tuple[State, ...] = get_args(State)
MAX_FILTER_CHARACTERS = 200


class InvalidFilter(ValueError):
    """A filter in the address has an invalid value. The message is a sentence for the operator."""


def parse_search(query: Mapping[str, str]) -> DeliverySearch:
    """Return the search of an address such as `/deliveries?state=dead`. Raises `InvalidFilter`."""
    known = ("state", "repository", "event", "text", "since", "until", "before")
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidFilter(f"there is no filter {unknown[0]!r}; expected one of {', '.join(known)}")
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    for name, value in given.items():
        if len(value) > MAX_FILTER_CHARACTERS:
            raise InvalidFilter(f"{name}: found {len(value)} characters, expected at most {MAX_FILTER_CHARACTERS}")
    state = given.get("state")
    if state is not None and state not in STATES:
        raise InvalidFilter(f"state: found {state!r}, expected one of {', '.join(STATES)}")
    return DeliverySearch(
        state=next((one for one in STATES if one == state), None),
        repository=given.get("repository"),
        event=given.get("event"),
        text=given.get("text", ""),
        since=_parse_time("since", given.get("since")),
        until=_parse_time("until", given.get("until")),
        before=given.get("before"),
    )


def _parse_time(name: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise InvalidFilter(f"{name}: found {given!r}, expected a time in UTC such as 2026-11-23T12:00") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def to_query(search: DeliverySearch, *, before: str | None) -> str:
    """Return the query of the address with this search and page: "state=dead&before=GUID"."""
    search = replace(search, before=before)
    values = {
        "state": search.state,
        "repository": search.repository,
        "event": search.event,
        "text": search.text,
        "since": _time_to_text(search.since),
        "until": _time_to_text(search.until),
        "before": search.before,
    }
    return urlencode({name: value for name, value in values.items() if value})


def _time_to_text(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M}"


def describe_event(row: DeliveryRow) -> str:
    return event_key(row.event, row.action)


def describe_conversation(row: DeliveryRow) -> str:
    return f"{row.repository or ''}#{row.number}" if row.number is not None else row.repository or ""
