"""What each part of the store is made of: the database, its counters, and the fence around a worker's writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from sqlalchemy import ColumnElement, Connection, and_, bindparam, literal_column, select

from hls_handler.deliveries import Lease, State
from hls_handler.errors import LeaseLost
from hls_handler.store.database import Database
from hls_handler.store.tables import counters, deliveries, locks

Counts = Mapping[tuple[str, str], int]

_LITERALS: Mapping[str, ColumnElement[str]] = {state: literal_column(f"'{state}'") for state in get_args(State)}

COUNTED_AT_THE_DOOR = ("webhooks", "event", "repository")

LAST_WEBHOOK = "last_webhook"
"""The name of rows among the counters that hold a time: by repository, and under "" of all."""

EXPECTED_SINCE = "webhook_expected_since"
"""The same, by what expects webhooks."""


class Part:
    """A part of the store. Its public methods are called from any thread, and each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        new = database.insert(counters)
        self._bump = new.on_conflict_do_update(
            index_elements=["name", "label"], set_={"value": counters.c.value + new.excluded["value"]}
        )

        # As `_held`, for statements that are made once and run with `terms_of(lease)`: making one costs as much as
        # running it.
        self._is_held = and_(
            deliveries.c.guid == bindparam("held_guid"),
            deliveries.c.attempt == bindparam("held_attempt"),
            deliveries.c.state == literal("running"),
            deliveries.c.lease_until > database.now,
        )
        self._fence = select(deliveries.c.id).where(self._is_held).with_for_update()

    def _held(self, lease: Lease) -> ColumnElement[bool]:
        """The lease's delivery, as long as the lease holds."""
        return and_(
            deliveries.c.guid == lease.guid,
            deliveries.c.attempt == lease.attempt,
            deliveries.c.state == literal("running"),
            deliveries.c.lease_until > self._database.now,
        )

    def _fenced(self, connection: Connection, lease: Lease) -> int:
        """The row id of the lease's delivery, which stays leased until the transaction ends. Raises `LeaseLost`."""
        row_id: int | None = connection.execute(self._fence, terms_of(lease)).scalar()
        if row_id is None:
            raise lost(lease)
        return row_id

    def _count(self, connection: Connection, counts: Counts) -> None:
        """Add to counters. Only other counters, later in the order, may be locked after them."""
        if counts:
            connection.execute(
                self._bump,
                [{"name": name, "label": label, "value": counts[name, label]} for name, label in in_lock_order(counts)],
            )


def literal(state: State) -> ColumnElement[str]:
    """A state as an SQL literal: the partial indexes are not used with a bind parameter."""
    return _LITERALS[state]


def terms_of(lease: Lease) -> dict[str, object]:
    """What statements over `Part._is_held` are run with."""
    return {"held_guid": lease.guid, "held_attempt": lease.attempt}


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has ended: another may hold it")


def release_locks(connection: Connection, delivery_id: int) -> None:
    """A delivery that is not running holds no lock."""
    connection.execute(locks.delete().where(locks.c.delivery_id == delivery_id))


def in_lock_order(counts: Counts) -> list[tuple[str, str]]:
    """The order in which every transaction locks counters, so that no two wait for each other.

    Those counted at the door come first: a transaction that accepts locks them before it looks for known deliveries,
    and by that accepts go one after the other, over all machines.
    """
    return sorted(counts, key=lambda key: (key[0] not in COUNTED_AT_THE_DOOR, key))
