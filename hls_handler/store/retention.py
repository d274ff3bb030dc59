"""Retention: what is finished is forgotten after a while, a few at a time, and what it came to stays summed up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Select, case, exists, func, or_, select

from hls_handler.store.figures import summed_up
from hls_handler.store.part import Part, literal
from hls_handler.store.tables import calls, deliveries, forgotten_calls

_ADVISORY_LOCK = 7_246_176  # any number that stands for "forgetting what is old"

_c = deliveries.c
_older = deliveries.alias("older")
_IS_FINISHED = or_(*(_c.state == literal(state) for state in ("done", "ignored", "superseded", "dead")))
_MAY_RUN_AGAIN = or_(*(_older.c.state == literal(state) for state in ("queued", "running", "dead")))
_IS_NEWS_TO_NOBODY = ~exists().where(_older.c.thread_key == _c.thread_key, _older.c.id < _c.id, _MAY_RUN_AGAIN)
"""What came later on its thread ends a delivery's work (a newer commit, a closing): it stays as long as that work."""


class Retaining(Part):
    """What bounds the database. Each method is one short transaction that takes up at most so many deliveries.

    Nothing that is queued or running is touched. None: another process is at it (PostgreSQL).
    """

    def forget_deliveries(self, *, after: timedelta, most: int) -> int | None:
        """Delete deliveries that were finished so long ago, with their steps, calls and analyses; how many.

        What their calls came to is added to what `prompt_figures` sums up. Counters are not touched.
        """
        with self._alone() as connection:
            if connection is None:
                return None
            ids = self._finished(connection, _IS_NEWS_TO_NOBODY, after=after, most=most)
            if ids:
                self._sum_up(connection, ids)
                connection.execute(deliveries.delete().where(_c.id.in_(ids)))
        return len(ids)

    def forget_bodies(self, *, after: timedelta, most: int) -> int | None:
        """Empty the bodies of deliveries that were finished so long ago; how many. Their digests stay, for replays."""
        with self._alone() as connection:
            if connection is None:
                return None
            ids = self._finished(connection, _c.body.is_not(None), after=after, most=most)
            if ids:
                connection.execute(deliveries.update().where(_c.id.in_(ids)).values(body=None))
        return len(ids)

    @contextmanager
    def _alone(self) -> Iterator[Connection | None]:
        """A transaction in which no other process forgets; None where one does."""
        with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transaction has the only writer's lock already
                alone: bool = connection.execute(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))).scalar_one()
                yield connection if alone else None
            else:
                yield connection

    def _finished(
        self, connection: Connection, which: ColumnElement[bool], *, after: timedelta, most: int
    ) -> list[int]:
        """The longest finished of them, which nobody else holds; they stay so until the transaction ends."""
        before = self._database.now - after // timedelta(milliseconds=1)
        chosen: Select[int] = (
            select(_c.id)
            .where(_c.finished_at < before, _IS_FINISHED, which)
            .order_by(_c.finished_at)
            .limit(most)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        return list(connection.execute(chosen).scalars())

    def _sum_up(self, connection: Connection, ids: list[int]) -> None:
        for row in summed_up(connection, calls.c.delivery_id.in_(ids)):
            new = self._database.insert(forgotten_calls).values(
                prompt_id=row.prompt_id,
                answers=row.answers,
                cost_micro_usd=row.cost_micro_usd,
                calls_of_unknown_cost=row.calls_of_unknown_cost,
                last_error=row.last_error,
                last_error_at=row.last_error_at,
            )
            before, more = forgotten_calls.c, new.excluded
            is_later = func.coalesce(more["last_error_at"], -1) > func.coalesce(before.last_error_at, -1)
            sums = ("answers", "cost_micro_usd", "calls_of_unknown_cost")
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["prompt_id"],
                    set_={name: before[name] + more[name] for name in sums}
                    | {
                        name: case((is_later, more[name]), else_=before[name])
                        for name in ("last_error", "last_error_at")
                    },
                )
            )
