"""Counters: rows of (name, label, value), incremented in the transaction of what they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.db.database import Database
from hls_handler.db.tables import counters
from hls_handler.deliveries import State

Counts = Mapping[tuple[str, str], int]
"""(name, label) -> increment; the label is "" if a counter has only one."""

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram of processing times, in seconds; one more bucket, "inf", counts the rest."""

COUNTED_BY_RECEIVER = ("webhooks", "event", "repository")

LAST_WEBHOOK, EXPECTED_SINCE = "last_webhook", "webhook_expected_since"
"""Names of rows that contain a time instead of a number, by repository ("" for all)."""


class CounterWriter:
    """Increments counters within a transaction."""

    def __init__(self, database: Database) -> None:
        new = database.insert(counters)
        self._increment: ReturningInsert[Any] = new.on_conflict_do_update(
            index_elements=["name", "label"], set_={"value": counters.c.value + new.excluded["value"]}
        ).returning(counters.c.name)
        self._set: ReturningInsert[Any] = database.upsert(counters, "value").returning(counters.c.name)

    def add(self, connection: Connection, counts: Counts) -> None:
        """Increment. To avoid deadlocks, a transaction locks nothing after its counters but later counters."""
        if counts:
            rows = [{"name": name, "label": label, "value": counts[name, label]} for name, label in _in_order(counts)]
            connection.execute(self._increment, rows)

    def set_times(self, connection: Connection, name: str, times: Mapping[str, int]) -> None:
        """Set rows that contain times in milliseconds, by label."""
        if times:
            rows = [{"name": name, "label": label, "value": times[label]} for label in sorted(times)]
            connection.execute(self._set, rows)


def _in_order(counts: Counts) -> list[tuple[str, str]]:
    """The order in which every transaction locks counters, so that no two wait for each other.

    The receiver's counters are first: a transaction that accepts deliveries locks them before it looks for duplicates,
    and so these transactions run one after the other on all machines.
    """
    return sorted(counts, key=lambda key: (key[0] not in COUNTED_BY_RECEIVER, key))


def count_end(
    state: State, *, repository: str | None, kind: str | None = None, handler: str | None = None
) -> Counter[tuple[str, str]]:
    """Counts for a delivery that ends in `state`; `kind` is the kind of reason of an ignored one."""
    counts: Counter[tuple[str, str]] = Counter({("outcome", state): 1})
    if repository is not None:
        counts["repository_outcome", f"{repository}:{state}"] = 1
    if handler is not None:
        counts["handler", f"{handler}:{state}"] = 1
    if state == "ignored":
        counts["ignored", kind or "other"] = 1
    return counts


def count_processing_time(duration_ms: int) -> Counter[tuple[str, str]]:
    """Counts for the time from the receipt of a delivery to its end."""
    bucket = next((f"{bound:g}" for bound in BUCKETS_S if duration_ms <= bound * 1000), "inf")
    return Counter({("processing_ms", ""): duration_ms, ("processing_count", ""): 1, ("processing_le", bucket): 1})
