"""Remembered steps: what cost money or touched the world is kept before anything more of either is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, select

from hls_handler.deliveries import Lease, Remembered
from hls_handler.store.packed import pack_text, unpack_text
from hls_handler.store.part import Counts, Part, lost, release_locks, terms_of
from hls_handler.store.tables import deliveries, steps

_STEPS = (
    select(steps)
    .join(deliveries, deliveries.c.id == steps.c.delivery_id)
    .where(deliveries.c.guid == bindparam("of_guid"))
)


Posted = Literal["done", "dry_run"]
"""What comes of a posting that did not fail."""

Write = Callable[[Connection], Counts]
"""Keeps something else of a delivery, and says what is to be counted for it."""

Keepable = Remembered | Write
"""What waits for a delivery's next transaction, whatever that one is for."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of steps, and other writes, in their order."""

    steps: Sequence[Mapping[str, object]] = ()
    writes: Sequence[Write] = ()


NOTHING = Packed()


def packed(kept: Sequence[Keepable]) -> Packed:
    """To be done before a transaction begins: while it is open, all other writers wait."""
    rows = [
        {
            "name": step.name,
            "step_index": step.index,
            "version": step.version,
            "took_ms": round(step.took_s * 1000),
            "value": pack_text(step.value),
        }
        for step in kept
        if isinstance(step, Remembered)
    ]
    return Packed(rows, [write for write in kept if not isinstance(write, Remembered)])


class Progressing(Part):
    """How steps are kept by transactions that do more than that, so that a step needs none of its own."""

    def _remember_in(self, connection: Connection, lease: Lease, kept: Packed, **statuses: str | None) -> int | None:
        """Keep what waits, a step in place of an earlier one; the delivery's row id, or None: no lease.

        A step is progress, and nothing else is. `statuses` are more columns of the delivery's row.
        """
        terms = terms_of(lease)
        held = connection.execute(self._shared.fence, terms).first()
        if held is None:
            return None
        if statuses or (kept.steps and not held.has_progressed):  # else the row is spared: its body is written with it
            connection.execute(self._shared.progress, {**terms, **statuses})
        row_id: int = held.id
        self._count(connection, self._keep(connection, row_id, kept))
        return row_id

    def _fenced_with(self, connection: Connection, lease: Lease, kept: Packed) -> int:
        """As `_fenced`, and keep what waits. Raises `LeaseLost`."""
        row_id = self._remember_in(connection, lease, kept)
        if row_id is None:
            raise lost(lease)
        return row_id

    def _keep(self, connection: Connection, row_id: int, kept: Packed) -> Counter[tuple[str, str]]:
        """What is to be counted for it."""
        counts: Counter[tuple[str, str]] = Counter()
        for write in kept.writes:
            counts.update(write(connection))
        if kept.steps:
            rows = {(step["name"], step["step_index"]): {"delivery_id": row_id, **step} for step in kept.steps}
            connection.execute(self._shared.keep_step, list(rows.values()))
        return counts


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

    def remember(self, lease: Lease, *kept: Keepable, unlock: bool = False, posting: Posted | None = None) -> None:
        """Keep the results of steps, each in place of an earlier one, and what else waits. Raises `LeaseLost`.

        `posting` is what became of it, where that is known, and with `unlock` the delivery's locks are given back. A
        step is progress: crashes start anew, and so does the time after which an outage is given up on.
        """
        statuses = {} if posting is None else {"posting_status": posting, "posting_error": None}
        steps_to_keep = packed(kept)
        with self._database.writing(durable=False) as connection:
            row_id = self._remember_in(connection, lease, steps_to_keep, **statuses)
            if row_id is None:
                raise lost(lease)
            if unlock:
                release_locks(connection, row_id)

    def forget(self, lease: Lease, name: str) -> None:
        """Drop all steps of a name, so that they are done again. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._fenced(connection, lease)
            connection.execute(steps.delete().where(steps.c.delivery_id == row_id, steps.c.name == name))
