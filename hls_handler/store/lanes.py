"""Lanes: the open deliveries of one thread, one behind the other, so that a claim looks only at the first of each.

A delivery that is stored while an older one of its thread is open is marked as behind it. Whatever ends an open
delivery lets the next of its lane come to the front. The mark only saves looking: that the oldest of a thread goes
first, and alone, is a condition of the claim itself, and a mark that stayed by mistake (an older HLS, which knows no
marks, ended the one before) is removed by `unmark_strays`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, exists, select

from hls_handler.store.connection import Connection
from hls_handler.store.database import LANES, Database
from hls_handler.store.part import Part, literal
from hls_handler.store.tables import deliveries

_c = deliveries.c
_one, _other = deliveries.alias("one"), deliveries.alias("other")

OPEN = (literal("queued"), literal("running"))

_BUSY = select(_c.thread_key).where(_c.state.in_(OPEN)).distinct()
_FIRST_QUEUED = (
    select(_one.c.id)
    .where(_one.c.thread_key == bindparam("of_thread"), _one.c.state == literal("queued"))
    .order_by(_one.c.id)
    .limit(1)
)
_RUNS = exists().where(_other.c.thread_key == bindparam("of_thread"), _other.c.state == literal("running"))
_COME_TO_THE_FRONT = (
    deliveries.update()
    .where(_c.id == _FIRST_QUEUED.scalar_subquery(), _c.state == literal("queued"), _c.behind, ~_RUNS)
    .values(behind=False)
)
_STRAYS = select(_one.c.id).where(
    _one.c.state == literal("queued"),
    _one.c.behind,
    ~exists().where(_other.c.thread_key == _one.c.thread_key, _other.c.state.in_(OPEN), _other.c.id < _one.c.id),
)


class Lanes(Part):
    """What looks after marks that nobody removed."""

    def unmark_strays(self) -> int:
        """Remove marks from deliveries that are behind nobody; how many there were, which should be none."""
        with self._database.reading() as connection:
            strays = connection.run(_STRAYS).scalars()
        if not strays:
            return 0
        unmark = deliveries.update().where(_c.id.in_(strays), _c.behind).values(behind=False)
        with self._database.writing() as connection:
            return connection.execute(unmark).rowcount


def busy_lanes(database: Database, connection: Connection, threads: Iterable[str]) -> set[str]:
    """Which of these threads have open deliveries. Until the transaction ends, none of those leaves its lane."""
    wanted = sorted(set(threads))
    if not wanted:
        return set()
    among = database.among(_BUSY, _c.thread_key)
    busy = {row.thread_key for row in among.rows(connection, [(thread,) for thread in wanted])}
    if busy and database.lock_names(connection, LANES, busy):
        busy = {row.thread_key for row in among.rows(connection, [(thread,) for thread in sorted(busy)])}
    return busy


def let_next_come(database: Database, connection: Connection, threads: Iterable[str | None]) -> None:
    """Something of these threads has just ended: let the first that is left come to the front."""
    lanes = sorted({thread for thread in threads if thread is not None})
    database.lock_names(connection, LANES, lanes)
    for thread in lanes:
        connection.run(_COME_TO_THE_FRONT, {"of_thread": thread})
