"""Rate limits that all workers share.

A rate limit grants slots. A slot is a time at which one request may be sent; slots are an interval
apart. After a server failed or asked to wait, the rate limit is held and grants no slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, rate_limits, slots
from hls_handler.db.values import FURTHEST_MS, HOUR_MS, from_ms, has_passed, to_ms
from hls_handler.deliveries import HEAD_START_MS, Lease
from hls_handler.errors import Postponed
from hls_handler.queue.checkpoints import Change, Checkpoints, LeaseCheck
from hls_handler.queue.locks import LockStatements, write_pending

SLOT_WAIT = "waits for a slot"  # beginning of the reason of a delivery that waits for its turn
_LATE_MS = 2_000  # a reserved slot that was missed by more than this and one interval is lost
# slots less than this apart may be used this early, because queueing the delivery again takes
# longer
_EARLY_MS = 20


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """The row of one rate limit. Times are milliseconds since the epoch, by the database's
    clock.
    """

    next_at: int  # the first slot that is not reserved
    held_until: int  # no slot before this time: the server asked to wait, or failed
    last_slot_at: int  # when the last slot was used, which may be later than the slot's time


@dataclass(frozen=True, slots=True)
class LockedRateLimit:
    state: RateLimitState
    reserved: int | None  # the slot (ms) that the delivery has reserved


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot for one request: usable now if `is_now`, else at `slot_at` (ms)."""

    is_now: bool
    slot_at: int
    after: RateLimitState  # the rate limit's new row, which the caller must store


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """A slot of a rate limit that a delivery requests."""

    name: str  # of the rate limit
    interval_s: float  # between two slots, for all workers
    until: datetime | None = None  # no slot after this time
    can_move: bool = False  # the slot may be given to a delivery that needs an earlier one


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """A write of a comment that is about to be sent."""

    lock: str  # of the comment
    slowest_s: float  # after this time, the write has taken effect or never will


def next_slot(state: RateLimitState, *, reserved: int | None, interval_ms: int, now: int) -> Slot:
    """Return the next slot of a delivery. `reserved` is the time (ms) of the slot that the delivery
    has reserved.

    Two uses are at least `interval_ms` apart, even if a slot is used late. The delivery loses its
    reserved slot if `reserved` is before `state.held_until`, or if `now` is more than `interval_ms`
    plus 2 s after `reserved`. Without the second rule, all deliveries that missed their slots in a
    downtime would be postponed to the same time. If the clock was set back since the last slot was
    used, the slots from before it do not count.
    """
    # implausible: the clock was set back
    if max(state.next_at, state.held_until) > now + FURTHEST_MS:
        state = RateLimitState(now, 0, 0)
        reserved = None
    if was_set_back(state, now):
        state = RateLimitState(now, state.held_until, 0)
    begins_at = max(state.next_at, state.held_until, now)
    if (
        reserved is not None
        and state.held_until <= reserved <= state.next_at
        and now <= reserved + interval_ms + _LATE_MS
    ):
        begins_at = reserved
    slot_at = max(begins_at, state.last_slot_at + interval_ms)
    early_ms = 0
    if interval_ms < _EARLY_MS:
        early_ms = _EARLY_MS
    is_now = slot_at - early_ms <= now and state.held_until <= now
    used_at = max(slot_at, now)
    after = replace(state, next_at=max(state.next_at, used_at + interval_ms))
    if is_now:
        after = replace(after, last_slot_at=used_at)
    return Slot(is_now, slot_at, after)


def _slot_postponed(name: str, slot: Slot) -> Postponed:
    return Postponed(f"{SLOT_WAIT} of the rate limit {name}", at=from_ms(slot.slot_at))


def was_set_back(state: RateLimitState, now: int) -> bool:
    """Return True if the clock was set back since the last slot was used."""
    return state.last_slot_at > now + _EARLY_MS


