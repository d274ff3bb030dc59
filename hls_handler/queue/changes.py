"""Stores the changes of a running delivery: checkpoints, the bot's labels and comments, completed writes, counters.

Changes wait in memory until the delivery's next transaction, which first checks that the lease is valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, assert_never

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, case, func, literal_column, select
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.actions import Conclusion, StoredComment
from hls_handler.db.database import Database, Insert
from hls_handler.db.tables import (
    checkpoints,
    checks,
    comments,
    counter_hours,
    counters,
    deliveries,
    findings,
    labels,
    reviews,
)
from hls_handler.db.values import HOUR_MS, compress_text, decompress_text, from_row, to_ms
from hls_handler.deliveries import Checkpoint, Lease, State
from hls_handler.handlers.labels import NO_ORIGINS, LabelOrigin, LabelState
from hls_handler.queue.leases import complete_write, is_held, lease_lost, lease_parameters, release_locks
from hls_handler.review.record import ReviewRecord, dump_entry, dump_record

Counts = Mapping[tuple[str, str], int]
"""Counter increments, such as {("outcome", "done"): 1, ("webhooks", ""): 2}."""

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histogram of processing times, in seconds; one more bucket, "inf", counts the rest."""

LAST_WEBHOOK, EXPECTED_SINCE = "last_webhook", "webhook_expected_since"
"""Two names in the table `counters` whose values are times in ms. Their labels are repositories, or "" for all."""

CAUGHT_UP_TO, CATCH_UP_LEASE = "caught_up_to", "catch_up_lease"
"""Two names in the table `counters`: the last attempt read (its label is the hook), and the end of a lease in ms."""

NO_COUNTS = (LAST_WEBHOOK, EXPECTED_SINCE, CAUGHT_UP_TO, CATCH_UP_LEASE)
"""Names in the table `counters` whose values are no counts."""

HOURLY = frozenset(
    {
        "caught_up",
        "claude_calls",
        "cost_micro_usd",
        "event",
        "github_requests",
        "outcome",
        "processing_le",
        "rejected",
        "reply_cache",
        "repository",
        "repository_cost_micro_usd",
        "run_again",
        "tokens",
        "webhooks",
    }
)
"""Names of the counters that the table `counter_hours` has by hour, too."""

LABEL_SET = "label_set"
"""Counter of the labels that the bot set because a reply asked for them. `field_label` returns the counter's label."""

Posted = Literal["done", "dry_run"]
"""Values of the column `posting_status` if posting did not fail."""

_d = deliveries.c

DELIVERY_ID = select(_d.id).where(_d.guid == bindparam("of_guid")).scalar_subquery()
"""Subquery for the row id of the delivery with the GUID `of_guid`."""


@dataclass(frozen=True, slots=True)
class ConversationRef:
    repository_id: int
    bot_login: str
    number: int

    @property
    def columns(self) -> dict[str, object]:
        return asdict(self)


def of_conversation(table: Table) -> ColumnElement[bool]:
    """Return the SQL condition for the rows of one conversation. The bind parameters are `ConversationRef.columns`."""
    return and_(*(table.c[name] == bindparam(name) for name in ConversationRef.__annotations__))


_DELETE_LABELS = labels.delete().where(of_conversation(labels), labels.c.name.in_(bindparam("names", expanding=True)))
_SET_FIRST = select(labels.c.name, labels.c.prompt_id, labels.c.field).where(
    of_conversation(labels), labels.c.set_at.is_(None), labels.c.prompt_id.is_not(None)
)


@dataclass(frozen=True, slots=True)
class LabelChange:
    """Store `state` for labels of a conversation. If `state` is None, delete the rows of these labels."""

    conversation: ConversationRef
    names: tuple[str, ...]
    state: LabelState | None
    origins: Mapping[str, LabelOrigin] = field(default_factory=lambda: NO_ORIGINS)  # of "intended" labels


@dataclass(frozen=True, slots=True)
class CommentChange:
    """Store the bot's comment on a conversation as it was written."""

    conversation: ConversationRef
    family: str  # of `EnsureComment`: "issues"; a conversation has one comment of each
    comment: StoredComment


@dataclass(frozen=True, slots=True)
class ReviewChange:
    """Store what HLS knows about its reviews of a pull request."""

    conversation: ConversationRef
    record: ReviewRecord


@dataclass(frozen=True, slots=True)
class WriteCompleted:
    """A change that deletes the pending write of the lock `lock`. Store it when that write has ended."""

    lock: str


