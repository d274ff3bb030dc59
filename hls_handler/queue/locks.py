"""Locks by name that deliveries hold across processes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from hls_handler.db.clock import from_ms
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, locks
from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.changes import Change, DeliveryWriter, prepare
from hls_handler.queue.leases import LockStatements
from hls_handler.queue.rate_limiter import write_pending

_POLL_MS = 1_000


class Locks:
    def __init__(self, database: Database, writer: DeliveryWriter, statements: LockStatements) -> None:
        self._database, self._writer, self._statements = database, writer, statements
        self._holder = (
            select(deliveries.c.guid, locks.c.locked_until, database.now)
            .join(deliveries, deliveries.c.id == locks.c.delivery_id)
            .where(locks.c.name == bindparam("of_name"))
        )

    def acquire(self, lease: Lease, name: str, *, ttl_s: float, changes: Sequence[Change] = ()) -> None:
        """Acquire a lock or extend it. Raises `Postponed` while another delivery holds it, and `LeaseLost`.

        Also waits while a write that was begun under the lock may still take effect. The changes are stored in either
        case. The lock ends after `ttl_s`, when it is released (`Checkpoints.save`), or when the delivery stops running.
        """
        prepared, holder = prepare(changes), None
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, prepared)
            lock = {"name": name, "delivery_id": row_id, "ttl_ms": int(ttl_s * 1000)}
            if connection.execute(self._statements.take, lock).first() is None:
                holder = connection.execute(self._holder, {"of_name": name}).one()
            # Read after that: the former holder records its write before it releases the lock.
            pending_until = self._statements.pending_until(connection, name)
        if pending_until is not None:
            raise write_pending(pending_until)
        if holder is not None:
            guid, until, now = holder
            raise Postponed(f"waits for delivery {guid}, which holds {name}", at=from_ms(min(until, now + _POLL_MS)))
