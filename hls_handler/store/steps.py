"""Remembered steps: what cost money or touched the world is kept before the next step begins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql.dml import ReturningUpdate

from hls_handler.deliveries import Lease, Remembered
from hls_handler.store.database import Insert
from hls_handler.store.packed import pack_text, unpack_text
from hls_handler.store.part import Part, lost, terms_of
from hls_handler.store.tables import deliveries, locks, steps

_STEPS = (
    select(steps)
    .join(deliveries, deliveries.c.id == steps.c.delivery_id)
    .where(deliveries.c.guid == bindparam("of_guid"))
)
_UNLOCK = locks.delete().where(locks.c.name == bindparam("of_name"), locks.c.delivery_id == bindparam("of_delivery"))


Posted = Literal["done", "dry_run"]
"""What comes of a posting that did not fail."""

PackedStep = dict[str, object]


def packed(kept: Sequence[Remembered]) -> list[PackedStep]:
    """Rows of steps, made before a transaction begins: while it is open, all other writers wait."""
    return [
        {
            "name": step.name,
            "step_index": step.index,
            "version": step.version,
            "took_ms": round(step.took_s * 1000),
            "value": pack_text(step.value),
        }
        for step in kept
    ]


class Progressing(Part):
    """How a step is kept, for transactions that do more than that, too."""

    @cached_property
    def _progress(self) -> ReturningUpdate[int]:
        anew = {"progressed": True, "crashes": 0, "first_failure_at": None}
        return deliveries.update().where(self._shared.is_held).values(anew).returning(deliveries.c.id)

    @cached_property
    def _keep(self) -> Insert:
        new = self._database.insert(steps).values(remembered_at=self._database.now)
        told_anew = ("version", "took_ms", "remembered_at", "value")
        return new.on_conflict_do_update(
            index_elements=["delivery_id", "name", "step_index"],
            set_={name: new.excluded[name] for name in told_anew},
        )

    def _remember_in(
        self, connection: Connection, lease: Lease, kept: Sequence[PackedStep], **statuses: str | None
    ) -> int | None:
        """Keep the results of steps, each in place of an earlier one; the delivery's row id, or None: no lease.

        `statuses` are more columns of the delivery's row.
        """
        row_id: int | None = connection.execute(self._progress, {**terms_of(lease), **statuses}).scalar()
        if row_id is None:
            return None
        for step in kept:
            connection.execute(self._keep, {"delivery_id": row_id, **step})
        return row_id


class Remembering(Progressing):
    """The memory of one delivery."""

    def steps(self, of: Lease | str) -> dict[tuple[str, int], Remembered]:
        """All that is remembered of a delivery (a lease, or a GUID), by name and index."""
        guid = of if isinstance(of, str) else of.guid
        with self._database.reading() as connection:
            return {
                (row.name, row.step_index): Remembered(
                    name=row.name,
                    index=row.step_index,
                    version=row.version,
                    value=unpack_text(row.value),
                    took_s=row.took_ms / 1000,
                )
                for row in connection.execute(_STEPS, {"of_guid": guid})
            }

    def remember(
        self, lease: Lease, *kept: Remembered, unlock: str | None = None, posting: Posted | None = None
    ) -> None:
        """Keep the results of steps, each in place of an earlier one, and give a lock back. Raises `LeaseLost`.

        `posting` is what became of it, with the step that is its last. It is progress: crashes start anew, and so does
        the time after which an outage is given up on.
        """
        statuses = {} if posting is None else {"posting_status": posting, "posting_error": None}
        steps_to_keep = packed(kept)
        with self._database.writing(durable=False) as connection:
            row_id = self._remember_in(connection, lease, steps_to_keep, **statuses)
            if row_id is None:
                raise lost(lease)
            if unlock is not None:
                connection.execute(_UNLOCK, {"of_name": unlock, "of_delivery": row_id})

    def forget(self, lease: Lease, name: str) -> None:
        """Drop all steps of a name, so that they are done again. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._fenced(connection, lease)
            connection.execute(steps.delete().where(steps.c.delivery_id == row_id, steps.c.name == name))
