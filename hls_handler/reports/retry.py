"""Runs a delivery again for an operator."""

from __future__ import annotations

from dataclasses import dataclass

from hls_handler.history.statistics import DeliveryRow
from hls_handler.queue.pauses import describe_pause, find_pause, resume_command
from hls_handler.storage import Storage


@dataclass(frozen=True, slots=True)
class Retry:
    is_queued: bool
    sentence: str  # without a full stop


def retry_delivery(store: Storage, row: DeliveryRow, *, body_days_source: str) -> Retry:
    """Queue a dead, ignored or waiting delivery to run now. `body_days_source` is the place of `storage.body_days`."""
    state = store.queue.retry(row.guid)
    if state is None:
        return Retry(False, f"{row.guid} was deleted")
    if state == "running":
        return Retry(False, f"{row.guid} is running already")
    if state == "ignored":
        return Retry(
            False,
            f"{row.guid} stays ignored ({row.reason}): its body is not stored; trigger a new event on the issue "
            "or pull request",
        )
    if state not in ("dead", "queued"):
        return Retry(False, f"{row.guid} is {state}; only a dead, ignored or waiting delivery can be run again")
    if state == "dead":
        return Retry(
            False,
            f"{row.guid} stays dead: its body was deleted ({body_days_source}); redeliver it from the "
            "webhook's Recent Deliveries, which GitHub allows for 3 days, or trigger a new event on the issue or pull "
            "request",
        )
    pause = find_pause(row.repository, store.pauses.active())
    if pause is not None:
        waits = f"{row.guid} is queued but waits: {describe_pause(pause)}; {resume_command(pause)} ends the pause"
        return Retry(True, waits)
    return Retry(True, f"{row.guid} is queued; a running service starts it within seconds")
