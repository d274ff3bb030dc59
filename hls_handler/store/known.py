"""What is stored already of a batch that comes in: its GUIDs, and its bodies under other GUIDs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, product
from typing import Any

import msgspec
from sqlalchemy import bindparam, select

from hls_handler.deliveries import NewDelivery, State
from hls_handler.store.connection import Connection
from hls_handler.store.database import Database
from hls_handler.store.tables import deliveries

_c = deliveries.c
_STATES = (
    select(_c.guid, _c.state, _c.event, _c.repository_id, _c.number, _c.digest)
    .order_by(_c.id)
    .with_for_update(read=True, key_share=True)  # what is being forgotten is waited for, and then new
)
_NAMED = (_c.repository, _c.number)
"""A body names both, or one, or none: one that comes again is found by them, whose places in an index lie together, and
not by its digest alone, whose place would be another page for each delivery."""
_BODIES = {
    named: select(_c.digest, _c.guid, _c.state).where(
        _c.queued_at >= bindparam("since"),
        *(column.is_(None) for column, is_named in zip(_NAMED, named, strict=True) if not is_named),
    )
    for named in product((True, False), repeat=len(_NAMED))
}


class Stored(msgspec.Struct, frozen=True):
    """What is kept under a GUID, as far as it tells whether another delivery under that GUID is the same one again."""

    state: State
    event: str
    repository_id: int | None
    number: int | None
    digest: bytes | None  # None of one whose body was not kept

    def is_same_as(self, new: NewDelivery) -> bool:
        """The GUID is not signed: whoever knows one and holds any secret could have another delivery replaced."""
        digest_fits = self.digest is None or new.digest is None or self.digest == new.digest
        return digest_fits and (self.event, self.repository_id, self.number) == (
            new.event,
            new.repository_id,
            new.number,
        )


@dataclass(slots=True)
class Known:
    """What is stored already; it grows while a batch is looked at."""

    stored: dict[str, Stored] = field(default_factory=dict)  # by GUID
    bodies: dict[bytes, dict[str, State]] = field(default_factory=dict)  # by digest, then by GUID
    replays: bool = True  # whether bodies are looked at

    def learn(self, new: NewDelivery) -> None:
        digest = new.digest if new.state == "queued" else None
        self.stored[new.guid] = Stored(new.state, new.event, new.repository_id, new.number, digest)
        if new.state == "queued" and new.digest and self.replays:
            self.bodies.setdefault(new.digest, {})[new.guid] = new.state


def look_up(
    database: Database, connection: Connection, batch: Sequence[NewDelivery], now: int, *, window_ms: int
) -> Known:
    """As of `now`; bodies that were queued longer ago than `window_ms` are new, and with 0 all are."""
    known = Known(replays=window_ms > 0)
    for row in database.among(_STATES, _c.guid).rows(connection, [(new.guid,) for new in batch]):
        known.stored[row.guid] = Stored(row.state, row.event, row.repository_id, row.number, row.digest)
    if known.replays:
        for row in _same_bodies(database, connection, batch, since=now - window_ms):
            known.bodies.setdefault(row.digest, {})[row.guid] = row.state
    return known


def _same_bodies(
    database: Database, connection: Connection, batch: Sequence[NewDelivery], *, since: int
) -> Iterator[Any]:
    """What was queued since then with a body of the batch."""
    bodies: dict[tuple[bool, ...], list[tuple[object, ...]]] = {}
    for new in batch:
        if new.state == "queued" and new.digest:
            names = (new.repository, new.number)
            alike = bodies.setdefault(tuple(name is not None for name in names), [])
            alike.append((*(name for name in names if name is not None), new.digest))
    for named, some in bodies.items():
        columns = (*compress(_NAMED, named), _c.digest)
        yield from database.among(_BODIES[named], *columns).rows(connection, some, since=since)
