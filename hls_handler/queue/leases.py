"""The leases that this process holds, and their expiry by a clock of this machine.

Every write to the database is fenced (`queue/changes.py`). GitHub has no fence: a process that was frozen between its
last check of the lease and a request could post what another process has posted meanwhile. Therefore a lease has a
second expiry time, by a clock of this machine that also runs while the machine sleeps. It is computed from the time
before the lease is requested, so it is never later than the expiry in the database. Each write to GitHub checks it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hls_handler.deliveries import Lease
from hls_handler.errors import LeaseLost, StoreUnavailable

log = logging.getLogger(__name__)

MIN_SHARE_FOR_WRITE = 1 / 2
"""Share of a lease's time that must be left when a write to GitHub begins, so that the write has ended before another
machine may claim the delivery. Of `limits.lease_s` (30) these are 15 s, the time limit of a request."""

RENEW_BELOW_SHARE = 0.6
"""With a smaller share of its time left, a lease is renewed before a write. The renewal thread usually acts earlier."""

FRESH_ABOVE_SHARE = RENEW_BELOW_SHARE + 1 / 3
"""With a larger share left, the renewal thread does not renew yet: most deliveries end before they need it."""


def machine_seconds() -> float:
    """Return monotonic seconds. On Linux, this clock also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class HeldLeases:
    """The leases of this process by GUID and attempt, with their expiry by the machine's clock. Thread-safe."""

    def __init__(
        self,
        renew: Callable[[Lease, float], object],
        *,
        lease_s: Callable[[], float],
        clock: Callable[[], float] = machine_seconds,
    ) -> None:
        """`renew` extends a lease in the database to the given seconds from now; `lease_s` returns `limits.lease_s`."""
        self._renew_in_database, self._lease_s, self._clock = renew, lease_s, clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], tuple[Lease, float, float]] = {}  # with expiry and length in s

    def now(self) -> float:
        """Return the machine's clock in seconds: read it before requesting a lease, and pass it to `add`."""
        return self._clock()

    def add(self, lease: Lease, *, asked_at: float, lease_s: float) -> None:
        with self._lock:
            self._held[lease.guid, lease.attempt] = (lease, asked_at + lease_s, lease_s)

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop((lease.guid, lease.attempt), None)

    def renew_all(self) -> bool:
        """Renew leases that are not fresh (`FRESH_ABOVE_SHARE`), drop lost ones; return False if the store failed."""
        now = self._clock()
        with self._lock:
            due = [lease for lease, until, given_s in self._held.values() if until - now <= FRESH_ABOVE_SHARE * given_s]
        responded = True
        for lease in due:
            try:
                self._renew(lease)
            except LeaseLost:
                self.remove(lease)
            except StoreUnavailable as exc:
                responded = False
                log.warning("lease could not be renewed", extra={"delivery": lease.guid, "error": str(exc)})
        return responded

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        """Raise `LeaseLost` unless more than the share `least` (0 to 1) of its time is left. Makes no query."""
        left_s, given_s = self._left(lease)
        if left_s <= least * given_s:
            raise LeaseLost(
                f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has {left_s:.1f} s left by this "
                "machine's clock, too little for the next step: another worker may claim the delivery afterwards"
            )

    def secure(self, lease: Lease) -> None:
        """Renew the lease if too little time is left for a write to GitHub. Raises `LeaseLost`, `StoreUnavailable`."""
        left_s, given_s = self._left(lease)
        if left_s < RENEW_BELOW_SHARE * given_s:
            self._renew(lease)
        self.require(lease, least=MIN_SHARE_FOR_WRITE)

    def _left(self, lease: Lease) -> tuple[float, float]:
        with self._lock:
            held = self._held.get((lease.guid, lease.attempt))
        return (0.0, 0.0) if held is None else (held[1] - self._clock(), held[2])

    def _renew(self, lease: Lease) -> None:
        asked_at, lease_s = self._clock(), self._lease_s()
        self._renew_in_database(lease, lease_s)
        with self._lock:
            key = (lease.guid, lease.attempt)
            if key in self._held:  # else `remove` was called meanwhile
                self._held[key] = (self._held[key][0], asked_at + lease_s, lease_s)


class ExclusiveLease:
    """A lease check that never fails, for a temporary database, where no other process can claim the delivery."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        pass

    def secure(self, lease: Lease) -> None:
        pass
