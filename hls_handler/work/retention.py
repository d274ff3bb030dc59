"""Retention: a thread that deletes old deliveries and bodies in small batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import Settings

log = logging.getLogger(__name__)

EVERY_S = 600.0
"""Seconds between runs."""
BATCH = 20
"""Deliveries per transaction: a few milliseconds, during which SQLite blocks other writes."""
REST_S, REST_SHARE = 0.05, 9.0
"""Pause after a batch: at least this many seconds, and this many times the duration of the batch."""


class RetentionStore(Protocol):
    """The deletions that `Retention` calls. Each returns the number of rows; None if another process deletes."""

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None: ...

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Spans:
    """Time after its end for which a delivery and its body are stored."""

    deliveries: timedelta
    bodies: timedelta


def spans(settings: Settings) -> Spans:
    """Return the times from settings. Replays are detected by stored deliveries, hence at least `replay_window_h`."""
    replays = timedelta(hours=settings.limits.replay_window_h)
    deliveries = max(timedelta(days=settings.storage.keep_days), replays)
    return Spans(deliveries=deliveries, bodies=timedelta(days=settings.storage.body_days))


class Retention:
    """A thread that deletes at the start and every `EVERY_S`. Stopping it waits for one batch at most."""

    def __init__(
        self,
        store: RetentionStore,
        settings: Callable[[], Settings],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """`settings` returns the current ones. `pause` waits this many seconds; the default ends early on `stop`."""
        self._store, self._settings, self._clock = store, settings, clock
        self._ended = threading.Event()
        self._pause = pause or self._ended.wait
        self._thread = threading.Thread(target=self._loop, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)

    def look(self) -> None:
        """Delete in batches all that is older than the settings allow. Raises `StoreUnavailable`."""
        limits = spans(self._settings())
        bodies = self._all(self._store.delete_bodies, limits.bodies)
        deliveries = self._all(self._store.delete_deliveries, limits.deliveries)
        if bodies or deliveries:
            log.info("old deliveries deleted", extra={"deliveries": deliveries, "bodies": bodies})

    def _all(self, delete: Callable[..., int | None], after: timedelta) -> int:
        """Delete until nothing is left, another process deletes, or `stop` is called. Returns the number of rows."""
        total = 0
        while not self._ended.is_set():
            began = self._clock()
            deleted = delete(after=after, most=BATCH) or 0
            total += deleted
            if deleted < BATCH:
                break
            self._pause(max(REST_S, REST_SHARE * (self._clock() - began)))
        return total

    def _loop(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except StoreUnavailable as exc:  # receiver and workers report the problem to /health
                log.warning("old deliveries could not be deleted", extra={"error": str(exc)})
            except Exception:  # a defect must not end the thread
                log.exception("defect while deleting old deliveries")
            self._pause(EVERY_S)
