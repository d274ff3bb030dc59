"""The queue's way out: claiming the next delivery, keeping it, and taking back what a dead worker left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, and_, bindparam, exists, func, select
from sqlalchemy.sql.dml import ReturningUpdate

from hls_handler.deliveries import Lease
from hls_handler.store.clock import from_ms, has_passed, maybe_from_ms
from hls_handler.store.counters import ended
from hls_handler.store.database import Conflict
from hls_handler.store.packed import DamagedError, unpack
from hls_handler.store.part import Part, how_many, literal, lost, release_locks, terms_of
from hls_handler.store.pauses import paused
from hls_handler.store.tables import deliveries

_TRIES = 3  # to claim, when a guard in the database refuses
_ANY = 1_000_000

_c = deliveries.c
_waiting = deliveries.alias("waiting")
_other = deliveries.alias("other")
_counted = deliveries.alias("counted")

_LEASED = (
    _c.guid,
    _c.attempt,
    _c.lease_until,
    _c.event,
    _c.action,
    _c.request_id,
    _c.repository_id,
    _c.repository,
    _c.number,
    _c.head_sha,
    _c.received_at,
    _c.attempts,
    _c.failures,
    _c.crashes,
    _c.first_failure_at,
    _c.body,
)


_PLACE_IS_FREE = how_many(_counted, "running").scalar_subquery() < bindparam("most")
_OF_ITS_THREAD = _other.c.thread_key == _waiting.c.thread_key  # never true where a delivery has no thread
_MAY_BEGIN = and_(
    _waiting.c.state == literal("queued"),
    ~paused(_waiting),
    ~exists().where(_OF_ITS_THREAD, _other.c.state == literal("running")),
    ~exists().where(_OF_ITS_THREAD, _other.c.state == literal("queued"), _other.c.id < _waiting.c.id),
)


class Queueing(Part):
    """The workers' part of the store: who works on what."""

    def claim(self, *, worker: str, lease_s: float, max_crashes: int, concurrency: int = _ANY) -> Lease | None:
        """The delivery to work on next, leased; None when nothing may be begun.

        Of a thread the oldest open one goes first and alone; of those, the one of the smallest rank. Nothing is begun
        of what is paused, or while `concurrency` deliveries run already, over all machines. Leases that ran out are
        taken back before.
        """
        terms = {"by": worker, "lease_ms": int(lease_s * 1000), "most": concurrency}
        for _ in range(_TRIES):
            try:
                with self._database.writing() as connection:
                    self._database.lock_claims(connection)  # or two would both take the last place
                    self._take_back_expired(connection, max_crashes)
                    row = connection.execute(self._claim, terms).first()
            except Conflict:
                continue
            return None if row is None else _lease(row)
        return None

    def renew(self, lease: Lease, *, lease_s: float) -> Lease:
        """The lease, from now on for `lease_s`. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            lease_until = connection.execute(
                self._longer, {"lease_ms": int(lease_s * 1000), **terms_of(lease)}
            ).scalar()
        if lease_until is None:
            raise lost(lease)
        return replace(lease, lease_until=from_ms(lease_until))

    def release_all_leases(self) -> int:
        """End all leases, as at the start of the only process that works on this database; how many there were.

        The next claim takes them back, as it does with any lease that ran out: each counts as a crash.
        """
        end = (
            deliveries.update()
            .where(_c.state == literal("running"), _c.lease_until > self._database.now)
            .values(lease_until=self._database.now)
        )
        with self._database.writing() as connection:
            return connection.execute(end).rowcount

    def seconds_until_due(self, *, concurrency: int = _ANY) -> float | None:
        """How long there is nothing to claim: 0.0 when there is something now, None when nothing is open.

        What waits behind another delivery of its thread, for a pause to end, or for one of `concurrency` places, does
        not count, so that no worker wakes up in vain; a running one counts at the end of its lease, when it may have
        to be taken back.
        """
        due = select(func.min(_waiting.c.due_at)).where(_MAY_BEGIN, _PLACE_IS_FREE).scalar_subquery()
        expiry = select(func.min(_c.lease_until)).where(_c.state == literal("running")).scalar_subquery()
        with self._database.reading() as connection:
            asked = select(due, expiry, self._database.now)
            due_at, expires_at, now = connection.execute(asked, {"most": concurrency}).one()
        moments = [moment for moment in (due_at, expires_at) if moment is not None]
        return max(0.0, (min(moments) - now) / 1000) if moments else None

    @cached_property
    def _longer(self) -> ReturningUpdate[int | None]:
        longer = self._database.now + bindparam("lease_ms", type_=BigInteger())
        return deliveries.update().where(self._shared.is_held).values(lease_until=longer).returning(_c.lease_until)

    @cached_property
    def _claim(self) -> ReturningUpdate[Any]:
        chosen = (
            select(_waiting.c.id)
            .where(_MAY_BEGIN, has_passed(_waiting.c.due_at, self._database.now), _PLACE_IS_FREE)
            .order_by(_waiting.c.rank, _waiting.c.id)
            .limit(1)
            .with_for_update(of=_waiting, skip_locked=True)
        )
        return (
            deliveries.update()
            .where(_c.id == chosen.scalar_subquery())
            .values(
                state="running",
                reason=None,
                worker=bindparam("by"),
                attempt=_c.attempt + 1,
                progressed=False,
                lease_until=self._database.now + bindparam("lease_ms", type_=BigInteger()),
            )
            .returning(*_LEASED)
        )

    @cached_property
    def _expired(self) -> Select[Any]:
        return (
            select(_c.id, _c.repository, _c.crashes, _c.progressed)
            .where(_c.state == literal("running"), has_passed(_c.lease_until, self._database.now))
            .with_for_update(skip_locked=True)
        )

    def _take_back_expired(self, connection: Connection, max_crashes: int) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for row in connection.execute(self._expired).all():
            crashes = row.crashes if row.progressed else row.crashes + 1
            values: dict[str, object] = {"crashes": crashes, "worker": None, "lease_until": None}
            if crashes < max_crashes:
                values |= {
                    "state": "queued",
                    "due_at": self._database.now,
                    "reason": "its worker died; to be taken up again",
                }
            else:
                reason = f"its worker died {crashes} times without getting a step further"
                values |= {"state": "dead", "finished_at": self._database.now, "reason": reason}
                counts += ended("dead", repository=row.repository)
            connection.execute(deliveries.update().where(_c.id == row.id).values(values))
            release_locks(connection, row.id)
        self._count(connection, counts)


def _lease(row: Any) -> Lease:
    """A body that cannot be read is an empty one: whoever works on it buries it, and the others go on."""
    try:
        body = unpack(row.body)
    except DamagedError:
        body = b""
    return Lease(
        guid=row.guid,
        attempt=row.attempt,
        lease_until=from_ms(row.lease_until),
        event=row.event,
        action=row.action,
        request_id=row.request_id,
        repository_id=row.repository_id,
        repository=row.repository,
        number=row.number,
        head_sha=row.head_sha,
        received_at=from_ms(row.received_at),
        attempts=row.attempts,
        failures=row.failures,
        crashes=row.crashes,
        first_failure_at=maybe_from_ms(row.first_failure_at),
        body=body,
    )
