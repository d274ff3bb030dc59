"""Named locks: one delivery at a time creates or edits a comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, not_, or_, select
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.db.counters import Counts
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, locks
from hls_handler.db.values import from_ms, has_passed
from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.checkpoints import Change, Checkpoints, LeaseCheck

_LOCK_POLL_MS = 1_000

PENDING_WRITE = "pending write: "
"""Prefix of a pending write's name in the table `locks`; the name of the lock follows."""

_RELEASE = locks.delete().where(
    locks.c.delivery_id == bindparam("of_delivery"), not_(locks.c.name.startswith(PENDING_WRITE))
)
_COMPLETE_WRITE = locks.delete().where(
    locks.c.name == bindparam("of_write"), locks.c.delivery_id == bindparam("of_delivery")
)


@dataclass(frozen=True, slots=True)
class WriteCompleted:
    """A change that deletes the pending write of the lock `lock`. Store it when that write has
    ended.
    """

    lock: str

    def write(self, _database: Database, connection: Connection, delivery_id: int) -> Counts:
        connection.execute(
            _COMPLETE_WRITE, {"of_write": PENDING_WRITE + self.lock, "of_delivery": delivery_id}
        )
        return {}


class LockStatements:
    """SQL statements for the table `locks`, which contains locks and pending writes."""

    def __init__(self, database: Database) -> None:
        now = database.now
        new = database.insert(locks)
        new = new.values(locked_until=now + bindparam("ttl_ms", type_=BigInteger()))
        is_free = or_(
            locks.c.delivery_id == new.excluded["delivery_id"],
            has_passed(locks.c.locked_until, now),
        )
        self.take: ReturningInsert[Any] = new.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "delivery_id": new.excluded["delivery_id"],
                "locked_until": new.excluded["locked_until"],
            },
            where=is_free,
        ).returning(locks.c.name)
        self._pending = select(
            locks.c.locked_until, has_passed(locks.c.locked_until, now).label("has_expired")
        ).where(locks.c.name == bindparam("of_write"))

    def begin_write(
        self, connection: Connection, row_id: int, name: str, *, ttl_ms: int
    ) -> int | None:
        """Record a pending write for the lock `name` and return None.

        If another delivery has a pending write for this lock, record nothing and return when that
        write expires (ms).
        """
        begun = {"name": PENDING_WRITE + name, "delivery_id": row_id, "ttl_ms": ttl_ms}
        while connection.execute(self.take, begun).first() is None:
            # of a delivery that took the expired lock
            pending = self.find_pending(connection, name)
            if pending is not None and not pending.has_expired:
                return int(pending.locked_until)
        return None

    def find_pending(self, connection: Connection, name: str) -> Row[Any] | None:
        """Return `locked_until` (ms) and `has_expired` of the write that was recorded for the lock
        `name`.

        None if there is none, or if it was completed.
        """
        return connection.execute(self._pending, {"of_write": PENDING_WRITE + name}).first()


def release_locks(connection: Connection, row_id: int) -> None:
    """Delete a delivery's locks, but not its pending writes, which are in the same table."""
    connection.execute(_RELEASE, {"of_delivery": row_id})


def write_pending(until: int) -> Postponed:
    message = "an earlier write to GitHub got no response and may still take effect"
    return Postponed(message, at=from_ms(until))


class Locks:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._locks = LockStatements(database)
        self._holder = (
            select(deliveries.c.guid, locks.c.locked_until, database.now)
            .join(deliveries, deliveries.c.id == locks.c.delivery_id)
            .where(locks.c.name == bindparam("of_name"))
        )

    def acquire(
        self,
        lease: Lease,
        name: str,
        *,
        ttl_s: float,
        changes: Sequence[Change] = (),
        check: LeaseCheck | None = None,
    ) -> bool:
        """Acquire or extend the lock `name` for `ttl_s` seconds. Raises `LeaseLost`.

        Returns True if an earlier write under this lock had no response, so that it may have taken
        effect. Raises `Postponed` if another delivery holds the lock, or if the lock has a pending
        write. The changes are stored even if `Postponed`, or the error of `check`, is raised. The
        lock is released by a reschedule, or at the delivery's end.
        """
        holder = None
        with self._checkpoints.writing(lease, changes, durable=False, check=check) as (
            connection,
            row_id,
        ):
            lock = {"name": name, "delivery_id": row_id, "ttl_ms": int(ttl_s * 1000)}
            if connection.execute(self._locks.take, lock).first() is None:
                holder = connection.execute(self._holder, {"of_name": name}).one()
            # Read after the attempt to lock, because the former holder records its write before it
            # releases the lock.
            pending = self._locks.find_pending(connection, name)
        if pending is not None and not pending.has_expired:
            raise write_pending(pending.locked_until)
        if holder is not None:
            guid, until, now = holder
            at = from_ms(min(until, now + _LOCK_POLL_MS))
            raise Postponed(f"waits for delivery {guid}, which holds the lock {name}", at=at)
        return pending is not None
