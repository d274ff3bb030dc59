"""Retention: deletes old finished deliveries in small batches. Keeps the sums of replies and costs for each prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Select, case, exists, func, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deleted_calls, deliveries
from hls_handler.db.values import literal
from hls_handler.history.calls import sum_calls

_ADVISORY_LOCK = 7_246_176  # identifies retention

_c = deliveries.c
_older = deliveries.alias("older")
_IS_FINISHED = or_(*(_c.state == literal(state) for state in ("done", "ignored", "superseded", "dead")))
_MAY_RUN_AGAIN = or_(*(_older.c.state == literal(state) for state in ("queued", "running", "dead")))
_IS_NEEDED_BY_NONE = ~exists().where(
    _older.c.conversation_key == _c.conversation_key, _older.c.id < _c.id, _MAY_RUN_AGAIN
)
"""Condition: no older delivery of the conversation may still run. This row may supersede the older delivery."""


class RetentionStore:
    """Deletes old finished deliveries and their bodies. Each method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None:
        """Delete up to `most` deliveries that finished longer ago than `after`; return how many.

        Deletes their checkpoints, calls and replies, too. Keeps the sums of the calls. Returns None if another process
        is deleting. Keeps a delivery while an older delivery of the same conversation may still run.
        """
        with self._exclusive() as connection:
            if connection is None:
                return None
            ids = self._lock_finished(connection, _IS_NEEDED_BY_NONE, after=after, most=most)
            if ids:
                self._keep_sums(connection, ids)
                connection.execute(deliveries.delete().where(_c.id.in_(ids)))
        return len(ids)

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        """Delete the bodies of up to `most` deliveries that finished longer ago than `after`.

        Returns the number of bodies, or None if another process is deleting. Keeps the digests, which detect replays.
        """
        with self._exclusive() as connection:
            if connection is None:
                return None
            ids = self._lock_finished(connection, _c.body.is_not(None), after=after, most=most)
            if ids:
                connection.execute(deliveries.update().where(_c.id.in_(ids)).values(body=None))
        return len(ids)

    @contextmanager
    def _exclusive(self) -> Iterator[Connection | None]:
        with self._database.writing() as connection:
            if self._database.file is not None:  # SQLite's transaction has the only write lock
                yield connection
            else:
                locked: bool = connection.execute(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))).scalar_one()
                yield connection if locked else None  # None: another process is deleting

    def _lock_finished(
        self, connection: Connection, which: ColumnElement[bool], *, after: timedelta, most: int
    ) -> list[int]:
        before = self._database.now - after // timedelta(milliseconds=1)
        chosen: Select[int] = (
            select(_c.id)
            .where(_c.finished_at < before, _IS_FINISHED, which)
            .order_by(_c.finished_at)
            .limit(most)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        return list(connection.execute(chosen).scalars())

    def _keep_sums(self, connection: Connection, ids: list[int]) -> None:
        for row in sum_calls(connection, calls.c.delivery_id.in_(ids)):
            new = self._database.insert(deleted_calls).values(row)
            before, more = deleted_calls.c, new.excluded
            is_later = func.coalesce(more["last_error_at"], -1) > func.coalesce(before.last_error_at, -1)
            sums = {name: before[name] + more[name] for name in ("replies", "cost_micro_usd", "calls_of_unknown_cost")}
            latest = {
                name: case((is_later, more[name]), else_=before[name]) for name in ("last_error", "last_error_at")
            }
            connection.execute(new.on_conflict_do_update(index_elements=["prompt_id"], set_=sums | latest))