_UPDATE = rate_limits.update().where(rate_limits.c.name == bindparam("of_name"))
_MINE = and_(
    slots.c.delivery_id == bindparam("of_delivery"), slots.c.rate_limit == bindparam("of_name")
)
_SELECT = (
    select(
        rate_limits.c.next_at,
        rate_limits.c.held_until,
        rate_limits.c.last_slot_at,
        select(slots.c.slot_at).where(_MINE).scalar_subquery().label("reserved"),
    )
    .where(rate_limits.c.name == bindparam("of_name"))
    .with_for_update(of=rate_limits)
)
_asking = deliveries.alias("asking")
_KEY = select(_asking.c.sort_key).where(_asking.c.id == bindparam("for_delivery")).scalar_subquery()
_MOVABLE = (
    select(slots.c.delivery_id, slots.c.slot_at)
    .join(deliveries, deliveries.c.id == slots.c.delivery_id)
    .where(slots.c.rate_limit == bindparam("of_name"), slots.c.can_move)
    .where(slots.c.slot_at > bindparam("after"), slots.c.slot_at < bindparam("before"))
    .where(
        deliveries.c.sort_key >= _KEY - 2 * HEAD_START_MS
    )  # else a later write could wait forever
    .order_by(slots.c.slot_at)
    .limit(1)
    .with_for_update(skip_locked=True)  # a delivery locks its row before it uses its slot
)
_MOVE = slots.update().where(_MINE).values(slot_at=bindparam("to"))
_IS_DUE_THEN = and_(
    deliveries.c.id == bindparam("of_delivery"), deliveries.c.due_at == bindparam("at")
)
_DELAY = deliveries.update().where(_IS_DUE_THEN).values(due_at=bindparam("to"))


