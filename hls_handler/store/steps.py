"""Remembered steps: what cost money or touched the world is kept before the next step begins."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select

from hls_handler.deliveries import Lease, Remembered
from hls_handler.store.database import Database
from hls_handler.store.packed import pack_text, unpack_text
from hls_handler.store.part import Part, lost
from hls_handler.store.tables import deliveries, steps


class Remembering(Part):
    """The memory of one delivery."""

    def steps(self, of: Lease | str) -> dict[tuple[str, int], Remembered]:
        """All that is remembered of a delivery (a lease, or a GUID), by name and index."""
        guid = of if isinstance(of, str) else of.guid
        rows = select(steps).join(deliveries, deliveries.c.id == steps.c.delivery_id).where(deliveries.c.guid == guid)
        with self._database.reading() as connection:
            return {
                (row.name, row.step_index): Remembered(
                    name=row.name,
                    index=row.step_index,
                    version=row.version,
                    value=unpack_text(row.value),
                    took_s=row.took_ms / 1000,
                )
                for row in connection.execute(rows)
            }

    def remember(self, lease: Lease, step: Remembered) -> None:
        """Keep a step's result, in place of an earlier one. Raises `LeaseLost`.

        It is progress: crashes start anew, and so does the time after which an outage is given up on.
        """
        with self._database.writing() as connection:
            if not remember_in(connection, self._database, self._held(lease), step):
                raise lost(lease)

    def forget(self, lease: Lease, name: str) -> None:
        """Drop all steps of a name, so that they are done again. Raises `LeaseLost`."""
        with self._database.writing() as connection:
            row_id = self._fenced(connection, lease)
            connection.execute(steps.delete().where(steps.c.delivery_id == row_id, steps.c.name == name))


def remember_in(connection: Connection, database: Database, held: ColumnElement[bool], step: Remembered) -> bool:
    """Keep a step's result in a transaction that does more; False where the lease (`held`) has ended."""
    anew = {"progressed": True, "crashes": 0, "first_failure_at": None}
    row_id = connection.execute(deliveries.update().where(held).values(anew).returning(deliveries.c.id)).scalar()
    if row_id is None:
        return False
    kept = {
        "version": step.version,
        "took_ms": round(step.took_s * 1000),
        "remembered_at": database.now,
        "value": pack_text(step.value),
    }
    new = database.insert(steps).values(delivery_id=row_id, name=step.name, step_index=step.index, **kept)
    connection.execute(new.on_conflict_do_update(index_elements=["delivery_id", "name", "step_index"], set_=kept))
    return True
