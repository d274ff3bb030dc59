"""Checkpoints: stored results of a delivery's steps, from which work continues after a crash or a retry."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import bindparam, select

from hls_handler.db.compression import decompress_text
from hls_handler.db.database import Database
from hls_handler.db.tables import checkpoints, deliveries
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.queue.changes import NO_CHANGES, Change, DeliveryWriter, prepare
from hls_handler.queue.leases import release_locks

_SELECT = (
    select(checkpoints)
    .join(deliveries, deliveries.c.id == checkpoints.c.delivery_id)
    .where(deliveries.c.guid == bindparam("of_guid"))
)

Posted = Literal["done", "dry_run"]
"""The result of posting without a failure."""


class Checkpoints:
    def __init__(self, database: Database, writer: DeliveryWriter) -> None:
        self._database, self._writer = database, writer

    def load(self, of: Lease | str) -> dict[tuple[str, int], Checkpoint]:
        """Return all checkpoints of a delivery (a lease, or a GUID), by name and index."""
        guid = of if isinstance(of, str) else of.guid
        with self._database.reading() as connection:
            return {
                (row.name, row.step_index): Checkpoint(
                    name=row.name,
                    index=row.step_index,
                    version=row.version,
                    value=decompress_text(row.value),
                    took_s=row.duration_ms / 1000,
                )
                for row in connection.execute(_SELECT, {"of_guid": guid})
            }

    def save(self, lease: Lease, *changes: Change, unlock: bool = False, posting: Posted | None = None) -> None:
        """Store checkpoints, each in place of an earlier one, and other changes. Raises `LeaseLost`.

        `posting` is the result of posting, if it is known; `unlock` releases the delivery's locks. A checkpoint is
        progress: it resets the crashes and the time of the first failure.
        """
        statuses = {} if posting is None else {"posting_status": posting, "posting_error": None}
        prepared = prepare(changes)
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, prepared, **statuses)
            if unlock:
                release_locks(connection, row_id)

    def delete(self, lease: Lease, name: str) -> None:
        """Delete all checkpoints of a name, so that these steps are repeated. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, NO_CHANGES)
            connection.execute(
                checkpoints.delete().where(checkpoints.c.delivery_id == row_id, checkpoints.c.name == name)
            )
