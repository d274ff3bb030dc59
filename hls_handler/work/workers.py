"""The workers: threads that claim deliveries one at a time, and one that keeps their leases alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hls_handler.deliveries import Finished, Lease
from hls_handler.errors import StoreUnavailable
from hls_handler.logs import bound
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import HeldLeases
from hls_handler.settings.model import Limits
from hls_handler.work.conclusion import attempt, store_trouble
from hls_handler.work.health import Health
from hls_handler.work.idling import Idling
from hls_handler.work.ports import WorkerContext

log = logging.getLogger(__name__)

POLL_S = 2.0
"""How long an idle worker sleeps at most: another process (`deliveries retry`) may have queued something."""


class Workers:
    """`limits.concurrency` threads. Each has a toolbox (with clients of its own), and takes tools for each claim."""

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        leases: HeldLeases,
        limits: Callable[[], Limits],
        name: str,
        make_toolbox: Callable[[threading.Event], Callable[[], WorkerContext]],
        finished: Callable[[Finished], None],
        health: Health,
        poll_s: float = POLL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits` gives those of now; of them `concurrency` is asked for once. A worker makes one toolbox."""
        self._queue, self._leases, self._limits, self._name = queue, leases, limits, name
        self._make_toolbox, self._finished, self._health = make_toolbox, finished, health
        self._poll_s, self._clock = poll_s, clock
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._told_at = 0.0
        self._idling = Idling(clock)
        self._threads = [
            threading.Thread(target=self._loop, args=(f"{name}-{n}",), name=f"worker-{n}", daemon=True)
            for n in range(limits().concurrency)
        ]
        self._renewer = threading.Thread(target=self._renew, name="lease-renewer", daemon=True)

    def start(self) -> None:
        for thread in [*self._threads, self._renewer]:
            thread.start()

    def wake(self, workers: int | None = None) -> None:
        """Something was committed: so many idle workers look at once, or all where it is not known how much it is."""
        self._idling.wake(workers)

    def begin_to_stop(self) -> None:
        """Take no new work; running steps may end. The time that `stop` gives them begins now."""
        if not self._stopping.is_set():
            self._told_at = self._clock()
            self._stopping.set()
            self.wake()

    def stop(self, *, within_s: float) -> int:
        """Let running steps end. The number of workers that did not within the time."""
        self.begin_to_stop()
        until = self._told_at + within_s
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - self._clock()))
        self._ended.set()
        return sum(thread.is_alive() for thread in self._threads)

    def _loop(self, name: str) -> None:
        toolbox = self._make_toolbox(self._stopping)
        while not self._stopping.is_set():
            try:
                self._next(name, toolbox())
            except StoreUnavailable as exc:
                store_trouble(self._health, exc)
                self._idling.leave()
                self._stopping.wait(self._poll_s)
            except Exception:  # the edge of a worker's thread: it must not end over a defect, whose lease will run out
                log.exception("defect in a worker")
                self._idling.leave()
                self._stopping.wait(self._poll_s)

    def _next(self, name: str, tools: WorkerContext) -> None:
        """Work on the next delivery, or wait until there is one."""
        seen = self._idling.news
        if self._stopping.is_set():
            return  # told between two looks: that wake-up is in `seen` already, and nobody would wake us again
        limits, asked_at = self._limits(), self._leases.now()
        lease = self._queue.claim(
            worker=name, lease_s=limits.lease_s, max_crashes=limits.max_crashes, concurrency=limits.concurrency
        )
        if lease is not None:
            self._leases.add(lease, asked_at=asked_at, lease_s=limits.lease_s)
            self._idling.leave()
            self._health.answers("store")  # which has less to write than the door has
            self._work_on(lease, tools)
            return
        idle_s = self._queue.seconds_until_due(concurrency=limits.concurrency)
        self._idling.wait(seen, self._poll_s if idle_s is None else min(max(idle_s, 0.005), self._poll_s))

    def _work_on(self, lease: Lease, tools: WorkerContext) -> None:
        try:
            with bound(delivery=lease.guid, request_id=lease.request_id, repository=lease.repository):
                finished = attempt(lease, tools)
        finally:
            self._leases.remove(lease)
        if finished is not None:
            self._finished(finished)
        self._idling.wake(1)  # the next delivery of the same thread may go now, and we may find another one first

    def _renew(self) -> None:
        """Renew every held lease three times in its life. A worker that hangs in a call keeps it: calls have ends.

        While the database does not answer, it is asked oftener: a lease that ends unrenewed is a crash to everybody.
        """
        answered = True
        while not self._ended.wait(self._limits().lease_s / (3 if answered else 15)):
            answered = self._leases.renew_all()
