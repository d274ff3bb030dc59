"""Follows a batch: prints its progress until it has ended, or cannot go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from hls_handler.cli.terminal import print_line, show_progress
from hls_handler.engine.health import Health
from hls_handler.errors import REJECTED
from hls_handler.github.credentials import JWT_REMEDY
from hls_handler.queue.pauses import find_pause
from hls_handler.queue.rate_limiter import SLOT_WAIT
from hls_handler.store.batches import Batch, Progress
from hls_handler.store.storage import Storage
from hls_handler.wording import format_usd

POLL_S = 0.5
UNCLAIMED_S = 30.0
"""Time without a delivery in work after which a command does not wait for a service any longer."""


class Follower:
    """Watches a batch until it has ended, or cannot go on."""

    def __init__(
        self,
        store: Storage,
        batch: Batch,
        *,
        has_service: Callable[[], bool | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`has_service` returns None for PostgreSQL, which has no lock of the service."""
        self._clock = clock
        self._pause = pause
        self._store = store
        self._batch = batch
        self._has_service = has_service
        self._claims = 0  # of the batch's deliveries, before `follow`
        self.health: Health | None = None  # of the workers of this command
        self.problem = ""  # why the batch does not go on
        self._delay: str | None = None  # why a delivery waits, as printed last

    def follow(self) -> None:
        progress = self._store.batches.load_progress(self._batch)
        self._claims = _count_claims(progress)
        show_progress(self._watch(), total=progress.size)

    def _watch(self) -> Iterator[tuple[int, str]]:
        seen_at = self._clock()
        while not self.problem:
            progress = self._store.batches.load_progress(self._batch)
            yield progress.ended, f"batch {self._batch.id}, {format_usd(progress.cost_usd)}"
            if progress.state != "running":
                return
            if self.health is not None:
                self.problem = find_problem(self.health)
            else:
                self._print_delay(progress)
                if self._sees_service(progress):
                    seen_at = self._clock()
                elif self._clock() - seen_at > UNCLAIMED_S:
                    self.problem = "no service works on it: start `hls serve`"
            self._pause(POLL_S)

    def _print_delay(self, progress: Progress) -> None:
        delays = [
            delivery.reason
            for delivery in progress.shown
            if delivery.is_open and not (delivery.reason or SLOT_WAIT).startswith(SLOT_WAIT)
        ]
        if delays and delays[0] != self._delay:
            self._delay = delays[0]
            print_line(f"waiting     {self._delay}", err=True)

    def _sees_service(self, progress: Progress) -> bool:
        """Return whether a service runs. On PostgreSQL: whether one is at work, has begun the
        batch, or may be kept from it by a pause or because nothing is due.
        """
        has_service = self._has_service()
        if has_service is not None:
            return has_service
        now = self._store.now()
        if not any(each.is_open and each.due_at <= now for each in progress.shown):
            return True
        return (
            self._store.deliveries.is_any_running()
            or _count_claims(progress) > self._claims
            or find_pause(self._batch.repository, self._store.pauses.active()) is not None
        )


def _count_claims(progress: Progress) -> int:
    return sum(delivery.attempt for delivery in progress.shown)


def find_problem(health: Health) -> str:
    """Return why the key of Claude, or the credentials of GitHub, are rejected; "" if they are not.

    Other problems are waited for, or end one delivery.
    """
    components = health.snapshot().components
    for name in ("claude", "github"):
        component = components[name]
        remedy = component.remedy or ""
        if remedy.endswith(REJECTED) or remedy == JWT_REMEDY:
            return f"{component.message}; {remedy}"
    return ""
