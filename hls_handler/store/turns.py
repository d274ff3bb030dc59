"""Turns and locks: a worker that may not go on now is told when to come back, and waiting costs no worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, and_, bindparam, or_, select
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.deliveries import Lease
from hls_handler.errors import Wait
from hls_handler.store.clock import from_ms, has_passed, to_ms
from hls_handler.store.pace import Pace, Turn, next_turn
from hls_handler.store.part import OWN_ID, WRITTEN, Counts, literal
from hls_handler.store.steps import Keepable, Progressing, Write, packed
from hls_handler.store.tables import deliveries, locks, pace, turns

_LOCK_POLL_MS = 1_000


# Made once: making a statement costs as much as running it.
_PACE = (
    select(pace.c.next_at, pace.c.held_until, pace.c.taken_at)
    .where(pace.c.name == bindparam("of_pace"))
    .with_for_update()
)
_KEEP_PACE = pace.update().where(pace.c.name == bindparam("of_pace"))
_MINE = and_(turns.c.delivery_id == bindparam("of_delivery"), turns.c.pace == bindparam("of_pace"))
_ANSWERED = locks.delete().where(locks.c.name == bindparam("of_write"), locks.c.delivery_id == OWN_ID)
_TAKE_RESERVED = turns.delete().where(_MINE).returning(turns.c.slot_at)


class Turning(Progressing):
    """Paces, and locks by name."""

    def take_turn(
        self,
        lease: Lease,
        pace: str,
        *,
        interval_s: float,
        kept: Sequence[Keepable] = (),
        write: str | None = None,
        slowest_write_s: float = 0.0,
    ) -> None:
        """Return when it is this delivery's turn in a pace; turns are `interval_s` apart, over all workers.

        Otherwise a turn is reserved for the delivery and `Wait` raised: postpone it until then, and ask again. Either
        way what waits is `kept`. Raises `LeaseLost`.

        A turn to `write` under the lock of that name: from now on nobody gets that lock for `slowest_write_s`, not even
        after a crash or a restart, unless the write is `answered` before.
        """
        steps_to_keep = packed(kept)
        with self._database.writing() as connection:
            row_id = self._fenced_with(connection, lease, steps_to_keep)
            before = self._lock_pace(connection, pace)
            turn = self._turn(connection, row_id, pace, interval_s, before, self._database.now_in(connection))
            settles_at = None
            if turn.go and write is not None:
                begun = {"name": WRITTEN + write, "delivery_id": row_id, "ttl_ms": int(slowest_write_s * 1000)}
                if connection.execute(self._take, begun).first() is None:  # we held the lock, and it ran out
                    settles_at = connection.execute(self._settles_at, {"of_write": begun["name"]}).scalar()
        if not turn.go:
            raise Wait(f"waits for its turn ({pace})", at=from_ms(turn.slot_at))
        if settles_at is not None:
            raise _unanswered(settles_at)

    def hold_pace(self, pace: str, until: datetime) -> None:
        """No turns before `until`: the server said so. Turns reserved before it are void."""
        until_ms = to_ms(until)
        with self._database.writing() as connection:
            held = self._lock_pace(connection, pace)
            held_until = max(held.held_until, until_ms)
            self._keep_pace(connection, pace, Pace(max(held.next_at, until_ms), held_until, held.taken_at))

    def held_until(self, pace_name: str) -> datetime | None:
        """Until when the server said that nothing may be asked of it; None when it may be."""
        with self._database.reading() as connection:
            until: int | None = connection.execute(self._held, {"of_pace": pace_name}).scalar()
        return None if until is None else from_ms(until)

    def wait_no_more(self, *, forget_servers: bool = True) -> int:
        """Make everything that waits for a time due now, and forget what servers said; how many deliveries waited.

        For a start: whoever starts the service may have mended what they wait for. What still holds, they are told
        again. Where other machines are at work, one that joins them does not make them break a server's word
        (`forget_servers` false).
        """
        due = deliveries.update().where(
            deliveries.c.state == literal("queued"), deliveries.c.due_at > self._database.now
        )
        anew = {"next_at": 0} | ({"held_until": 0} if forget_servers else {})
        with self._database.writing() as connection:  # in the order in which a worker locks them: its row, pace, turn
            waited = connection.execute(due.values(due_at=self._database.now)).rowcount
            connection.execute(pace.update().values(anew))
            connection.execute(turns.delete())
            self._database.ring(connection)
        return waited

    def answered(self, lease: Lease, write: str) -> Write:
        """To be kept when a write has its answer: it takes no effect any more that is not seen by a look."""

        def forget(connection: Connection) -> Counts:
            connection.execute(_ANSWERED, {"of_write": WRITTEN + write, "of_guid": lease.guid})
            return {}

        return forget

    def lock(self, lease: Lease, name: str, *, ttl_s: float, kept: Sequence[Keepable] = ()) -> None:
        """Take a lock, or keep it for longer. Raises `Wait` while another delivery holds it, and `LeaseLost`.

        Nor does anybody get it while a write that was begun under it may still take effect. Either way what waits is
        `kept`. It ends when it is given back (`remember`), after `ttl_s`, or when the delivery stops running.
        """
        steps_to_keep, holder = packed(kept), None
        with self._database.writing(durable=False) as connection:
            row_id = self._fenced_with(connection, lease, steps_to_keep)
            lock = {"name": name, "delivery_id": row_id, "ttl_ms": int(ttl_s * 1000)}
            if connection.execute(self._take, lock).first() is None:
                holder = connection.execute(self._holder, {"of_name": name}).one()
            # After that: who held it before has noted what it began before it gave it back.
            settles_at = connection.execute(self._settles_at, {"of_write": WRITTEN + name}).scalar()
        if settles_at is not None:
            raise _unanswered(settles_at)
        if holder is not None:
            guid, until, moment = holder
            raise Wait(f"waits for delivery {guid}, which holds {name}", at=from_ms(min(until, moment + _LOCK_POLL_MS)))

    @cached_property
    def _take(self) -> ReturningInsert[Any]:
        """Nothing comes back where somebody else holds the lock."""
        now = self._database.now
        new = self._database.insert(locks).values(locked_until=now + bindparam("ttl_ms", type_=BigInteger()))
        return new.on_conflict_do_update(
            index_elements=["name"],
            set_={"delivery_id": new.excluded["delivery_id"], "locked_until": new.excluded["locked_until"]},
            where=or_(locks.c.delivery_id == new.excluded["delivery_id"], has_passed(locks.c.locked_until, now)),
        ).returning(locks.c.name)

    @cached_property
    def _settles_at(self) -> Select[int]:
        return select(locks.c.locked_until).where(
            locks.c.name == bindparam("of_write"), ~has_passed(locks.c.locked_until, self._database.now)
        )

    @cached_property
    def _holder(self) -> Select[Any]:
        return (
            select(deliveries.c.guid, locks.c.locked_until, self._database.now)
            .join(deliveries, deliveries.c.id == locks.c.delivery_id)
            .where(locks.c.name == bindparam("of_name"))
        )

    @cached_property
    def _held(self) -> Select[int]:
        return select(pace.c.held_until).where(
            pace.c.name == bindparam("of_pace"), ~has_passed(pace.c.held_until, self._database.now)
        )

    def _turn(self, connection: Connection, row_id: int, name: str, interval_s: float, before: Pace, now: int) -> Turn:
        """Take or reserve the next turn of a pace that is locked, inside a transaction that holds the delivery."""
        mine = {"of_delivery": row_id, "of_pace": name}
        turn = next_turn(
            before,
            reserved=connection.execute(_TAKE_RESERVED, mine).scalar(),
            interval_ms=round(interval_s * 1000),
            now=now,
        )
        self._keep_pace(connection, name, turn.pace)
        if not turn.go:
            self._reserve(connection, row_id, name, turn.slot_at)
        return turn

    def _reserve(self, connection: Connection, row_id: int, name: str, slot_at: int) -> None:
        reserved = {"delivery_id": row_id, "pace": name, "slot_at": slot_at}
        self._database.insert_rows(connection, turns, [reserved])

    def _lock_pace(self, connection: Connection, name: str) -> Pace:
        """The pace, which nobody else changes until the transaction ends; the time is to be asked for after that."""
        row = connection.execute(_PACE, {"of_pace": name}).first()
        if row is None:
            self._make_pace(connection, name)
            row = connection.execute(_PACE, {"of_pace": name}).one()
        next_at, held_until, taken_at = row
        return Pace(next_at, held_until, taken_at)

    def _make_pace(self, connection: Connection, name: str) -> None:
        fresh = {"name": name, "next_at": 0, "held_until": 0, "taken_at": 0}
        self._database.insert_rows(connection, pace, [fresh], if_new=True)

    def _keep_pace(self, connection: Connection, name: str, after: Pace) -> None:
        values = {"next_at": after.next_at, "held_until": after.held_until, "taken_at": after.taken_at}
        connection.execute(_KEEP_PACE, {"of_pace": name, **values})


def _unanswered(settles_at: int) -> Wait:
    sentence = "GitHub may still be about to carry out a write that had no answer (github.slowest_write_s)"
    return Wait(sentence, at=from_ms(settles_at))
