"""The leases that this process holds, each with the moment until which it may act on it without asking anybody.

The database decides who holds a delivery, and every write to it is fenced. GitHub knows no fence: a process that was
frozen between its last look at the database and a request would wake up and post what another has posted meanwhile. So
a lease has a second end, by a clock of this machine that goes on while the machine sleeps. It is counted from before
the lease was asked for, is therefore never later than the database's, and is looked at right before bytes leave.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hls_handler.deliveries import Lease
from hls_handler.errors import LeaseLost, StoreUnavailable
from hls_handler.store import Store

log = logging.getLogger(__name__)

LEAST = 1 / 2
"""The part of its time that must be left of a lease when a write to GitHub begins: it has ended, one way or the other,
before another machine may look. Of `limits.lease_s` (30) these are 15 s, as long as an answer is waited for."""

RENEWED_BELOW = 0.6
"""Less than this is renewed before a write; the renewer, if it is in time, never lets it come to that."""

FRESH = RENEWED_BELOW + 1 / 3
"""A lease that has more of its time left is not renewed yet: most deliveries end before theirs has to be. The renewer
looks again after a third of that time."""


def machine_seconds() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock (Linux); else monotonic."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """What is held, by delivery and attempt: a thread that lost an attempt does not give away the next one."""

    def __init__(
        self, store: Store, *, lease_s: Callable[[], float], clock: Callable[[], float] = machine_seconds
    ) -> None:
        """`lease_s` gives that of now."""
        self._store, self._lease_s, self._clock = store, lease_s, clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], tuple[Lease, float, float]] = {}  # until when, and how long it was given

    def now(self) -> float:
        """The moment before a lease is asked for, for `add`."""
        return self._clock()

    def add(self, lease: Lease, *, asked_at: float, lease_s: float) -> None:
        with self._lock:
            self._held[lease.guid, lease.attempt] = (lease, asked_at + lease_s, lease_s)

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._held.pop((lease.guid, lease.attempt), None)

    def renew_all(self) -> bool:
        """Renew what is held and no longer fresh; whether the database answered. What is lost is not held any more."""
        now = self._clock()
        with self._lock:
            held = [lease for lease, until, given_s in self._held.values() if until - now <= FRESH * given_s]
        answered = True
        for lease in held:
            try:
                self._renew(lease)
            except LeaseLost:
                self.remove(lease)
            except StoreUnavailable as exc:
                answered = False
                log.warning("lease could not be renewed", extra={"delivery": lease.guid, "error": str(exc)})
        return answered

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        """Raises `LeaseLost` unless this part of the lease's time is left. Asks nobody."""
        left_s, given_s = self._left(lease)
        if left_s <= least * given_s:
            raise LeaseLost(
                f"the lease on delivery {lease.guid} (attempt {lease.attempt}) has {left_s:.1f} s left by this "
                "machine's clock, which is not enough to begin anything: another may hold it by then"
            )

    def secure(self, lease: Lease) -> None:
        """Have enough left for a write, and renew the lease if need be. Raises `LeaseLost` and `StoreUnavailable`."""
        left_s, given_s = self._left(lease)
        if left_s < RENEWED_BELOW * given_s:
            self._renew(lease)
        self.require(lease, least=LEAST)

    def _left(self, lease: Lease) -> tuple[float, float]:
        with self._lock:
            held = self._held.get((lease.guid, lease.attempt))
        return (0.0, 0.0) if held is None else (held[1] - self._clock(), held[2])

    def _renew(self, lease: Lease) -> None:
        asked_at, lease_s = self._clock(), self._lease_s()
        self._store.renew(lease, lease_s=lease_s)
        with self._lock:
            key = (lease.guid, lease.attempt)
            if key in self._held:  # else it was given back meanwhile
                self._held[key] = (self._held[key][0], asked_at + lease_s, lease_s)


class NoRival:
    """In place of `Leases` where nobody else can hold a delivery: on a store of one's own."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        pass

    def secure(self, lease: Lease) -> None:
        pass
