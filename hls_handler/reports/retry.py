"""Runs a delivery again for an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from hls_handler.queue.pauses import describe_pause, find_pause, resume_command
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch
from hls_handler.store.statistics import DeliveryRow
from hls_handler.wording import count, is_or_are

Retried = Literal["dead", "queued", "ignored"]
"""States of deliveries that a filter can run again."""

RETRIED: tuple[Retried, ...] = get_args(Retried)


@dataclass(frozen=True, slots=True)
class Retry:
    is_queued: bool
    sentence: str  # without a full stop


def retry_delivery(store: Storage, row: DeliveryRow, settings: Settings, *, by: str) -> Retry:
    """Queue a dead, ignored or waiting delivery to run now. `by` is the person who wants it."""
    state = store.queue.retry(row.guid, by=by)
    if state in ("dead", "ignored"):
        where = settings.sources.where("storage.body_days")
        return Retry(
            False,
            f"{row.guid} stays {state} ({row.reason}): its body is not stored ({where}); redeliver"
            " it from the webhook's Recent Deliveries, which GitHub allows for 3 days, or trigger"
            " a new event on the issue or pull request",
        )
    if state != "queued":
        kept = "only a dead, ignored or waiting delivery can be run again"
        return Retry(False, f"{row.guid} is {state or 'deleted'}; {kept}")
    pause = find_pause(row.repository, store.pauses.active())
    if pause is not None:
        waits = (
            f"{row.guid} is queued but waits: {describe_pause(pause)}; {resume_command(pause)} ends"
            " the pause"
        )
        return Retry(True, waits)
    return Retry(True, f"{row.guid} is queued; a running service starts it within seconds")


@dataclass(frozen=True, slots=True)
class FilterRetry:
    # None: another number of deliveries matches than was shown, and none was queued
    queued: int | None
    sentence: str  # without a full stop
    refused: int = 0
    received: tuple[datetime, datetime] | None = (
        None  # when the first and the last of them were received
    )


def retry_matching(
    store: Storage,
    search: DeliverySearch,
    settings: Settings,
    *,
    number: int,
    by: str,
    track: Callable[[Sequence[DeliveryRow]], Iterable[DeliveryRow]] = iter,
) -> FilterRetry:
    """Queue all deliveries that match to run now, the oldest first, each in a transaction of its
    own.

    `number` is the number of matching deliveries that the operator saw. If it is another one by
    now, queue none. `track` yields the rows that it gets, and may show how many are done.
    """
    rows = [*store.searches.read_all(search)]
    if len(rows) != number:
        matching = count_matching(len(rows))
        return FilterRetry(
            None, f"{matching} now, and the number given is {number}; none was queued"
        )
    results = [retry_delivery(store, row, settings, by=by) for row in track(rows[::-1])]
    refused = [one.sentence for one in results if not one.is_queued]
    queued = len(results) - len(refused)
    sentence = f"{count(queued, 'delivery')} {is_or_are(queued)} queued"
    if refused:
        sentence += f"; {len(refused)} not, the first because {refused[0]}"
    received = None
    if rows:
        received = (rows[-1].received_at, rows[0].received_at)
    return FilterRetry(queued, sentence, len(refused), received)


def count_matching(number: int) -> str:
    """Return "1 delivery matches", or "2 deliveries match"."""
    if number == 1:
        return "1 delivery matches"
    return f"{number} deliveries match"
