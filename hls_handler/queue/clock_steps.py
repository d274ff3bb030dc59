"""Ends waits that became longer because the database's clock was set back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from hls_handler.db.database import Database
from hls_handler.db.tables import checks, deliveries, locks
from hls_handler.db.values import literal
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import EXPIRY, Expiry, machine_seconds

log = logging.getLogger(__name__)

TOLERANCE = timedelta(seconds=5)


class ClockSteps:
    """Compares the database's clock with that of this machine, which is never set. Call `check` in
    one thread.
    """

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue,
        *,
        expiry: Expiry = EXPIRY,
        clock: Callable[[], float] = machine_seconds,
    ) -> None:
        self._database = database
        self._expiry = expiry
        self._queue = queue
        self._clock = clock
        self._started_at: datetime | None = None  # of `clock`, by the database's clock

    def check(self) -> bool:
        """Return True if the clock was set back since the last call. Then waiting deliveries are
        due now.

        In this case, and at the first call, leases and locks end at the latest after the times of
        `Expiry`: the clock may have been set back while no process ran.
        """
        started_at = self._database.current_time() - timedelta(seconds=self._clock())
        expected = self._started_at
        self._started_at = started_at
        if expected is not None and started_at > expected - TOLERANCE:
            return False
        now = self._database.now
        lease_until = now + round(self._expiry.lease_s * 1000)
        locked_until = now + round(self._expiry.slowest_write_s * 1000)
        is_running = deliveries.c.state == literal("running")
        with self._database.writing() as connection:
            self._database.lock_accepts(connection)  # as `reschedule_waiting`
            shorter = deliveries.update().where(is_running, deliveries.c.lease_until > lease_until)
            connection.execute(shorter.values(lease_until=lease_until))
            # An open check waits for its creation to take effect, and then until a process has
            # ended it.
            open_check = checks.update().where(checks.c.ended_at.is_(None))
            connection.execute(open_check.where(checks.c.begun_at > now).values(begun_at=now))
            ends_late = open_check.where(checks.c.ending_until > locked_until)
            connection.execute(ends_late.values(ending_until=locked_until))
            connection.execute(
                locks.update()
                .where(locks.c.locked_until > locked_until)
                .values(locked_until=locked_until)
            )
        if expected is None:
            return False
        waited = self._queue.reschedule_waiting()
        set_back_s = round((expected - started_at).total_seconds())
        log.warning(
            "the database's clock was set back", extra={"by_s": set_back_s, "due_now": waited}
        )
        return True
