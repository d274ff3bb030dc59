"""Retention: the thread that has the store forget what is old, a little at a time, so that nobody waits for it."""

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
BATCH = 20
"""Deliveries in one transaction: a few milliseconds, in which on SQLite nobody else writes."""
REST_S, REST_SHARE = 0.05, 9.0
"""After a batch everybody else has at least so long, and so many times as long as the batch took."""


class ForgettingStore(Protocol):
    """What of the store this needs."""

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None: ...

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Spans:
    """How long after it was finished a delivery is kept, and its body."""

    deliveries: timedelta
    bodies: timedelta


def spans(settings: Settings) -> Spans:
    """A delivery is how a replay of it is known: it stays as long as `limits.replay_window_h` at least."""
    replays = timedelta(hours=settings.limits.replay_window_h)
    kept = max(timedelta(days=settings.storage.keep_days), replays)
    return Spans(deliveries=kept, bodies=timedelta(days=settings.storage.body_days))


class Retention:
    """One thread, which looks at the start and every ten minutes. Stopping it never waits for more than one batch."""

    def __init__(
        self,
        store: ForgettingStore,
        settings: Callable[[], Settings],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """`settings` gives those of now. `pause` waits for so many seconds, by default until the service ends."""
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
        """Forget, batch after batch, all that is too old by the settings of now. Raises `StoreUnavailable`."""
        kept = spans(self._settings())
        bodies = self._all(self._store.delete_bodies, kept.bodies)
        deliveries = self._all(self._store.delete_deliveries, kept.deliveries)
        if bodies or deliveries:
            log.info("old deliveries forgotten", extra={"deliveries": deliveries, "bodies": bodies})

    def _all(self, forget: Callable[..., int | None], after: timedelta) -> int:
        """How many were forgotten until there were no more, another process was at it, or the service ended."""
        total = 0
        while not self._ended.is_set():
            began = self._clock()
            forgotten = forget(after=after, most=BATCH) or 0
            total += forgotten
            if forgotten < BATCH:
                break
            self._pause(max(REST_S, REST_SHARE * (self._clock() - began)))
        return total

    def _loop(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except StoreUnavailable as exc:  # the door and the workers tell /health; nobody waits for this
                log.warning("old deliveries could not be forgotten", extra={"error": str(exc)})
            except Exception:  # the edge of the thread: it must not end over one defect
                log.exception("defect while forgetting old deliveries")
            self._pause(EVERY_S)
