"""Batches: their terms, their deliveries and their cost; how they begin, stop and continue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Row, Update, func, select

from hls_handler.db.database import Database
from hls_handler.db.tables import batches, calls, deliveries
from hls_handler.db.values import from_row, literal
from hls_handler.deliveries import BATCHED, PRIORITY_BATCH, NewDelivery, State
from hls_handler.operators import log_act
from hls_handler.queue.accepting import make_row, make_times
from hls_handler.store.budgets import OVER_BUDGET
from hls_handler.store.calls import BatchBudget, read_batch_cost

Kind = Literal["try"]
BatchState = Literal["running", "done", "stopped", "over budget", "deleted"]
"""deleted: retention has deleted its deliveries (`storage.keep_days`)."""

STOPPED = "stopped"
"""`IgnoredKind` of deliveries that a person stopped with their batch."""

_b = batches.c
_d = deliveries.c


@dataclass(frozen=True, slots=True)
class NewBatch:
    kind: Kind
    repository_id: int
    repository: str
    max_usd: float
    terms: Mapping[str, Any]  # the options, as JSON
    plan: Mapping[str, Any]  # what was chosen, and left out, as JSON


@dataclass(frozen=True, slots=True)
class Batch:
    id: int
    kind: Kind
    repository_id: int
    repository: str
    started_by: str  # as `operators.log_act`
    started_at: datetime  # aware UTC
    max_usd: float
    state: Literal["open", "stopped"]
    terms: Mapping[str, Any]
    plan: Mapping[str, Any]

    @property
    def budget(self) -> BatchBudget:
        return BatchBudget(self.id, self.max_usd)


@dataclass(frozen=True, slots=True)
class BatchDelivery:
    guid: str
    number: int
    title: str | None
    request_id: str
    state: State
    reason: str | None
    reason_kind: str | None

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def has_result(self) -> bool:
        """True if it has ended, and would not go on with its batch."""
        return not self.is_open and self.reason_kind not in (STOPPED, OVER_BUDGET)


@dataclass(frozen=True, slots=True)
class Progress:
    batch: Batch
    deliveries: Sequence[BatchDelivery]  # by number
    cost_usd: float  # with what calls in progress have reserved

    @property
    def ended(self) -> int:
        return sum(not delivery.is_open for delivery in self.deliveries)

    @property
    def state(self) -> BatchState:
        if not self.deliveries:
            return "deleted"
        if any(delivery.is_open for delivery in self.deliveries):
            return "running"
        kinds = {delivery.reason_kind for delivery in self.deliveries}
        if self.batch.state == "stopped" and STOPPED in kinds:
            return "stopped"
        if OVER_BUDGET in kinds:
            return "over budget"
        return "done"


class Batches:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, new: NewBatch, subjects: Sequence[NewDelivery], *, by: str) -> int:
        """Store a batch of the person `by` with its deliveries, in one transaction. Return its id.

        The GUID of each subject is what tells it from the others of the batch: "17-0".
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
        subjects = [msgspec.structs.replace(one, priority=PRIORITY_BATCH) for one in subjects]
        rows = [make_row(subject) for subject in subjects]  # compressed before the transaction
        with self._database.writing() as connection:
            now = self._database.lock_accepts(connection)
            insert = batches.insert().values(**columns, started_at=now).returning(_b.id)
            batch = int(connection.execute(insert).scalar_one())
            for subject, row in zip(subjects, rows, strict=True):
                row |= make_times(subject, now)
                row |= {"guid": f"{BATCHED}{batch}-{subject.guid}", "batch_id": batch}
                row |= {"received_at": now}
            self._database.insert_rows(connection, deliveries, rows)
        log_act(by, "batch", [f"{new.kind} {new.repository} batch {batch}"], number=len(subjects))
        return batch

    def stop(self, batch: int, *, by: str) -> None:
        """End the waiting deliveries of a batch as ignored. Those in work go on."""
        waiting = deliveries.update().where(_d.batch_id == batch, _d.state == literal("queued"))
        ended = waiting.values(
            state="ignored",
            reason=f"batch {batch} was stopped",
            reason_kind=STOPPED,
            cause=None,
            finished_at=self._database.now,
        )
        self._change(batch, {"state": "stopped"}, ended)
        log_act(by, "stop batch", [f"batch {batch}"])

    def resume(self, batch: int, *, max_usd: float | None, by: str) -> None:
        """Queue the deliveries again that a stop or the budget of the batch has ended."""
        ended = deliveries.update().where(
            _d.batch_id == batch,
            _d.state == literal("ignored"),
            _d.reason_kind.in_([STOPPED, OVER_BUDGET]),
            _d.body.is_not(None),
        )
        queued = ended.values(
            state="queued",
            reason=None,
            reason_kind=None,
            due_at=self._database.now,
            finished_at=None,
            duration_ms=None,
        )
        changes: dict[str, object] = {"state": "open"}
        if max_usd is not None:
            changes["max_micro_usd"] = round(max_usd * 1_000_000)
        self._change(batch, changes, queued)
        log_act(by, "continue batch", [f"batch {batch}"])

    def _change(self, batch: int, changes: Mapping[str, object], update: Update) -> None:
        with self._database.writing() as connection:
            self._database.lock_accepts(connection)
            connection.execute(batches.update().where(_b.id == batch).values(**changes))
            connection.execute(update)

    def find(self, batch: int) -> Batch | None:
        with self._database.reading() as connection:
            row = connection.execute(select(batches).where(_b.id == batch)).first()
        if row is None:
            return None
        return _to_batch(row)

    def newest(self, *, most: int) -> Sequence[Batch]:
        query = select(batches).order_by(_b.id.desc()).limit(most)
        with self._database.reading() as connection:
            return [_to_batch(row) for row in connection.execute(query)]

    def load_progress(self, batch: Batch) -> Progress:
        columns = [_d[name] for name in BatchDelivery.__annotations__]
        query = select(*columns).where(_d.batch_id == batch.id).order_by(_d.number, _d.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            cost = read_batch_cost(connection, batch.id)
        return Progress(batch, [from_row(BatchDelivery, row) for row in rows], cost / 1_000_000)

    def load_costs(self, batch: int) -> Mapping[str, float]:
        """Return the cost of the stored calls (USD) by the request id of their deliveries."""
        query = (
            select(_d.request_id, func.sum(calls.c.cost_micro_usd))
            .join(calls, calls.c.delivery_id == _d.id)
            .where(calls.c.batch_id == batch)
            .group_by(_d.request_id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {request_id: int(cost or 0) / 1_000_000 for request_id, cost in rows}


def _to_batch(row: Row[Any]) -> Batch:
    terms = json.loads(row.terms)
    plan = json.loads(row.plan)
    return from_row(Batch, row, max_usd=row.max_micro_usd / 1_000_000, terms=terms, plan=plan)
