"""Batches: their terms, their deliveries and their cost; how they begin, stop and continue."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, Text, Update, and_, cast, func, literal_column, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import (
    batches,
    calls,
    checkpoints,
    deleted_review_calls,
    deliveries,
    labels,
)
from hls_handler.db.values import decompress_text, from_ms, from_row, literal
from hls_handler.deliveries import (
    BATCHED,
    PRIORITY_BATCH,
    UNDO,
    Checkpoint,
    NewDelivery,
    State,
    conversation_key,
    sort_key,
)
from hls_handler.errors import Permanent
from hls_handler.logs import log_act
from hls_handler.queue.accepting import make_row
from hls_handler.store.call_rows import read_batch_cost
from hls_handler.store.limits import OVER_BUDGET, Limit

BatchKind = Literal["triage", "try", "reviews"]
BatchState = Literal["running", "done", "stopped", "over budget", "undone", "deleted"]
"""deleted: retention has deleted its deliveries (`storage.keep_days`)."""

OPEN = ("queued", "running")
"""States of deliveries that have not ended."""

UNDO_SUFFIX = "-undo"
"""End of the GUID of the delivery that takes another one back."""

STOPPED: Literal["stopped"] = "stopped"
"""`IgnoredKind` of deliveries that a person stopped with their batch."""

FACTS = ("gather", "repository_settings")
"""Names of the checkpoints of the facts of a delivery, and of its repository's settings."""

MAX_BATCH_ID = 2**31 - 1
"""Above any real id. The databases raise an error for a number of over 64 bits."""

_b = batches.c
_d = deliveries.c


@dataclass(frozen=True, slots=True)
class NewBatch:
    kind: BatchKind
    repository_id: int | None  # None: of the try of deliveries
    repository: str  # "" if it is about several
    max_usd: float
    terms: Mapping[str, Any]  # the options, as JSON
    plan: Mapping[str, Any]  # what was chosen, and left out, as JSON


@dataclass(frozen=True, slots=True)
class Batch:
    id: int
    kind: BatchKind
    repository_id: int | None
    repository: str
    started_by: str  # as `operators.log_act`
    started_at: datetime  # aware UTC
    max_usd: float
    state: Literal["open", "stopped", "undone"]
    terms: Mapping[str, Any]
    plan: Mapping[str, Any]

    @property
    def limit(self) -> Limit:
        return Limit("batch", None, self.max_usd, "--max-usd", str(self.id))


@dataclass(frozen=True, slots=True)
class BatchDelivery:
    guid: str
    number: int
    title: str | None
    request_id: str
    state: State
    reason: str | None
    reason_kind: str | None
    attempt: int  # 0: no worker has claimed it
    due_at: datetime  # aware UTC

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def has_result(self) -> bool:
        """True if it has ended, and would not go on with its batch."""
        return not self.is_open and self.reason_kind not in (STOPPED, OVER_BUDGET)


@dataclass(frozen=True, slots=True)
class FirstDelivery:
    """The delivery of a batch that is processed alone."""

    guid: str
    due_at: datetime  # aware UTC


@dataclass(frozen=True, slots=True)
class DeliveryGroup:
    """Deliveries of a batch that are counted together."""

    is_undo: bool
    state: State
    reason_kind: str | None

    @property
    def has_result(self) -> bool:
        """True if they have ended, and would not go on with their batch."""
        return self.state not in OPEN and self.reason_kind not in (STOPPED, OVER_BUDGET)


@dataclass(frozen=True, slots=True)
class BatchOverview:
    batch: Batch
    groups: Mapping[DeliveryGroup, int]
    cost_usd: float  # with what calls in progress have reserved

    @property
    def size(self) -> int:
        """The number of deliveries: of those of the undo, if there are any."""
        return sum(self._current.values())

    @property
    def ended(self) -> int:
        """The number of deliveries that have ended, and would not go on with their batch."""
        return sum(number for group, number in self._current.items() if group.has_result)

    @property
    def _current(self) -> Mapping[DeliveryGroup, int]:
        undo = {group: number for group, number in self.groups.items() if group.is_undo}
        return undo or self.groups

    @property
    def state(self) -> BatchState:
        if all(group.is_undo for group in self.groups):
            return "deleted"
        if any(group.state in OPEN for group in self.groups):
            return "running"
        if self.batch.state == "undone":
            return "undone"
        kinds = {group.reason_kind for group in self.groups if not group.is_undo}
        if self.batch.state == "stopped" and STOPPED in kinds:
            return "stopped"
        if OVER_BUDGET in kinds:
            return "over budget"
        return "done"