@dataclass(frozen=True, slots=True)
class CheckChange:
    """Store what GitHub confirmed about the delivery's check on `commit`: it is in progress, or it has ended."""

    commit: str
    check_run_id: int | None  # None: a commit status, or GitHub rejected the check
    is_ended: bool
    rejected: str | None = None  # why GitHub rejected it
    conclusion: Conclusion | None = None  # None: it is in progress, or was rejected
    is_exempt: bool = False  # of `EnsureCheck`


Change = Checkpoint | LabelChange | CommentChange | ReviewChange | CheckChange | WriteCompleted


class PendingChanges:
    """Changes that the delivery's next transaction stores, in the order in which they were added. Not thread-safe."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def add(self, change: Change) -> None:
        self._changes.append(change)

    def take(self) -> tuple[Change, ...]:
        """Return and remove all changes; the caller must store them."""
        changes, self._changes = tuple(self._changes), []
        return changes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Changes to store. Checkpoints are already compressed, to keep the transaction short for other writers."""

    checkpoints: tuple[Mapping[str, object], ...] = ()
    others: tuple[LabelChange | CommentChange | ReviewChange | CheckChange | WriteCompleted, ...] = ()
    is_progress: bool = False  # True if a checkpoint is progress


NO_CHANGES = Prepared()


def prepare(changes: Sequence[Change]) -> Prepared:
    steps = [step for step in changes if isinstance(step, Checkpoint)]
    rows = {
        (step.name, step.index): {
            "name": step.name,
            "step_index": step.index,
            "version": step.version,
            "duration_ms": round(step.took_s * 1000),
            "started_at": None if step.started_at is None else to_ms(step.started_at),
            "github_requests": step.github_requests,
            "value": compress_text(step.value),
        }
        for step in steps
    }
    others = tuple(one for one in changes if not isinstance(one, Checkpoint))
    return Prepared(tuple(rows.values()), others, any(step.is_progress for step in steps))


class CounterWriter:
    def __init__(self, database: Database) -> None:
        new = database.insert(counters)
        self._increment: ReturningInsert[Any] = new.on_conflict_do_update(
            index_elements=["name", "label"], set_={"value": counters.c.value + new.excluded["value"]}
        ).returning(database.now)
        in_hour = database.insert(counter_hours)
        self._increment_hour: ReturningInsert[Any] = in_hour.on_conflict_do_update(
            index_elements=list(counter_hours.primary_key),
            set_={"value": counter_hours.c.value + in_hour.excluded["value"]},
        ).returning(counter_hours.c.name)
        self._set: ReturningInsert[Any] = database.upsert(counters, "value").returning(counters.c.name)

    def add(self, connection: Connection, counts: Counts, *, at: int | None = None) -> None:
        """Increment counters in sorted order, because different orders could cause a deadlock.

        Also increments those of `HOURLY` for the hour of `at`, a time in ms; None stands for now.
        """
        if not counts:
            return
        rows = [{"name": name, "label": label, "value": counts[name, label]} for name, label in sorted(counts)]
        now: int = connection.execute(self._increment, rows).scalars().all()[0]
        moment = now if at is None else at
        hour = moment - moment % HOUR_MS
        hourly = [{**row, "hour": hour} for row in rows if row["name"] in HOURLY and row["value"]]
        if hourly:
            connection.execute(self._increment_hour, hourly)

    def add_run_again(self, connection: Connection, state: State, finished_at: int) -> None:
        """Count a dead or ignored delivery that is queued again, in the hour in which it ended (ms).

        So reports by hour can count it once, as it ended last, although `outcome` has each of its ends.
        """
        self.add(connection, {("run_again", state): 1}, at=finished_at)

    def set_values(self, connection: Connection, name: str, values: Mapping[str, int]) -> None:
        """Replace values of the counter `name`, such as times in ms. The keys of `values` are counter labels."""
        if values:
            rows = [{"name": name, "label": label, "value": values[label]} for label in sorted(values)]
            connection.execute(self._set, rows)


def count_end(
    state: State, *, repository: str | None, kind: str | None = None, handler: str | None = None
) -> Counter[tuple[str, str]]:
    """Return the counter increments for the end of a delivery. `kind` is an ignored delivery's `reason_kind`."""
    counts: Counter[tuple[str, str]] = Counter({("outcome", state): 1})
    if repository is not None:
        counts["repository_outcome", f"{repository}:{state}"] = 1
    if handler is not None:
        counts["handler", f"{handler}:{state}"] = 1
    if state == "ignored":
        counts["ignored", kind or "other"] = 1
    return counts


