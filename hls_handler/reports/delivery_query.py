"""The query language of deliveries, which the console, the API and the commands share:
`is:dead repo:acme/widgets event:issues.opened since:1d`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast, get_args

from hls_handler.deliveries import ListedState
from hls_handler.errors import InvalidQuery
from hls_handler.events import REPOSITORY_NAME
from hls_handler.store.search import DeliverySearch

GROUPED: tuple[ListedState, ...] = ("queued", "dead", "discarded")
"""States whose deliveries are grouped by cause."""
WAITING = "waiting"
"""The word for the state "queued"."""
STATES = tuple(WAITING if state == "queued" else state for state in get_args(ListedState))
TEXT = "text"
"""Key of the words without a filter: they are searched for as they are."""

WORDS: Mapping[str, str] = {
    "is": r"\w+",
    "repo": REPOSITORY_NAME.pattern,
    "event": r"\w+(\.\w+)?",
    "sender": r"\S+",
    "since": r"\S+",
    "until": r"\S+",
    "cause": r"[0-9a-f]{8}",
    "retried": r"\d{1,18}",
}
"""Name of a filter -> pattern of its values."""

EXPECTED: Mapping[str, str] = {
    "is": f"one of {', '.join(STATES)}",
    "repo": "owner/repo",
    "event": "an event, with or without its action, such as issues.opened",
    "sender": "a login",
    "since": "an age such as 7d, 24h or 30m, or a time in UTC such as 2026-11-23T12:00",
    "until": "an age such as 7d, 24h or 30m, or a time in UTC such as 2026-11-23T12:00",
    "cause": "the 8 digits that the list of dead or waiting deliveries has",
    "retried": "the number that a retry of several deliveries named",
}

SHORTHANDS: Mapping[str, str] = {"state": "is", "repository": "repo"}
"""Options and parameters whose words have other names."""

_TOKEN = re.compile(r'"[^"]*"|[a-z]+:"[^"]*"|\S+')
_FILTER = re.compile(r"([a-z]+):(?!//)(.*)")
_CONVERSATION = re.compile(
    r"(?:https?://[^/\s]+/)?([\w.-]+/[\w.-]+)(?:/(?:issues|pull)/|\s*#\s*)(\d+)(?:[/?#]\S*)?",
    re.ASCII,
)
"""Matches the address of an issue or a pull request, and "owner/repo #7"."""
AGE = re.compile(r"([0-9]{1,5})([dhms])")
UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_query(query: str) -> dict[str, str]:
    """Return the words of a query by the name of their filter. Raises `InvalidQuery`.

    `is:dead repo:acme/widgets the key` is {"is": "dead", "repo": "acme/widgets",
    "text": "the key"}.
    """
    words: dict[str, str] = {}
    texts = []
    for token in _TOKEN.findall(query):
        match = _FILTER.fullmatch(token)
        if match is None:
            texts.append(strip_quotes(token))
            continue
        name = match[1]
        value = match[2].strip('"')
        if name not in WORDS:
            filters = ", ".join(f"{word}:" for word in WORDS)
            raise InvalidQuery(
                f'there is no filter {name}:, expected one of {filters}; write "{token}" in quotes'
                " to search for the text"
            )
        if name in words:
            raise InvalidQuery(f"{token}: {name}: is given twice")
        if not re.fullmatch(WORDS[name], value):
            raise InvalidQuery(f"{token}: expected {EXPECTED[name]}")
        words[name] = value
    text = " ".join(texts).strip()
    if text:
        words[TEXT] = text
    return words


def parse_shorthands(query: str, shorthands: Mapping[str, object]) -> dict[str, str]:
    """Return the words of a query, in which the options of a command or the parameters of an
    address take the places of the words for the same. Raises `InvalidQuery`.
    """
    words = parse_query(query)
    for name, value in shorthands.items():
        if isinstance(value, datetime):
            value = value.replace(tzinfo=None).isoformat()
        if name == TEXT and value is not None:
            # as in the links and forms of the list, which have the text in a query
            value = strip_quotes(str(value)).strip()
        if value is not None:
            words[SHORTHANDS.get(name, name)] = str(value)
    return words


def format_query(words: Mapping[str, str]) -> str:
    """Return the query with these words, which `parse_query` reads as the same words.

    The text is in quotes, so that its spaces stay and no part of it is a filter.
    """
    parts = [f"{name}:{words[name]}" for name in WORDS if name in words]
    text = strip_quotes(words.get(TEXT, ""))
    if text:
        parts.append(f'"{text}"')
    return " ".join(parts)


def strip_quotes(text: str) -> str:
    """Return the text without double quotes, which the query language cannot search for."""
    return text.replace('"', "")


def make_search(words: Mapping[str, str], now: datetime) -> DeliverySearch:
    """Return the search for these words. Raises `InvalidQuery`. Ages are counted back from
    `now`.
    """
    state = _parse_state(words.get("is"))
    if "cause" in words and state not in GROUPED:
        # others have none, or that of an earlier failure
        raise InvalidQuery(
            f"cause:{words['cause']}: causes are only of waiting, dead and discarded deliveries;"
            " add is:waiting, is:dead or is:discarded"
        )
    retried = None
    if "retried" in words:
        retried = int(words["retried"])
    return DeliverySearch(
        state=state,
        repository=words.get("repo"),
        event=words.get("event"),
        sender=words.get("sender"),
        text=_CONVERSATION.sub(r"\1#\2", words.get(TEXT, "")),
        since=_parse_time("since", words, now),
        until=_parse_time("until", words, now),
        cause=words.get("cause"),
        retried_ms=retried,
    )


def find_age(text: str) -> timedelta | None:
    """Parse "7d", "24h", "30m" or "90s". Return None for any other text."""
    match = AGE.fullmatch(text)
    if match is None:
        return None
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def parse_time(text: str, now: datetime) -> datetime:
    """Parse "7d", or a time as `parse_moment`. Raises `ValueError` or `OverflowError`."""
    age = find_age(text)
    if age is not None:
        return now - age
    return parse_moment(text)


def parse_moment(text: str) -> datetime:
    """Parse "2026-11-23T12:00". A time without an offset is UTC. Raises `ValueError` or
    `OverflowError`.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _parse_state(state: str | None) -> ListedState | None:
    if state == WAITING:
        return "queued"
    if state is None or state in get_args(ListedState):
        return cast(ListedState | None, state)
    raise InvalidQuery(f"is:{state}: expected {EXPECTED['is']}")


def _parse_time(name: str, words: Mapping[str, str], now: datetime) -> datetime | None:
    text = words.get(name)
    if text is None:
        return None
    try:
        return parse_time(text, now)
    except (ValueError, OverflowError):
        raise InvalidQuery(f"{name}:{text}: expected {EXPECTED[name]}") from None