@dataclass(frozen=True, slots=True)
class Progress(BatchOverview):
    deliveries: Sequence[BatchDelivery]  # by number
    undo: Sequence[BatchDelivery]  # those that take it back

    @property
    def shown(self) -> Sequence[BatchDelivery]:
        """The deliveries of the undo, if there are any."""
        return self.undo or self.deliveries

    @property
    def budget_problem(self) -> str:
        """Why its budget allows no further call, and what goes on; "" unless it is over budget."""
        if self.state != "over budget":
            return ""
        reasons = (one.reason for one in self.deliveries if one.reason_kind == OVER_BUDGET)
        return next(reasons) or ""


@dataclass(frozen=True, slots=True)
class SummedCalls:
    cost_usd: float = 0.0
    duration_s: float = 0.0
    calls: int = 0


class Batches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        new: NewBatch,
        subjects: Sequence[NewDelivery],
        *,
        by: str,
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        """Store a batch of the person `by` with its deliveries, in one transaction. Return its id.

        The GUID of each subject is what tells it from the others of the batch: "17-0". Subjects
        with a conversation that was processed meanwhile are left out. `facts` has for the GUID of a
        subject that of the delivery whose facts, and settings of its repository, are copied.
        """
        columns = {
            "kind": new.kind,
            "repository_id": new.repository_id,
            "repository": new.repository,
            "started_by": by,
            "max_micro_usd": round(new.max_usd * 1_000_000),
            "state": "open",
            "terms": json.dumps(dict(new.terms)),
            "plan": json.dumps(dict(new.plan)),
        }
        rows = _make_rows(subjects)  # compressed before the transaction
        with self._database.writing() as connection:
            now = self._database.lock_accepts(connection)
            keys = {str(row["conversation_key"]) for row in rows if row["conversation_key"]}
            processed = self._find_processed(connection, keys)
            insert = batches.insert().values(**columns, started_at=now).returning(_b.id)
            batch = int(connection.execute(insert).scalar_one())
            begun = [row for row in rows if row["conversation_key"] not in processed]
            for row in begun:
                row |= {"guid": f"{BATCHED}{batch}-{row['guid']}"}
            self._insert(connection, batch, begun, now)
            for subject, guid in facts.items():
                self._copy_facts(connection, guid, f"{BATCHED}{batch}-{subject}")
        log_act(by, "batch", [f"{new.kind} {new.repository} batch {batch}"], number=len(begun))
        return batch

    def _copy_facts(self, connection: Connection, guid: str, to: str) -> None:
        old = deliveries.alias("old")
        names = [column.name for column in checkpoints.c if column.name != "delivery_id"]
        copied = (
            select(_d.id, *(checkpoints.c[name] for name in names))
            .join_from(checkpoints, old, old.c.id == checkpoints.c.delivery_id)
            .join(deliveries, _d.guid == to)
            .where(old.c.guid == guid, checkpoints.c.name.in_(FACTS))
        )
        connection.execute(checkpoints.insert().from_select(["delivery_id", *names], copied))

    def _insert(
        self, connection: Connection, batch: int, rows: Sequence[dict[str, object]], now: int
    ) -> None:
        for row in rows:
            row |= {"batch_id": batch, "received_at": now, "queued_at": now, "due_at": now}
            row |= {"sort_key": sort_key(now, PRIORITY_BATCH)}
        self._database.insert_rows(connection, deliveries, rows, if_new=True)

    def find_processed(
        self, repository_id: int, numbers: Collection[int], *, in_dry_runs: bool
    ) -> frozenset[int]:
        """Return the issues that HLS has processed or will process, or that are in a batch; not
        those of batches that were taken back. A dry run, which wrote nothing, counts `in_dry_runs`.
        """
        keys = {conversation_key(repository_id, number): number for number in numbers}
        is_labelled = and_(labels.c.repository_id == repository_id, labels.c.number.in_(numbers))
        with self._database.reading() as connection:
            processed = self._find_processed(
                connection, [str(key) for key in keys], in_dry_runs=in_dry_runs
            )
            # deliveries are deleted after some time
            labelled = connection.execute(select(labels.c.number).where(is_labelled)).scalars()
            return frozenset(keys[key] for key in processed) | frozenset(labelled)

    def _find_processed(
        self, connection: Connection, keys: Collection[str], *, in_dry_runs: bool = False
    ) -> Set[str]:
        is_done = and_(_d.state == "done", _d.analysis_status.is_not(None))
        if not in_dry_runs:
            is_done = and_(is_done, _d.posting_status.is_distinct_from("dry_run"))
        is_resumable = and_(_d.batch_id.is_not(None), _d.reason_kind.in_([STOPPED, OVER_BUDGET]))
        undone = select(_b.id).where(_b.state == "undone")
        query = (
            select(_d.conversation_key)
            .distinct()
            .where(
                self._database.is_one_of(_d.conversation_key, "keys"),
                or_(_d.state.in_(["queued", "running"]), is_done, is_resumable),
                or_(_d.batch_id.is_(None), _d.batch_id.not_in(undone)),
                _d.request_id != UNDO,
            )
        )
        return set(connection.execute(query, {"keys": list(keys)}).scalars())

    def mark_undone(self, batch: int, *, by: str) -> None:
        """Let no worker begin another delivery of the batch."""
        with self._database.writing() as connection:
            connection.execute(batches.update().where(_b.id == batch).values(state="undone"))
        log_act(by, "undo batch", [f"batch {batch}"])

    def add(self, batch: int, subjects: Sequence[NewDelivery]) -> None:
        """Store more deliveries of a batch, unless they exist."""
        rows = _make_rows(subjects)
        with self._database.writing() as connection:
            now = self._database.lock_accepts(connection)
            self._insert(connection, batch, rows, now)

    def find_first(self, batch: int) -> FirstDelivery | None:
        """Return the first open delivery of a batch; None as soon as one is done."""
        is_of_batch = and_(_d.batch_id == batch, _d.request_id != UNDO)
        is_done = select(_d.id).where(is_of_batch, _d.state == literal("done")).exists()
        first = (
            select(_d.guid, _d.due_at)
            .where(is_of_batch, _d.state.in_(OPEN), ~is_done)
            .order_by(_d.id)
            .limit(1)
        )
        with self._database.reading() as connection:
            row = connection.execute(first).first()
        return None if row is None else FirstDelivery(row.guid, from_ms(row.due_at))

    def stop(self, batch: int, *, by: str) -> None:
        """End the waiting deliveries of a batch as ignored. Those in work go on, and an undo."""
        self.halt(batch, f"batch {batch} was stopped")
        log_act(by, "stop batch", [f"batch {batch}"])

    def halt(self, batch: int, reason: str) -> None:
        """End the waiting deliveries of a batch as ignored, with the reason."""
        waiting = deliveries.update().where(
            _d.batch_id == batch, _d.state == literal("queued"), _d.request_id != UNDO
        )
        ended = waiting.values(
            state="ignored",
            reason=reason,
            reason_kind=STOPPED,
            cause=None,
            finished_at=self._database.now,
        )
        self._change(batch, {"state": "stopped"}, ended)

    def resume(
        self, batch: int, *, max_usd: float | None, by: str, again: Collection[str] = ()
    ) -> None:
        """Queue the deliveries again that a stop or the budget of the batch has ended, or that
        ended with a kind in `again`.

        Raises `Permanent`, and changes nothing, if retention has deleted the event of one.
        """
        is_ended = and_(
            _d.batch_id == batch,
            _d.state.in_(["ignored", "done"]),
            _d.reason_kind.in_([STOPPED, OVER_BUDGET, *again]),
        )
        lost = select(func.count()).select_from(deliveries).where(is_ended, _d.body.is_(None))
        queued = {
            "state": "queued",
            "reason": None,
            "reason_kind": None,
            "due_at": self._database.now,
            "finished_at": None,
            "duration_ms": None,
        }
        changes: dict[str, object] = {"state": "open"}
        if max_usd is not None:
            changes["max_micro_usd"] = round(max_usd * 1_000_000)
        with self._database.reading() as connection:
            number = connection.execute(lost).scalar_one()
        if number:
            raise Permanent(
                f"batch {batch} cannot go on, because the events of {number} of its deliveries"
                f" were deleted (storage.body_days); `hls batch show {batch}` has its results:"
                f" begin another batch, of open issues after `hls batch undo {batch}`"
            )
        self._change(batch, changes, deliveries.update().where(is_ended).values(queued))
        log_act(by, "continue batch", [f"batch {batch}"])

    def _change(self, batch: int, changes: Mapping[str, object], update: Update) -> None:
        with self._database.writing() as connection:
            self._database.lock_accepts(connection)
            is_open = and_(_b.id == batch, _b.state != "undone")
            connection.execute(batches.update().where(is_open).values(**changes))
            connection.execute(update)

    def find(self, batch: int) -> Batch | None:
        if batch > MAX_BATCH_ID:
            return None
        with self._database.reading() as connection:
            row = connection.execute(select(batches).where(_b.id == batch)).first()
        if row is None:
            return None
        return _to_batch(row)

    def newest(self, *, limit: int) -> Sequence[BatchOverview]:
        """Return the newest batches, with two statements."""
        paid = select(func.sum(calls.c.cost_micro_usd)).where(calls.c.batch_id == _b.id)
        deleted = select(deleted_review_calls.c.cost_micro_usd).where(
            deleted_review_calls.c.review_key
            == literal_column("'batch '").concat(cast(_b.id, Text))
        )
        costs = (paid.scalar_subquery().label("paid"), deleted.scalar_subquery().label("deleted"))
        rows = select(batches, *costs).order_by(_b.id.desc()).limit(limit)
        columns = (_d.batch_id, (_d.request_id == UNDO).label("is_undo"), _d.state, _d.reason_kind)
        with self._database.reading() as connection:
            found = connection.execute(rows).all()
            is_shown = _d.batch_id.in_([row.id for row in found])
            counted = select(*columns, func.count()).where(is_shown).group_by(*columns)
            counts = connection.execute(counted).all()
        groups: dict[int, dict[DeliveryGroup, int]] = {row.id: {} for row in found}
        for batch, is_undo, state, kind, number in counts:
            groups[batch][DeliveryGroup(bool(is_undo), state, kind)] = number
        return [
            BatchOverview(
                _to_batch(row),
                groups[row.id],
                (int(row.paid or 0) + int(row.deleted or 0)) / 1_000_000,
            )
            for row in found
        ]

    def load_progress(self, batch: Batch) -> Progress:
        columns = [_d[name] for name in BatchDelivery.__annotations__]
        query = select(*columns).where(_d.batch_id == batch.id).order_by(_d.number, _d.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            cost = read_batch_cost(connection, batch.id)
        found = [from_row(BatchDelivery, row) for row in rows]
        batch_deliveries = [delivery for delivery in found if delivery.request_id != UNDO]
        undo = [delivery for delivery in found if delivery.request_id == UNDO]
        groups = Counter(
            DeliveryGroup(one.request_id == UNDO, one.state, one.reason_kind)
            for one in [*batch_deliveries, *undo]
        )
        return Progress(batch, groups, cost / 1_000_000, batch_deliveries, undo)

    def sum_calls(self, batch: int) -> Mapping[str, SummedCalls]:
        """Return the sums over the stored calls, by the GUID of their deliveries."""
        query = (
            select(
                _d.guid,
                func.sum(calls.c.cost_micro_usd),
                func.sum(calls.c.duration_ms),
                func.count(),
            )
            .join(calls, calls.c.delivery_id == _d.id)
            .where(calls.c.batch_id == batch)
            .group_by(_d.guid)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {
            guid: SummedCalls(int(cost or 0) / 1_000_000, int(duration or 0) / 1_000, number)
            for guid, cost, duration, number in rows
        }

    def load_steps(self, batch: int, name: str) -> Mapping[str, Checkpoint]:
        """Return the checkpoints of one name, by the GUID of their deliveries."""
        step = checkpoints.c
        query = (
            select(_d.guid, step.version, step.value)
            .join(checkpoints, step.delivery_id == _d.id)
            .where(_d.batch_id == batch, step.name == name)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {
            row.guid: Checkpoint(name, 0, row.version, decompress_text(row.value)) for row in rows
        }


def _make_rows(subjects: Sequence[NewDelivery]) -> list[dict[str, object]]:
    return [make_row(msgspec.structs.replace(one, priority=PRIORITY_BATCH)) for one in subjects]


def _to_batch(row: Row[Any]) -> Batch:
    terms = json.loads(row.terms)
    plan = json.loads(row.plan)
    return from_row(Batch, row, max_usd=row.max_micro_usd / 1_000_000, terms=terms, plan=plan)
