"""Counters: totals since the first start, and what they increased by within each hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Executable, Table, bindparam

from hls_handler.db.database import Database
from hls_handler.db.tables import counter_hours, counters
from hls_handler.db.values import HOUR_MS
from hls_handler.deliveries import ListedState

Counts = Mapping[tuple[str, str], int]
"""Counter increments, such as {("outcome", "done"): 1, ("webhooks", ""): 2}."""

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
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
CATCH_UP_BEGAN = "catch_up_lease"
"""Two names in the table `counters`: the last attempt read (its label is the hook), and when a run
began (ms).

Earlier versions stored the end of a lease under the second name.
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

FIGURES = (
    "batch_cost_micro_usd",
    "cost_micro_usd",
    "ended",
    "first_reply_le",
    "processing_le",
    "recovered",
    "replies",
    "saved_micro_usd",
)
"""What `count_by_group` counts for each repository as "repository_cost_micro_usd" and so on, and
for each author, while authors are stored, as "author_cost_micro_usd".
"""

ONLY_HOURLY = frozenset(
    {"stored"} | {f"{group}_{figure}" for group in ("repository", "author") for figure in FIGURES}
) - {"repository_cost_micro_usd"}
"""Names of the counters that have no total since the first start."""

HOURLY = ONLY_HOURLY | frozenset(
    {
        "caught_up",
        "claude_calls",
        "cost_micro_usd",
        "event",
        "first_reply_le",
        "github_requests",
        "outcome",
        "outsider_cost_micro_usd",
        "processing_le",
        "prompt_cost_micro_usd",
        "rejected",
        "reply_cache",
        "repository",
        "repository_cost_micro_usd",
        "tokens",
        "webhooks",
    }
)
"""Names of the counters that the table `counter_hours` has by hour, too."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The repository and the author whose figures a delivery counts in."""

    repository: str | None
    author: str | None  # None while authors are not stored


class CounterWriter:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._increment = _increment(database, counters)
        self._increment_hour = _increment(database, counter_hours)
        self._set = database.of_many_rows(database.upsert(counters, "value"))

    def add(self, connection: Connection, counts: Counts, *, at: int | None = None) -> None:
        """Increment counters in sorted order, because different orders could cause a deadlock.

        Also increments those of `HOURLY` for the hour of `at`, a time in ms, by default the present
        one.
        """
        rows = [
            {"name": name, "label": label, "value": counts[name, label]}
            for name, label in sorted(counts)
        ]
        totals = [row for row in rows if row["name"] not in ONLY_HOURLY]
        if totals:
            connection.execute(self._increment, totals)
        if at is None:
            at = self._database.now_in(connection)
        hour = at - at % HOUR_MS
        hourly = [{**row, "hour": hour} for row in rows if row["name"] in HOURLY and row["value"]]
        if hourly:
            connection.execute(self._increment_hour, hourly)

    def uncount_end(self, connection: Connection, end: Counts, finished_at: int) -> None:
        """Take back a delivery that is queued again from the hour in which it ended (ms); the total
        keeps each end. `end` is what `count_end` returned.

        An hour in which another version did not count the delivery stays as it is.
        """
        hour = finished_at - finished_at % HOUR_MS
        rows = [
            {"of_name": name, "of_label": label, "of_hour": hour, "less": value}
            for (name, label), value in sorted(end.items())
            if name in HOURLY
        ]
        connection.execute(_DECREMENT_HOUR, rows)

    def set_values(self, connection: Connection, name: str, values: Mapping[str, int]) -> None:
        """Replace values of the counter `name`, such as times in ms. The keys of `values` are
        counter labels.
        """
        if values:
            rows = [
                {"name": name, "label": label, "value": values[label]} for label in sorted(values)
            ]
            connection.execute(self._set, rows)


_hour = counter_hours.c
_DECREMENT_HOUR = (
    counter_hours.update()
    .where(
        _hour.name == bindparam("of_name"),
        _hour.label == bindparam("of_label"),
        _hour.hour == bindparam("of_hour"),
        _hour.value > 0,
    )
    .values(value=_hour.value - bindparam("less"))
)


def _increment(database: Database, table: Table) -> Executable:
    new = database.insert(table)
    total = table.c.value + new.excluded["value"]
    return database.of_many_rows(
        new.on_conflict_do_update(index_elements=list(table.primary_key), set_={"value": total})
    )


def count_by_group(
    figure: str, value: int, groups: Groups, part: str = ""
) -> Counter[tuple[str, str]]:
    """Return the increments of a figure for the delivery's repository and for its author.

    The labels are "owner/repo:done" and "mona owner/repo:done" if `part` is "done", else
    "owner/repo" and "mona owner/repo".
    """
    counts: Counter[tuple[str, str]] = Counter()
    if groups.repository is None:
        return counts
    label = f"{groups.repository}:{part}" if part else groups.repository
    counts[f"repository_{figure}", label] = value
    if groups.author is not None:
        counts[f"author_{figure}", f"{groups.author} {label}"] = value
    return counts


def count_duration(name: str, duration_ms: int, groups: Groups) -> Counter[tuple[str, str]]:
    """Return the increments of a histogram and of the sum of its durations.

    For 700 ms of "processing": {("processing_ms", ""): 700, ("processing_le", "1"): 1} and those of
    the repository and the author.
    """
    bucket = next((f"{bound:g}" for bound in BUCKETS_S if duration_ms <= bound * 1000), "inf")
    counts = count_by_group(f"{name}_le", 1, groups, bucket)
    counts[f"{name}_ms", ""] = duration_ms
    counts[f"{name}_le", bucket] = 1
    return counts


def count_end(
    state: ListedState,
    *,
    repository: str | None,
    author: str | None = None,
    kind: str | None = None,
    handler: str | None = None,
) -> Counter[tuple[str, str]]:
    """Return the counter increments for the end of a delivery. `kind` is an ignored delivery's
    `reason_kind`.
    """
    counts: Counter[tuple[str, str]] = Counter({("outcome", state): 1})
    if repository is not None:
        counts["repository_outcome", f"{repository}:{state}"] = 1
    if handler is not None:
        counts["handler", f"{handler}:{state}"] = 1
    if state in ("done", "dead", "discarded"):
        ended = "done" if state == "done" else "dead"
        counts += count_by_group("ended", 1, Groups(repository, author), ended)
    if state == "ignored":
        counts["ignored", kind or "other"] = 1
    return counts
