"""Runs deliveries again for an operator, and discards dead ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args

from hls_handler.db.values import to_ms
from hls_handler.logs import Act, log_act
from hls_handler.queue.pauses import explain_pause, find_pause
from hls_handler.settings.model import Settings
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.search import CauseGroup, Causes, DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.wording import count, is_or_are

Retried = Literal["dead", "discarded", "queued", "ignored"]
"""States of deliveries that a filter can run again."""

RETRIED: tuple[Retried, ...] = get_args(Retried)

Track = Callable[[Sequence[DeliveryRow]], Iterable[DeliveryRow]]
"""Yields the rows that it gets, and may show how many are done."""

MAX_RESULTS = 20
"""Groups of retried deliveries that are named."""

FAILED_AGAIN = "failed again"
RESULTS: Mapping[str, Callable[[CauseGroup], bool]] = {
    FAILED_AGAIN: lambda group: (
        group.state == "dead" or (group.state == "queued" and not group.is_open)
    ),
    "to go": lambda group: group.is_open,
    "done": lambda group: group.state == "done",
    "ignored": lambda group: group.state == "ignored",
    "superseded": lambda group: group.state == "superseded",
}
"""Results of a retry."""


@dataclass(frozen=True, slots=True)
class Retry:
    is_queued: bool
    sentence: str  # without a full stop


def retry_delivery(store: Storage, row: DeliveryRow, settings: Settings, *, by: str) -> Retry:
    """Queue a dead, ignored or waiting delivery to run now. `by` is the person who wants it."""
    result = _retry(store, row, settings)
    if result.is_queued:
        log_act(by, "retry", [row.guid])
    return result


def _retry(
    store: Storage, row: DeliveryRow, settings: Settings, at: datetime | None = None
) -> Retry:
    state = store.queue.retry(row.guid, at=at)
    if state in ("dead", "ignored"):
        where = settings.sources.where("storage.body_days")
        return Retry(
            False,
            f"{row.guid} stays {state} ({row.reason}): its body is not stored ({where}); redeliver"
            " it from the webhook's Recent Deliveries, which GitHub allows for 3 days, or trigger"
            " a new event on the issue or pull request",
        )
    if state != "queued":
        allowed = "only a dead, ignored or waiting delivery can be run again"
        return Retry(False, f"{row.guid} is {state or 'deleted'}; {allowed}")
    pause = find_pause(row.repository, store.pauses.active())
    if pause is not None:
        return Retry(True, f"{row.guid} is queued but waits: {explain_pause(pause)}")
    return Retry(True, f"{row.guid} is queued; a running service starts it within seconds")


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The end of a change of all deliveries of a filter."""

    # None: another number of deliveries matches than was shown, and none was changed
    changed: int | None
    sentence: str  # without a full stop
    refused: int = 0
    query: str | None = None  # that finds the retried deliveries: "retried:1764504000123"


def retry_matching(
    store: Storage,
    search: DeliverySearch,
    settings: Settings,
    *,
    number: int,
    by: str,
    track: Track = iter,
) -> FilterResult:
    """Queue all deliveries that match to run now, the oldest first, each in a transaction of its
    own.

    `number` is the number of matching deliveries that the operator saw. If it is another one by
    now, queue none.
    """

    at = store.now()

    def retry(row: DeliveryRow) -> str | None:
        result = _retry(store, row, settings, at)
        return None if result.is_queued else result.sentence

    change = _Change("retry", "queued", by, None, retry)
    result = _change_matching(store, search, number, change, track)
    if not result.changed:
        return result
    return replace(result, query=f"retried:{to_ms(at)}")


def discard_matching(
    store: Storage, search: DeliverySearch, *, number: int, by: str, reason: str
) -> FilterResult:
    """Discard all dead deliveries that match, as `retry_matching`."""

    def discard(row: DeliveryRow) -> str | None:
        if store.queue.discard(row.guid):
            return None
        return f"{row.guid} is {row.listed_state}; only a dead delivery can be discarded"

    change = _Change("discard", "discarded", by, reason, discard)
    return _change_matching(store, search, number, change)


@dataclass(frozen=True, slots=True)
class _Change:
    """The change that an operator makes to each delivery of a filter."""

    act: Act
    result: str  # of a delivery: "queued"
    person: str
    reason: str | None  # that the person gave
    run: Callable[[DeliveryRow], str | None]  # returns why it refuses a delivery, else None


def _change_matching(
    store: Storage, search: DeliverySearch, number: int, change: _Change, track: Track = iter
) -> FilterResult:
    rows = [*store.searches.read_all(search)]
    if len(rows) != number:
        matching = count_matching(len(rows))
        sentence = f"{matching} now, and the number given is {number}; none was {change.result}"
        return FilterResult(None, sentence)
    changed = list[str]()
    refused = list[str]()
    try:
        for row in track(rows[::-1]):
            problem = change.run(row)
            if problem is None:
                changed.append(row.guid)
            else:
                refused.append(problem)
    finally:  # also of those before an error
        if changed:
            log_act(change.person, change.act, changed, number=len(changed), reason=change.reason)
    sentence = f"{count(len(changed), 'delivery')} {is_or_are(len(changed))} {change.result}"
    if refused:
        sentence += f"; {len(refused)} not, the first because {refused[0]}"
    return FilterResult(len(changed), sentence, len(refused))


def describe_results(causes: Causes) -> str:
    """Return what became of retried deliveries: "12 failed again (the key was rejected), 28 to
    go".
    """
    parts = []
    for title, is_part in RESULTS.items():
        groups = [group for group in causes.groups if is_part(group)]
        if title == FAILED_AGAIN:
            parts += [f"{group.number} {title} ({group.title})" for group in groups]
        elif groups:
            parts.append(f"{sum(group.number for group in groups)} {title}")
    if causes.hidden:
        parts.append(f"{causes.hidden} with other results")
    return ", ".join(parts)


def count_matching(number: int) -> str:
    """Return "1 delivery matches", or "2 deliveries match"."""
    if number == 1:
        return "1 delivery matches"
    return f"{number} deliveries match"
