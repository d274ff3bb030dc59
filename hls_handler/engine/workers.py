"""Worker threads, which claim and process one delivery at a time, and the thread that renews their leases."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from hls_handler.deliveries import Finished
from hls_handler.engine.active_config import WorkerContext
from hls_handler.engine.health import Health
from hls_handler.engine.pipeline import run_delivery
from hls_handler.errors import StoreUnavailable
from hls_handler.logs import log_context
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import HeldLeases
from hls_handler.settings.model import Limits

log = logging.getLogger(__name__)


POLL_S = 2.0
"""Seconds between two polls of the queue by an idle process. Other processes may have queued a delivery."""


class Workers:
    """The worker threads of a process, and the thread that renews their leases."""

    def __init__(
        self,
        *,
        queue: DeliveryQueue,
        leases: HeldLeases,
        limits: Callable[[], Limits],
        name: str,
        connect: Callable[[threading.Event], Callable[[], WorkerContext]],
        finished: Callable[[Finished], None],
        health: Health,
        poll_s: float = POLL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the threads; their number never changes. Each calls `connect` once.

        There is one more than `limits().concurrency`, so that a command such as `/stop` waits for no other delivery.
        """
        self._queue, self._leases, self._limits, self._name = queue, leases, limits, name
        self._connect, self._finished, self._health = connect, finished, health
        self._poll_s, self._clock = poll_s, clock
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._stop_began_at = 0.0
        self._woken = threading.Condition()
        self._wake_ups = 0  # a worker reads it before it looks for work, so that no wake-up is lost until it sleeps
        self._alarm_at = math.inf  # when an idle worker looks for work by itself; the others wait until one wakes them
        self._threads = [
            threading.Thread(target=self._loop, args=(f"{name}-{n}",), name=f"worker-{n}", daemon=True)
            for n in range(limits().concurrency + 1)
        ]
        self._renewer = threading.Thread(target=self._renew, name="lease-renewer", daemon=True)

    def start(self) -> None:
        for thread in [*self._threads, self._renewer]:
            thread.start()

    def wake(self, workers: int | None = None) -> None:
        """Wake this many idle workers to claim deliveries; None wakes all."""
        if workers == 0:
            return
        with self._woken:
            self._wake_ups += 1
            self._woken.notify(len(self._threads) if workers is None else workers)

    def begin_to_stop(self) -> None:
        """Stop claiming deliveries, and start the time limit of `stop`."""
        if not self._stopping.is_set():
            self._stop_began_at = self._clock()
            self._stopping.set()
            self.wake()

    def stop(self, within_s: float) -> int:
        """Wait for the workers to end, at most `within_s` seconds after `begin_to_stop`. Return how many still run."""
        self.begin_to_stop()
        until = self._stop_began_at + within_s
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - self._clock()))
        self._ended.set()
        busy = sum(thread.is_alive() for thread in self._threads)
        if busy:
            log.warning("stopped with deliveries still running; they continue at the next start", extra={"busy": busy})
        return busy

    def _loop(self, name: str) -> None:
        make_context = self._connect(self._stopping)
        while not self._stopping.is_set():
            try:
                self._next(name, make_context)
                continue
            except StoreUnavailable as exc:
                self._health.report_store_problem(exc)
            except Exception:  # a defect must not end the thread; the delivery's lease expires
                log.exception("defect in a worker")
            self._stopping.wait(self._poll_s)

    def _next(self, name: str, make_context: Callable[[], WorkerContext]) -> None:
        seen = self._wake_ups
        if self._stopping.is_set():
            return  # `seen` includes the wake-up of `begin_to_stop`
        limits, asked_at = self._limits(), self._leases.now()
        lease = self._queue.claim(
            worker=name, lease_s=limits.lease_s, max_crashes=limits.max_crashes, concurrency=limits.concurrency
        )
        if lease is not None:
            self._leases.add(lease, asked_at=asked_at, lease_s=limits.lease_s)
            self._health.probe_ok("store")  # claiming does not prove that bodies can be written
            if self._alarm_at == math.inf:
                self.wake(1)
            try:
                with log_context(delivery=lease.guid, request_id=lease.request_id, repository=lease.repository):
                    # Made after the claim, so that a change before the delivery arrived applies to it.
                    finished = run_delivery(lease, make_context())
            finally:
                self._leases.remove(lease)
            if finished is not None:
                self._finished(finished)
            return  # to claim again: the next delivery of this conversation may start now
        idle_s = self._queue.seconds_until_due(concurrency=limits.concurrency)
        wait_s = self._poll_s if idle_s is None else min(max(idle_s, 0.005), self._poll_s)
        with self._woken:
            if self._wake_ups != seen:
                return
            alarm_at = self._clock() + wait_s
            if alarm_at >= self._alarm_at:
                self._woken.wait()
                return
            self._alarm_at = alarm_at
            self._woken.wait(wait_s)
            if self._alarm_at == alarm_at:  # else another worker looks earlier
                self._alarm_at = math.inf

    def _renew(self) -> None:
        # A lease may be renewed any number of times: all calls of a delivery have timeouts, so every delivery ends.
        answered = True
        while not self._ended.wait(self._limits().lease_s / (3 if answered else 15)):
            answered = self._leases.renew_all()
