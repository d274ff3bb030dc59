"""What each part of the store is made of: the database, its counters, and the fence around a worker's writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    select,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from hls_handler.deliveries import Lease, State
from hls_handler.errors import LeaseLost
from hls_handler.store.database import Database, Insert
from hls_handler.store.tables import comments, counters, deliveries, labels, locks, steps

Counts = Mapping[tuple[str, str], int]

_LITERALS: Mapping[str, ColumnElement[str]] = {state: literal_column(f"'{state}'") for state in get_args(State)}

OWN_ID = select(deliveries.c.id).where(deliveries.c.guid == bindparam("of_guid")).scalar_subquery()
"""The row of the delivery that a statement is run for."""

WRITTEN = "written "
"""Before a lock's name: what keeps everybody from that lock as long as a write may still take effect."""

_RELEASE = locks.delete().where(locks.c.delivery_id == bindparam("of_delivery"), not_(locks.c.name.startswith(WRITTEN)))

COUNTED_AT_THE_DOOR = ("webhooks", "event", "repository")

LAST_WEBHOOK = "last_webhook"
"""The name of rows among the counters that hold a time: by repository, and under "" of all."""

EXPECTED_SINCE = "webhook_expected_since"
"""The same, by what expects webhooks."""


class Shared:
    """Statements that all parts of one database run, each made once: making one costs as much as running it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @cached_property
    def bump(self) -> ReturningInsert[Any]:
        new = self._database.insert(counters)
        return new.on_conflict_do_update(
            index_elements=["name", "label"], set_={"value": counters.c.value + new.excluded["value"]}
        ).returning(counters.c.name)

    @cached_property
    def label(self) -> ReturningInsert[Any]:
        """A label's state, with nothing said of where it comes from."""
        return self._label(("state", "changed_at"))

    @cached_property
    def label_with_origin(self) -> ReturningInsert[Any]:
        """As `label`, with where it comes from where that is known; else what was known of it stays."""
        return self._label(("state", "changed_at"), keeping=("field", "prompt_id"))

    @cached_property
    def label_that_is_set(self) -> ReturningInsert[Any]:
        """As `label`, with the time of now if it was not set before."""
        return self._label(("state", "changed_at"), once=("set_at",))

    def _label(
        self, anew: Sequence[str], *, keeping: Sequence[str] = (), once: Sequence[str] = ()
    ) -> ReturningInsert[Any]:
        """Columns that are told anew, those that are kept where nothing is told, and times that are set but once."""
        now = self._database.now
        new = self._database.insert(labels).values(changed_at=now, **dict.fromkeys(once, now))
        return new.on_conflict_do_update(
            index_elements=["repository_id", "identity", "number", "name"],
            set_={name: new.excluded[name] for name in anew}
            | {name: func.coalesce(new.excluded[name], labels.c[name]) for name in keeping}
            | {name: func.coalesce(labels.c[name], new.excluded[name]) for name in once},
        ).returning(labels.c.name)

    @cached_property
    def comment(self) -> Insert:
        new = self._database.insert(comments).values(changed_at=self._database.now)
        return new.on_conflict_do_update(
            index_elements=["repository_id", "identity", "number", "family"],
            set_={name: new.excluded[name] for name in ("comment_id", "body_digest", "changed_at")},
        )

    @cached_property
    def progress(self) -> ReturningUpdate[int]:
        """The lease's delivery has got a step further."""
        anew = {"progressed": True, "crashes": 0, "first_failure_at": None}
        return deliveries.update().where(self.is_held).values(anew).returning(deliveries.c.id)

    @cached_property
    def keep_step(self) -> ReturningInsert[Any]:
        new = self._database.insert(steps).values(remembered_at=self._database.now)
        told_anew = ("version", "took_ms", "remembered_at", "value")
        return new.on_conflict_do_update(
            index_elements=["delivery_id", "name", "step_index"],
            set_={name: new.excluded[name] for name in told_anew},
        ).returning(steps.c.name)

    @cached_property
    def is_held(self) -> ColumnElement[bool]:
        """The lease's delivery, as long as the lease holds, for statements that are run with `terms_of(lease)`."""
        return and_(
            deliveries.c.guid == bindparam("held_guid"),
            deliveries.c.attempt == bindparam("held_attempt"),
            deliveries.c.state == literal("running"),
            deliveries.c.lease_until > self._database.now,
        )

    @cached_property
    def fence(self) -> Select[Any]:
        """Its row id, and whether all is as a step leaves it (`progress`)."""
        c = deliveries.c
        as_a_step_leaves_it = and_(c.progressed, c.crashes == literal_column("0"), c.first_failure_at.is_(None))
        return select(c.id, as_a_step_leaves_it.label("has_progressed")).where(self.is_held).with_for_update()


class Part:
    """A part of the store. Its public methods are called from any thread, and each writes in one transaction.

    One that lives for a delivery only is given the statements that are `shared` with whoever made it.
    """

    def __init__(self, database: Database, shared: Shared | None = None) -> None:
        self._database = database
        self._shared = shared or Shared(database)

    def _fenced(self, connection: Connection, lease: Lease) -> int:
        """The row id of the lease's delivery, which stays leased until the transaction ends. Raises `LeaseLost`."""
        row_id: int | None = connection.execute(self._shared.fence, terms_of(lease)).scalar()
        if row_id is None:
            raise lost(lease)
        return row_id

    def _count(self, connection: Connection, counts: Counts) -> None:
        """Add to counters. Only other counters, later in the order, may be locked after them."""
        rows = [{"name": name, "label": label, "value": counts[name, label]} for name, label in in_lock_order(counts)]
        if rows:
            connection.execute(self._shared.bump, rows)


def literal(state: State) -> ColumnElement[str]:
    """A state as an SQL literal: the partial indexes are not used with a bind parameter."""
    return _LITERALS[state]


def how_many(table: FromClause, state: Literal["running", "dead"]) -> Select[int]:
    """How many deliveries of a table are in a state, by the index of those alone.

    All of them have its first column. Without being told so, SQLite counts through an index of all there ever were.
    """
    has = {"running": table.c.lease_until, "dead": table.c.id}[state]
    return select(func.count()).select_from(table).where(table.c.state == literal(state), has > literal_column("0"))


def terms_of(lease: Lease) -> dict[str, object]:
    """What statements over `Shared.is_held` are run with."""
    return {"held_guid": lease.guid, "held_attempt": lease.attempt}


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has ended: another may hold it")


def release_locks(connection: Connection, delivery_id: int) -> None:
    """A delivery that is not running holds no lock; a write that it has begun may take effect all the same."""
    connection.execute(_RELEASE, {"of_delivery": delivery_id})


def in_lock_order(counts: Counts) -> list[tuple[str, str]]:
    """The order in which every transaction locks counters, so that no two wait for each other.

    Those counted at the door come first: a transaction that accepts locks them before it looks for known deliveries,
    and by that accepts go one after the other, over all machines.
    """
    return sorted(counts, key=lambda key: (key[0] not in COUNTED_AT_THE_DOOR, key))