def count_github_requests(event_key: str, requests: int, *, is_end: bool) -> Counter[tuple[str, str]]:
    """Return the counter increments for requests to GitHub that an attempt at a delivery sent.

    The average of an event is the first counter divided by the second one, which counts deliveries (`is_end`).
    """
    counts = Counter({("event_github_requests", event_key): requests})
    if is_end:
        counts["event_github_deliveries", event_key] = 1
    return counts


def count_processing_time(duration_ms: int) -> Counter[tuple[str, str]]:
    """Return the counter increments for a delivery that ended `duration_ms` after it was queued.

    For 700 ms: {("processing_ms", ""): 700, ("processing_count", ""): 1, ("processing_le", "1"): 1}.
    """
    bucket = next((f"{bound:g}" for bound in BUCKETS_S if duration_ms <= bound * 1000), "inf")
    return Counter({("processing_ms", ""): duration_ms, ("processing_count", ""): 1, ("processing_le", bucket): 1})


class DeliveryWriter:
    """Writes the changes of a delivery in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        held, self._now = is_held(database.now), database.now
        is_marked = and_(_d.has_progress, _d.crashes == literal_column("0"), _d.first_failure_at.is_(None))
        self._select = select(_d.id, is_marked.label("has_progressed")).where(held).with_for_update()
        progress = {"has_progress": True, "crashes": 0, "first_failure_at": None}
        self._mark_progress = deliveries.update().where(held).values(progress).returning(_d.id)
        self.counters = CounterWriter(database)
        save = database.upsert(checkpoints, "version", "duration_ms", "started_at", "github_requests", "value")
        self._save: ReturningInsert[Any] = save.returning(checkpoints.c.name)
        new = database.insert(labels)
        keep_if_null = {name: func.coalesce(new.excluded[name], labels.c[name]) for name in ("field", "prompt_id")}
        set_once = {"set_at": func.coalesce(labels.c.set_at, new.excluded["set_at"])}
        self._labels: Mapping[LabelState, ReturningInsert[Any]] = {
            "intended": _upsert_label(new, keep_if_null),
            "set": _upsert_label(new.values(set_at=database.now), set_once),
            "removed": _upsert_label(new, {}),
        }
        self._comment = database.upsert(comments, "comment_id", "body_digest", "state")
        self._review = database.upsert(reviews, "rounds", "reviewed")
        finding = database.insert(findings)
        stored = finding.excluded
        self._findings: ReturningInsert[Any] = (
            finding.values(raised_at=database.now, changed_at=database.now)
            .on_conflict_do_update(
                index_elements=list(findings.primary_key),
                set_={
                    "state": stored["state"],
                    "comment_id": stored["comment_id"],
                    "is_accepted": stored["is_accepted"],
                    "details": stored["details"],
                    "changed_at": case(
                        (findings.c.state == stored["state"], findings.c.changed_at), else_=stored["changed_at"]
                    ),
                },
            )
            .returning(findings.c.finding_key)
        )

    def find(self, connection: Connection, lease: Lease, prepared: Prepared, **statuses: str | None) -> int | None:
        """Store `prepared` and the columns `statuses` of the leased delivery. Return the row id; None for a lost lease.

        A checkpoint that is progress, or a status, sets the number of crashes to 0. Changes of labels and comments do
        not change this number, because a delivery that crashes at each write to GitHub must not be retried without end.
        """
        terms = lease_parameters(lease)
        held = connection.execute(self._select, terms).first()
        if held is None:
            return None
        if statuses or (prepared.is_progress and not held.has_progressed):  # skip an UPDATE: it writes the body again
            connection.execute(self._mark_progress, {**terms, **statuses})
        row_id: int = held.id
        self.counters.add(connection, self.apply(connection, row_id, prepared))
        return row_id

    def require(
        self, connection: Connection, lease: Lease, prepared: Prepared = NO_CHANGES, **statuses: str | None
    ) -> int:
        """Call `find` and return the row id. If the lease is lost, raise `LeaseLost`."""
        row_id = self.find(connection, lease, prepared, **statuses)
        if row_id is None:
            raise lease_lost(lease)
        return row_id

    def apply(self, connection: Connection, row_id: int, prepared: Prepared) -> Counter[tuple[str, str]]:
        """Store the changes without checking the lease. Return counter increments, which the caller must store."""
        counts: Counter[tuple[str, str]] = Counter()
        for change in prepared.others:
            match change:
                case LabelChange():
                    counts += self._change_labels(connection, change)
                case CommentChange():
                    row = {**change.conversation.columns, "family": change.family, **asdict(change.comment)}
                    connection.execute(self._comment, row)
                case ReviewChange():
                    self._change_review(connection, change)
                case CheckChange():
                    values: dict[str, object] = {
                        "is_shown": True,
                        "check_run_id": change.check_run_id,
                        "rejected": change.rejected,
                        "conclusion": change.conclusion,
                        "is_exempt": change.is_exempt,
                    }
                    values |= {"ended_at": self._now} if change.is_ended else {}
                    mine = and_(checks.c.delivery_id == row_id, checks.c.commit_sha == change.commit)
                    connection.execute(checks.update().where(mine).values(values))
                case WriteCompleted():
                    complete_write(connection, row_id, change.lock)
                case _:
                    assert_never(change)
        if prepared.checkpoints:
            connection.execute(self._save, [{"delivery_id": row_id, **row} for row in prepared.checkpoints])
        return counts

    def _change_review(self, connection: Connection, change: ReviewChange) -> None:
        columns, record = change.conversation.columns, change.record
        reviewed = compress_text(dump_record(record))
        connection.execute(self._review, {**columns, "rounds": record.rounds, "reviewed": reviewed})
        rows = [
            {
                **columns,
                "finding_key": entry.key,
                "category": entry.category,
                "severity": entry.severity,
                "prompt_id": entry.prompt_id,
                "state": entry.state,
                "comment_id": entry.comment_id,
                "is_accepted": entry.is_accepted,
                "details": dump_entry(entry),
            }
            for entry in sorted(record.ledger, key=lambda entry: entry.key)  # sorted to avoid deadlocks
        ]
        if rows:
            connection.execute(self._findings, rows)

    def _change_labels(self, connection: Connection, change: LabelChange) -> Counter[tuple[str, str]]:
        names, columns = sorted(set(change.names)), change.conversation.columns  # sorted to avoid deadlocks
        if not names:
            return Counter()
        if change.state is None:
            connection.execute(_DELETE_LABELS, {**columns, "names": names})
            return Counter()
        first_set = connection.execute(_SET_FIRST, columns).all() if change.state == "set" else []
        rows = [{**columns, "name": name, "state": change.state} for name in names]
        if change.state == "intended":
            for row in rows:
                origin = change.origins.get(str(row["name"]))
                row |= {"field": origin.group if origin else None, "prompt_id": origin.prompt_id if origin else None}
        connection.execute(self._labels[change.state], rows)
        return Counter((LABEL_SET, field_label(row.prompt_id, row.field)) for row in first_set if row.name in names)


def _upsert_label(new: Insert, columns: Mapping[str, object]) -> ReturningInsert[Any]:
    set_ = {"state": new.excluded["state"], **columns}
    return new.on_conflict_do_update(index_elements=list(labels.primary_key), set_=set_).returning(labels.c.name)


class Checkpoints:
    def __init__(self, database: Database, writer: DeliveryWriter) -> None:
        self._database, self._writer = database, writer

    def load(self, guid: str) -> dict[tuple[str, int], Checkpoint]:
        """Return all checkpoints of a delivery, by name and index."""
        query = select(checkpoints).where(checkpoints.c.delivery_id == DELIVERY_ID)
        with self._database.reading() as connection:
            return {
                (row.name, row.step_index): from_row(
                    Checkpoint, row, index=row.step_index, value=decompress_text(row.value), is_progress=True
                )
                for row in connection.execute(query, {"of_guid": guid})
            }

    def save(self, lease: Lease, *changes: Change, unlock: bool = False, posting: Posted | None = None) -> None:
        """Store changes; a checkpoint replaces the one with the same name and index. Raises `LeaseLost`.

        `posting` is the new posting status; None keeps the old one. `unlock` also releases the delivery's locks. A
        checkpoint or posting status resets the number of crashes and the time of the first failure.
        """
        statuses = {} if posting is None else {"posting_status": posting, "posting_error": None}
        prepared = prepare(changes)
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, prepared, **statuses)
            if unlock:
                release_locks(connection, row_id)

    def delete(self, lease: Lease, name: str) -> None:
        """Delete all checkpoints called `name`, so that their steps are repeated. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease)
            connection.execute(
                checkpoints.delete().where(checkpoints.c.delivery_id == row_id, checkpoints.c.name == name)
            )


def field_label(prompt_id: str, group: str) -> str:
    """Return a counter's label, "issues/analyze@3f9c2a:areas": the prompt's id, and `field_of(group)`."""
    return f"{prompt_id}:{field_of(group)}"


def field_of(group: str) -> str:
    """Return the reply field to which a label group belongs: "areas" for the group "areas area/api"."""
    return group.partition(" ")[0]
