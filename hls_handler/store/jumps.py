"""Jumps of the database's clock: a leap, forward or back, that no time passed for; what is kept of time goes along.

Somebody sets a clock, a server takes over whose clock is another, a machine was asleep. Each process holds the
database's clock against its own monotonic one. Whoever sees a jump first moves what is under way by as much, in one
transaction: what was to happen in ten minutes still happens in ten minutes, and no lease ends or lasts for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, and_, bindparam, or_, select, text, true

from hls_handler.store.clock import HOUR_MS
from hls_handler.store.connection import Connection
from hls_handler.store.look import LEAST_MS, Look, jump_between, left_to_move
from hls_handler.store.part import Part, literal
from hls_handler.store.tables import calls, deliveries, locks, pace, repository_files, turns

BEAT_MS = 10_000
"""How often a process notes that it has seen this time come, so that one that slept meanwhile does not take its own
sleep for a jump."""

CLOCK = "clock"
"""The name of the row of `pace` in which that is noted, as `taken_at`."""

_UNSEEN_MS = 120_000  # a jump is older than this when it is seen only if every process stood still

_c = deliveries.c
_OPEN = or_(_c.state == literal("queued"), _c.state == literal("running"))


class Steadying(Part):
    """The part of the store that looks at the clock."""

    def steady(self) -> float:
        """Move what is under way along with a clock that has jumped since the last look; by how many seconds it did.

        0.0 for a clock that just goes on. To be asked every second: what is written between a jump forward and the
        next look is refused, since its lease has ended by this clock.
        """
        watch = self._database.watch
        with watch.lock:
            with self._database.reading() as connection:
                look, beat = self._database.look(connection), connection.run(_BEAT).scalar()
            jump = _jump(watch.before, look, beat)
            if jump:
                look, jump = self._move_along(watch.before)
            elif beat is None or (watch.before is not None and look.at - beat >= BEAT_MS):
                self._note_time(watch.before)
            watch.before = look
            return jump / 1000

    def _has_jumped(self, connection: Connection) -> bool:
        """Whether the clock has jumped forward since the last look, so that leases only seem to have ended."""
        before = self._database.watch.before
        return before is not None and jump_between(before, self._database.look(connection)) > 0

    def _move_along(self, before: Look | None) -> tuple[Look, int]:
        """All at once, unless another process was faster; the look and the jump that it was done by."""
        with self._database.writing() as connection:
            if connection.dialect.name == "postgresql":  # whoever holds one row of it may want another
                connection.execute(text("LOCK TABLE deliveries IN EXCLUSIVE MODE"))
            beat = connection.run(_BEAT).scalar()
            look = self._database.look(connection)
            jump = _jump(before, look, beat)
            by = left_to_move(jump, now=look.at, beat=look.at if beat is None else beat)
            if by:
                _move(connection, by, now=look.at)
                connection.run(_NOTE, {"now": look.at})
            return look, jump

    def _note_time(self, before: Look | None) -> None:
        """Note that this time has come, unless the clock has jumped just now."""
        fresh = {"name": CLOCK, "next_at": 0, "held_until": 0, "taken_at": 0}
        with self._database.writing() as connection:
            self._database.insert_rows(connection, pace, [fresh], if_new=True)
            beat = connection.execute(_BEAT.with_for_update()).scalar()
            look = self._database.look(connection)
            if not _jump(before, look, beat):
                connection.run(_NOTE, {"now": look.at})


def _jump(before: Look | None, look: Look, beat: int | None) -> int:
    """A process that begins knows of a jump only where somebody has noted a time that is still to come."""
    if before is not None:
        return jump_between(before, look)
    ahead = 0 if beat is None else beat - look.at
    return -ahead if ahead > LEAST_MS else 0


_NOTE = pace.update().where(pace.c.name == CLOCK).values(taken_at=bindparam("now"))
_BEAT = select(pace.c.taken_at).where(pace.c.name == CLOCK)


def _move(connection: Connection, by: int, *, now: int) -> None:
    """What was written since the jump is by the new clock, and stays as it is; so does what has ended."""
    since_ms = min(abs(by) // 2, _UNSEEN_MS)
    forward = by > 0

    def of_before(column: Column[Any]) -> ColumnElement[bool]:
        """Of a moment about now: whether it is by the clock before the jump."""
        return column <= now - since_ms if forward else column > now + since_ms

    def move(*columns: Column[Any], where: ColumnElement[bool]) -> None:
        moved = {column.name: column + by for column in columns}
        connection.execute(columns[0].table.update().where(where).values(moved))

    waited = and_(_OPEN, _c.queued_at <= now - since_ms) if forward else _OPEN
    move(_c.received_at, _c.queued_at, _c.rank, _c.due_at, _c.first_failure_at, where=waited)
    for until in (_c.lease_until, locks.c.locked_until):
        move(until, where=until <= now if forward else of_before(until))
    for column in (turns.c.slot_at, pace.c.next_at, pace.c.held_until, pace.c.taken_at):
        is_moment = pace.c.name != CLOCK if column.table is pace else true()
        move(column, where=and_(is_moment, column > 0, of_before(column)))
    lately = calls.c.started_at > min(now, now - by) - HOUR_MS
    move(
        calls.c.started_at,
        calls.c.finished_at,
        where=and_(lately, of_before(calls.c.started_at)) if forward else lately,
    )
    still_to_come = repository_files.c.read_at > now
    connection.execute(repository_files.update().where(still_to_come).values(read_at=now))
