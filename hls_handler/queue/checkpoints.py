"""Checkpoints of deliveries, and the transactions in which a claimed delivery stores what it
changed.

Changes wait in memory until the delivery's next transaction, which first checks that the lease is
valid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    literal_column,
    select,
)

from hls_handler.db.counters import CounterWriter, Counts, Group
from hls_handler.db.database import Database
from hls_handler.db.tables import checkpoints, deliveries
from hls_handler.db.values import compress_text, decompress_text, from_row, to_ms
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import HlsError
from hls_handler.queue.leases import is_held, lease_lost, lease_parameters

_d = deliveries.c

DELIVERY_ID = select(_d.id).where(_d.guid == bindparam("of_guid")).scalar_subquery()
"""Subquery for the row id of the delivery with the GUID `of_guid`."""


class RowChange(Protocol):
    """A change of rows besides the checkpoints, such as that a label was set."""

    def write(self, database: Database, connection: Connection, delivery_id: int, /) -> Counts:
        """Write the rows in the caller's transaction. Return counter increments."""
        ...


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Store columns of the delivery's row."""

    columns: Mapping[str, object]  # {"posting_status": "failed", "posting_error": "403"}


ANALYSED = StatusChange({"analysis_status": "done", "analysis_error": None})

Change = Checkpoint | StatusChange | RowChange


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """A further condition of a delivery's transaction, read by the statement that checks the
    lease.
    """

    query: Select[Any]  # the result of `Checkpoints.select_held`
    terms: Mapping[str, object]  # the values of the bind parameters of its columns
    find_error: Callable[[Connection, Row[Any]], HlsError | None]


class PendingChanges:
    """Changes that the delivery's next transaction stores, in the order in which they were added.
    Not thread-safe.
    """

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def add(self, change: Change) -> None:
        self._changes.append(change)

    def take(self) -> tuple[Change, ...]:
        """Return and remove all changes; the caller must store them."""
        changes = tuple(self._changes)
        self._changes = []
        return changes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Changes to store. Checkpoints are already compressed, to keep the transaction short for other
    writers.
    """

    checkpoints: tuple[Mapping[str, object], ...] = ()
    columns: dict[str, object] = field(default_factory=dict)
    others: tuple[RowChange, ...] = ()
    is_progress: bool = False  # True if a checkpoint is progress


def prepare(changes: Sequence[Change], *, is_progress: bool = False) -> Prepared:
    """Return the changes to store. With `is_progress`, they count as progress in any case."""
    steps = list[Checkpoint]()
    columns = dict[str, object]()
    others = list[RowChange]()
    for change in changes:
        match change:
            case Checkpoint():
                steps.append(change)
            case StatusChange():
                columns |= change.columns
            case _:
                others.append(change)
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
    is_progress = is_progress or any(step.is_progress for step in steps)
    return Prepared(tuple(rows.values()), columns, tuple(others), is_progress)


class Checkpoints:
    def __init__(self, database: Database, counters: CounterWriter) -> None:
        self._database = database
        self.counters = counters
        self._held = is_held(database.now)
        self._select = self.select_held()
        self._update = deliveries.update().where(self._held)
        save = database.upsert(
            checkpoints, "version", "duration_ms", "started_at", "github_requests", "value"
        )
        self._save = database.make_rows_insert(save)

    def select_held(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return the query for the row of a leased delivery, with more columns for a
        `LeaseCheck`.
        """
        is_marked = and_(
            _d.has_progress, _d.crashes == literal_column("0"), _d.first_failure_at.is_(None)
        )
        row = select(_d.id, is_marked.label("has_progressed"), *columns).where(self._held)
        return row.with_for_update(of=deliveries)

    def load(self, guid: str) -> dict[tuple[str, int], Checkpoint]:
        """Return all checkpoints of a delivery, by name and index."""
        query = select(checkpoints).where(checkpoints.c.delivery_id == DELIVERY_ID)
        with self._database.reading() as connection:
            return {
                (row.name, row.step_index): from_row(
                    Checkpoint,
                    row,
                    index=row.step_index,
                    value=decompress_text(row.value),
                    is_progress=True,
                )
                for row in connection.execute(query, {"of_guid": guid})
            }

    def save(self, lease: Lease, *changes: Change) -> None:
        """Store changes. Raises `LeaseLost`.

        A checkpoint replaces the one with the same name and index. If it is progress, it resets the
        number of crashes and the time of the first failure. Other changes do not, because a
        delivery that crashes at each write to GitHub must not be retried without end.
        """
        with self.writing(lease, changes, durable=False):
            pass

    def delete(self, lease: Lease, name: str) -> None:
        """Delete all checkpoints called `name`, so that their steps are repeated. Raises
        `LeaseLost`.
        """
        with self.writing(lease, durable=False) as (connection, row_id):
            connection.execute(
                checkpoints.delete().where(
                    checkpoints.c.delivery_id == row_id, checkpoints.c.name == name
                )
            )

    @contextmanager
    def writing(
        self,
        lease: Lease,
        changes: Sequence[Change] = (),
        *,
        durable: bool = True,
        check: LeaseCheck | None = None,
        is_progress: bool = False,
    ) -> Iterator[tuple[Connection, int]]:
        """Begin a transaction that stores what `save` does; yield it with the delivery's row id.
        Raises `LeaseLost`.

        If the block raises an error, nothing is stored. If `check` finds an error, the changes are
        stored and the error is raised instead of beginning the block.
        """
        prepared = prepare(changes, is_progress=is_progress)
        error: HlsError | None = None
        with self._database.writing(durable=durable) as connection:
            held = self._find_held(connection, lease, check)
            if held is None:
                raise lease_lost(lease)
            self._store(connection, lease, held, prepared)
            if check is not None:
                error = check.find_error(connection, held)
            if error is None:
                yield connection, held.id
        if error is not None:
            raise error

    def find(self, connection: Connection, lease: Lease, prepared: Prepared) -> int | None:
        """Store what `save` does in the caller's transaction. Return the row id; None for a lost
        lease.
        """
        held = self._find_held(connection, lease)
        if held is None:
            return None
        self._store(connection, lease, held, prepared)
        row_id: int = held.id
        return row_id

    def _find_held(
        self, connection: Connection, lease: Lease, check: LeaseCheck | None = None
    ) -> Row[Any] | None:
        parameters = lease_parameters(lease)
        if check is None:
            return connection.execute(self._select, parameters).first()
        return connection.execute(check.query, {**check.terms, **parameters}).first()

    def _store(
        self, connection: Connection, lease: Lease, held: Row[Any], prepared: Prepared
    ) -> None:
        columns = dict(prepared.columns)
        if prepared.is_progress and not held.has_progressed:
            columns |= {"has_progress": True, "crashes": 0, "first_failure_at": None}
        if columns:  # else no UPDATE: it writes the body again
            connection.execute(self._update, columns | lease_parameters(lease))
        counts = self.apply(connection, held.id, prepared)
        self.counters.add(connection, counts, Group(lease.repository))

    def apply(
        self, connection: Connection, row_id: int, prepared: Prepared
    ) -> Counter[tuple[str, str]]:
        """Store changes of other rows than the delivery's, without checking the lease.

        Return counter increments, which the caller must store.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for change in prepared.others:
            counts.update(change.write(self._database, connection, row_id))
        if prepared.checkpoints:
            connection.execute(
                self._save, [{"delivery_id": row_id, **row} for row in prepared.checkpoints]
            )
        return counts
