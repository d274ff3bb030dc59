"""Counters: totals since the first start, and what they increased by within each hour.

All numbers of the service that can only increase are rows of one table, by repository.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from hls_handler.db.database import Database
from hls_handler.db.tables import counters
from hls_handler.db.values import HOUR_MS
from hls_handler.deliveries import End, Lease, ListedState

Counts = Mapping[tuple[str, str], int]
"""Counter increments, such as {("outcome", "done"): 1, ("webhooks", ""): 2}."""

TOTAL = 0
"""The hour of the totals since the first start."""

BUCKETS_S = (
    *(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0),
    *(12.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0),
)
"""Upper bounds of the histograms of durations, in seconds; one more bucket, "inf", counts the
rest.
"""

LAST_WEBHOOK = "last_webhook"
"""A name in the table `counters` whose values are times in ms. Their labels are repositories, or ""
for all.
"""

RENAMED = "repository_renamed"
"""A name in the table `counters` whose values are times in ms. Their labels are "owner/former
owner/new".
"""

CAUGHT_UP_TO = "caught_up_to"
CATCH_UP_BEGAN = "catch_up_began"
"""Two names in the table `counters`: the last attempt read (its label is the hook), and when a run
began (ms).
"""

BUDGET_EXCEEDED = "budget_exceeded"
"""A name in the table `counters`: ends of days (ms) on which a call did not fit a budget, its
label.
"""

NO_COUNTS = (
    LAST_WEBHOOK,
    RENAMED,
    CAUGHT_UP_TO,
    CATCH_UP_BEGAN,
    BUDGET_EXCEEDED,
)
"""Names in the table `counters` whose values are no counts."""

OF_BATCHES = "batches"
"""Label of the calls of batches, in place of the prompt's id."""

COST = "cost_micro_usd"
"""Name of the counter of the cost of calls, by prompt."""

AUTHOR_OUTCOME = "author_outcome"
"""Name of the counter by author, with labels such as "mona:done"; counted while `metrics.authors`
is set.
"""

HOURLY = frozenset(
    {
        COST,
        "first_reply_le",
        "outcome",
        "outsider_cost_micro_usd",
        "processing_le",
        "recovered_by_retry",
        "rejected",
        "replies",
        "reply_cache",
        "stored",
    }
)
"""Names that are counted by the hour, too."""


class Group(NamedTuple):
    """The repository and the author of what is counted."""

    repository: str | None = None
    author: str | None = None  # of a delivery that ends; None while authors are not stored


NO_GROUP = Group()


class CounterWriter:
    def __init__(self, database: Database) -> None:
        self._database = database
        new = database.insert(counters)
        increment = new.on_conflict_do_update(
            index_elements=list(counters.primary_key),
            set_={"value": counters.c.value + new.excluded["value"]},
        )
        self._increment = database.make_rows_insert(increment)
        self._set = database.make_rows_insert(database.upsert(counters, "value"))

    def add(
        self,
        connection: Connection,
        counts: Counts,
        group: Group = NO_GROUP,
        *,
        at: int | None = None,
    ) -> None:
        """Increment the totals of a group, and those of `HOURLY` for the hour of `at`, a time in
        ms, by default the present one.
        """
        self.add_all(connection, {group: counts}, at=at)

    def add_all(
        self, connection: Connection, groups: Mapping[Group, Counts], *, at: int | None = None
    ) -> None:
        if not any(groups.values()):
            return
        if at is None:
            at = self._database.now_in(connection)
        rows: Counter[_Key] = Counter()
        for group, counts in groups.items():
            for (name, label), value in counts.items():
                rows[_Key(name, TOTAL, label, group.repository or "")] += value
                if name == "outcome" and group.author is not None:
                    rows[_Key(AUTHOR_OUTCOME, TOTAL, f"{group.author}:{label}", "")] += value
            rows.update(_count_hour(counts, group.repository, at))
        self._add_rows(connection, rows)

    def uncount_end(
        self, connection: Connection, state: ListedState, repository: str | None, finished_at: int
    ) -> None:
        """Take back a delivery that is queued again from the hour in which it ended (ms); the total
        keeps each end.
        """
        counts: Counts = {("outcome", state): -1}
        self._add_rows(connection, _count_hour(counts, repository, finished_at))

    def set_values(self, connection: Connection, name: str, values: Mapping[str, int]) -> None:
        """Replace values of the counter `name`, such as times in ms. The keys of `values` are
        counter labels.
        """
        rows = {_Key(name, TOTAL, label, ""): value for label, value in values.items()}
        if rows:
            connection.execute(self._set, _make_rows(rows))

    def _add_rows(self, connection: Connection, rows: Mapping[_Key, int]) -> None:
        changed = {key: value for key, value in rows.items() if value}
        if changed:
            connection.execute(self._increment, _make_rows(changed))


class _Key(NamedTuple):
    name: str
    hour: int
    label: str
    repository: str


def _make_rows(values: Mapping[_Key, int]) -> list[dict[str, object]]:
    """Return the rows in sorted order, because different orders could cause a deadlock."""
    return [{**key._asdict(), "value": values[key]} for key in sorted(values)]


def _count_hour(counts: Counts, repository: str | None, at: int) -> Mapping[_Key, int]:
    hour = at - at % HOUR_MS
    return {
        _Key(name, hour, label, repository or ""): value
        for (name, label), value in counts.items()
        if name in HOURLY
    }


def count_duration(name: str, duration_ms: int) -> Counter[tuple[str, str]]:
    """Return the increments of a histogram and of the sum of its durations.

    For 700 ms of "processing": {("processing_ms", ""): 700, ("processing_le", "1"): 1}.
    """
    bucket = next((f"{bound:g}" for bound in BUCKETS_S if duration_ms <= bound * 1000), "inf")
    return Counter({(f"{name}_ms", ""): duration_ms, (f"{name}_le", bucket): 1})


def count_end(
    state: ListedState, *, kind: str | None = None, handler: str | None = None
) -> Counter[tuple[str, str]]:
    """Return the counter increments for the end of a delivery. `kind` is an ignored delivery's
    `reason_kind`.
    """
    counts: Counter[tuple[str, str]] = Counter({("outcome", state): 1})
    if handler is not None:
        counts["handler", f"{handler}:{state}"] = 1
    if state == "ignored":
        counts["ignored", kind or "other"] = 1
    return counts


def count_finished(lease: Lease, end: End, row: Row[Any]) -> Counter[tuple[str, str]]:
    counts = count_end(end.state, kind=end.kind, handler=end.handler)
    if end.state == "done":
        counts += _count_done(lease, row)
    return counts


def _count_done(lease: Lease, row: Row[Any]) -> Counter[tuple[str, str]]:
    """Return the counter increments for a delivery that is done.

    The first reply to an issue or pull request counts with the time since the receipt of the first
    delivery about it that was not ignored.
    """
    counts = count_duration("processing", row.finished_at - row.queued_at)
    if row.failures:
        counts["recovered_by_retry", ""] = 1
        counts["errors_recovered", ""] = row.failures
    is_reply = row.posting_status == "done" and not row.is_command
    if is_reply and lease.conversation_key is not None and not row.has_other_reply:
        first_received_at = row.received_at
        if row.others_received_at is not None:
            first_received_at = min(row.received_at, row.others_received_at)
        counts += count_duration("first_reply", row.finished_at - first_received_at)
    return counts