class RateLimiter:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._locks = LockStatements(database)

    def take_slot(
        self,
        lease: Lease,
        request: SlotRequest,
        *,
        changes: Sequence[Change] = (),
        pending_write: PendingWrite | None = None,
        check: LeaseCheck | None = None,
    ) -> None:
        """Use a slot of a rate limit. Raises `LeaseLost`.

        If no slot is free now, reserves a later slot, unless it is after `request.until`, and
        raises `Postponed`: call again at the time in this error. The changes are stored even if
        `Postponed`, or the error of `check`, is raised. A slot that can move gets a later time if a
        delivery whose slot cannot move needs one, unless the latter was queued more than twenty
        minutes later.

        After a successful call with `pending_write`, `Locks.acquire` raises `Postponed` for its
        lock, even if this process crashes. The lock becomes available again when `WriteCompleted`
        is stored, or after `slowest_s` seconds.
        """
        with self._checkpoints.writing(lease, changes, check=check) as (connection, row_id):
            locked = self.lock(connection, request.name, row_id)
            now = self._database.now_in(connection)
            slot = self.use_slot(connection, row_id, request, locked, now)
            pending_until = None
            if slot.is_now and pending_write is not None:
                ttl_ms = int(pending_write.slowest_s * 1000)
                pending_until = self._locks.begin_write(
                    connection, row_id, pending_write.lock, ttl_ms=ttl_ms
                )
        if not slot.is_now:
            raise _slot_postponed(request.name, slot)
        if pending_until is not None:
            raise write_pending(pending_until)

    def reserve_slot(self, name: str, *, interval_s: float, within_s: float) -> datetime:
        """Reserve the next slot for a write that belongs to no running delivery, and return its
        time (aware UTC).

        The caller waits until then. Raises `Postponed` and reserves nothing if the slot is more
        than `within_s` away.
        """
        with self._database.writing(durable=False) as connection:
            state = self.lock(connection, name).state
            now = self._database.now_in(connection)
            slot = next_slot(state, reserved=None, interval_ms=round(interval_s * 1000), now=now)
            if slot.slot_at - now > within_s * 1000:
                raise _slot_postponed(name, slot)
            self._update(connection, name, slot.after)
        return from_ms(slot.slot_at)

    def hold(self, name: str, until: datetime) -> None:
        """Grant no slot before `until`, not even a reserved one, because a server asked to wait or
        failed.

        A later time than in 47 hours is shortened: it would look as if the clock had been set back
        (`next_slot`).
        """
        with self._database.writing() as connection:
            state = self.lock(connection, name).state
            until_ms = min(to_ms(until), self._database.now_in(connection) + FURTHEST_MS - HOUR_MS)
            held_until = max(state.held_until, until_ms)
            self._update(
                connection,
                name,
                RateLimitState(max(state.next_at, until_ms), held_until, state.last_slot_at),
            )

    def held_until(self, name: str) -> datetime | None:
        """Return the time until which the rate limit is held (aware UTC); None if it is not
        held.
        """
        return self.all_held().get(name)

    def all_held(self) -> dict[str, datetime]:
        """Return {name: until when it is held (aware UTC)} of the rate limits that are held now."""
        is_held = ~has_passed(rate_limits.c.held_until, self._database.now)
        held = (
            select(rate_limits.c.name, rate_limits.c.held_until)
            .where(is_held)
            .order_by(rate_limits.c.name)
        )
        with self._database.reading() as connection:
            return {row.name: from_ms(row.held_until) for row in connection.execute(held)}

    def all_waits(self, *, longer_than_s: float) -> dict[str, datetime]:
        """Return {name: next slot (aware UTC)} of the rate limits whose next slot is further
        away.
        """
        query = select(
            rate_limits.c.name,
            rate_limits.c.next_at,
            rate_limits.c.held_until,
            rate_limits.c.last_slot_at,
        )
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            rows = connection.execute(query.order_by(rate_limits.c.name)).all()
        states = {name: RateLimitState(*state) for name, *state in rows}
        return {
            name: from_ms(state.next_at)
            for name, state in states.items()
            if now + longer_than_s * 1000 < state.next_at <= now + FURTHEST_MS
            and not was_set_back(state, now)
        }

    def lock(self, connection: Connection, name: str, row_id: int | None = None) -> LockedRateLimit:
        """Lock a rate limit until the transaction ends; return its row, and the slot reserved by a
        delivery.

        The caller must read the clock after this call, because the call may wait for the lock.
        """
        terms = {"of_name": name, "of_delivery": row_id}
        row = connection.execute(_SELECT, terms).first()
        if row is None:
            fresh = {"name": name, "next_at": 0, "held_until": 0, "last_slot_at": 0}
            self._database.insert_rows(connection, rate_limits, [fresh], if_new=True)
            row = connection.execute(_SELECT, terms).one()
        *columns, reserved = row
        return LockedRateLimit(RateLimitState(*columns), reserved)

    def use_slot(
        self,
        connection: Connection,
        row_id: int,
        request: SlotRequest,
        locked: LockedRateLimit,
        now: int,
    ) -> Slot:
        """Use the next slot, or reserve it if it is not yet due, unless it is after
        `request.until`.

        A slot that cannot move is exchanged with the first one that can, if that one is earlier.

        Before this call, the caller must check the lease, then call `lock` to get `locked`, then
        read `now` (ms).
        """
        name = request.name
        interval_ms = round(request.interval_s * 1000)
        slot = next_slot(locked.state, reserved=locked.reserved, interval_ms=interval_ms, now=now)
        is_too_late = request.until is not None and slot.slot_at > to_ms(request.until)
        if is_too_late and not slot.is_now:
            return slot
        if locked.reserved is not None:
            connection.execute(
                slots.delete().where(_MINE), {"of_delivery": row_id, "of_name": name}
            )
        self._update(connection, name, slot.after)
        if not slot.is_now:
            if not request.can_move:
                slot = self._exchange(connection, row_id, name, slot, now)
            self.reserve(connection, row_id, name, slot.slot_at, can_move=request.can_move)
        return slot

    def _exchange(
        self, connection: Connection, row_id: int, name: str, slot: Slot, now: int
    ) -> Slot:
        limits = {"after": max(now, slot.after.held_until), "before": slot.slot_at}
        moved = connection.execute(
            _MOVABLE, {"of_name": name, "for_delivery": row_id, **limits}
        ).first()
        if moved is None:
            return slot
        terms = {
            "of_name": name,
            "of_delivery": moved.delivery_id,
            "at": moved.slot_at,
            "to": slot.slot_at,
        }
        connection.execute(_MOVE, terms)
        connection.execute(_DELAY, terms)
        return replace(slot, slot_at=moved.slot_at)

    def reserve(
        self,
        connection: Connection,
        row_id: int,
        name: str,
        slot_at: int,
        *,
        can_move: bool = False,
    ) -> None:
        reserved = {
            "delivery_id": row_id,
            "rate_limit": name,
            "slot_at": slot_at,
            "can_move": can_move,
        }
        self._database.insert_rows(connection, slots, [reserved])

    def _update(self, connection: Connection, name: str, after: RateLimitState) -> None:
        values = {
            "next_at": after.next_at,
            "held_until": after.held_until,
            "last_slot_at": after.last_slot_at,
        }
        connection.execute(_UPDATE, {"of_name": name, **values})
