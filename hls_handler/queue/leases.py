"""Leases and pending writes: they prevent a second comment after a process or machine was frozen.

docs/adr/0007-many-machines.md has a diagram of the times of a lease.

A lease expires in the database: every statement that writes for a delivery contains `is_held`.
GitHub cannot check a lease. If a process is frozen just before it posts a comment, another process
may post the same comment meanwhile. Therefore `HeldLeases` checks the lease before each write to
GitHub, by a clock of this machine that also runs while the machine sleeps. `HeldLeases` counts the
time of a lease from a moment before the claim or renewal is sent to the database. So no lease
expires later in `HeldLeases` than in the database.

A request that creates or edits a comment may take effect late, even if the response is lost. Before
such a request, `LockStatements.begin_write` records a pending write for the comment's lock. No
delivery can acquire this lock until the record expires or `complete_write` deletes the record.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam

from hls_handler.db.tables import deliveries
from hls_handler.db.values import literal
from hls_handler.deliveries import Lease
from hls_handler.errors import LeaseLost, StoreUnavailable

log = logging.getLogger(__name__)

MIN_SHARE_FOR_WRITE = 1 / 2
"""Share of a lease's time that must be left when a write to GitHub begins. Half of a lease is 15 s,
the time limit of a request, so the write has ended before another machine may claim the delivery.
"""

RENEW_BELOW_SHARE = 0.6
"""A lease with a smaller share of its time left is renewed before a write."""

FRESH_ABOVE_SHARE = RENEW_BELOW_SHARE + 1 / 3
"""Leases with a larger share of time left are not renewed yet: most deliveries end before they need
a renewal.
"""


def is_held(now: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the SQL condition that a lease is valid at `now` (ms). `lease_parameters` returns its
    bind parameters.
    """
    return and_(
        deliveries.c.guid == bindparam("held_guid"),
        deliveries.c.attempt == bindparam("held_attempt"),
        deliveries.c.state == literal("running"),
        deliveries.c.lease_until > now,
    )


def lease_parameters(lease: Lease) -> dict[str, object]:
    """Return the bind parameters of `is_held`."""
    return {"held_guid": lease.guid, "held_attempt": lease.attempt}


def lease_lost(lease: Lease) -> LeaseLost:
    return LeaseLost(
        f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has ended: another worker"
        " may have claimed it"
    )


def machine_seconds() -> float:
    """Return monotonic seconds. On Linux, this clock also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Expiry:
    """Times after which processes go on without one that may have been killed. Tests shorten
    them.
    """

    # A worker holds a delivery for this time without renewing its lease. Half of it is the time
    # limit of a request to GitHub.
    lease_s: float = 30.0
    # A comment whose request got no response may appear within this time. It is not posted again
    # before.
    slowest_write_s: float = 60.0


EXPIRY = Expiry()


@dataclass(frozen=True, slots=True)
class _HeldLease:
    lease: Lease
    asked_at: float  # when it was requested, by the machine's clock


class HeldLeases:
    """The leases of this process, with the time when each expires by the machine's clock.
    Thread-safe.
    """

    def __init__(
        self,
        renew: Callable[[Lease, float], object],
        *,
        expiry: Expiry = EXPIRY,
        clock: Callable[[], float] = machine_seconds,
    ) -> None:
        """`renew` extends a lease in the database to the given seconds from now."""
        self._renew_in_database = renew
        self.expiry: Final = expiry
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], _HeldLease] = {}  # by GUID and attempt

    def now(self) -> float:
        """Return the seconds of a monotonic clock. Call it before you request a lease; pass the
        result to `add`.
        """
        return self._clock()

    def add(self, lease: Lease, *, asked_at: float) -> None:
        with self._lock:
            self._held[lease.guid, lease.attempt] = _HeldLease(lease, asked_at)

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop((lease.guid, lease.attempt), None)

    def renew_all(self) -> float:
        """Renew the leases that expire soon, and remove lost leases. Return the seconds until the
        next time, which is soon if the database could not be used.
        """
        used_s = (1 - FRESH_ABOVE_SHARE) * self.expiry.lease_s
        since = self._clock() - used_s
        with self._lock:
            due = [held.lease for held in self._held.values() if held.asked_at <= since]
        pause_s = self.expiry.lease_s / 3
        for lease in due:
            try:
                self._renew(lease)
            except LeaseLost:
                self.remove(lease)
            except StoreUnavailable as exc:
                pause_s = self.expiry.lease_s / 15
                log.warning(
                    "lease could not be renewed", extra={"delivery": lease.guid, "error": str(exc)}
                )
        return pause_s

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        """Raise `LeaseLost` if the remaining share of the lease's time is `least` (0 to 1) or less.
        Sends no query.
        """
        left_s = self._find_left_s(lease)
        if left_s <= least * self.expiry.lease_s:
            raise LeaseLost(
                f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has {left_s:.1f} s"
                " left by this machine's clock, too little for the next step: another worker may"
                " claim the delivery when the lease expires"
            )

    def secure(self, lease: Lease) -> None:
        """Renew the lease if too little time is left for a write to GitHub. Raises `LeaseLost`,
        `StoreUnavailable`.
        """
        if self._find_left_s(lease) < RENEW_BELOW_SHARE * self.expiry.lease_s:
            self._renew(lease)
        self.require(lease, least=MIN_SHARE_FOR_WRITE)

    def _find_left_s(self, lease: Lease) -> float:
        with self._lock:
            held = self._held.get((lease.guid, lease.attempt))
        if held is None:
            return 0.0
        return held.asked_at + self.expiry.lease_s - self._clock()

    def _renew(self, lease: Lease) -> None:
        asked_at = self._clock()
        self._renew_in_database(lease, self.expiry.lease_s)
        with self._lock:
            key = (lease.guid, lease.attempt)
            if key in self._held:  # else `remove` was called meanwhile
                held = self._held[key]
                self._held[key] = _HeldLease(held.lease, asked_at)
