"""Named locks: one delivery at a time creates or edits a comment."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, locks
from hls_handler.db.values import from_ms
from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.changes import Change, DeliveryWriter, prepare
from hls_handler.queue.leases import LockStatements, write_pending

_LOCK_POLL_MS = 1_000


class Locks:
    def __init__(self, database: Database, writer: DeliveryWriter) -> None:
        self._database, self._writer, self._locks = database, writer, LockStatements(database)
        self._holder = (
            select(deliveries.c.guid, locks.c.locked_until, database.now)
            .join(deliveries, deliveries.c.id == locks.c.delivery_id)
            .where(locks.c.name == bindparam("of_name"))
        )

    def acquire(self, lease: Lease, name: str, *, ttl_s: float, changes: Sequence[Change] = ()) -> bool:
        """Acquire or extend the lock `name` for `ttl_s` seconds. Raises `LeaseLost`.

        Returns True if an earlier write under this lock had no response, so that it may have taken effect.
        Raises `Postponed` if another delivery holds the lock, or if the lock has a pending write. The changes are
        stored even if `Postponed` is raised. The lock is released by `Checkpoints.save` with `unlock`, by a reschedule,
        or at the delivery's end.
        """
        prepared, holder = prepare(changes), None
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, prepared)
            lock = {"name": name, "delivery_id": row_id, "ttl_ms": int(ttl_s * 1000)}
            if connection.execute(self._locks.take, lock).first() is None:
                holder = connection.execute(self._holder, {"of_name": name}).one()
            # Read after the attempt to lock, because the former holder records its write before it releases the lock.
            pending = self._locks.find_pending(connection, name)
        if pending is not None and not pending.has_expired:
            raise write_pending(pending.until)
        if holder is not None:
            guid, until, now = holder
            at = from_ms(min(until, now + _LOCK_POLL_MS))
            raise Postponed(f"waits for delivery {guid}, which holds the lock {name}", at=at)
        return pending is not None
