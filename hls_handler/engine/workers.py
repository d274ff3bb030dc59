"""Worker threads, which claim and process one delivery at a time, and the thread that renews their
leases.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from hls_handler.deliveries import End, Lease
from hls_handler.engine.health import Health
from hls_handler.engine.job import WorkerContext
from hls_handler.engine.pipeline import run_delivery
from hls_handler.errors import StoreUnavailable
from hls_handler.logs import log_context
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import HeldLeases
from hls_handler.settings.model import Limits

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 2.0
"""Seconds between two polls of the queue by an idle process. Other processes may have queued a
delivery.
"""
REST_S = 0.05
"""Seconds between two reads of the queue by an idle process, however many deliveries arrive
meanwhile.
"""


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
        finished: Callable[[str, End], None],
        health: Health,
        poll_s: float = POLL_S,
        rest_s: float = REST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the threads; their number never changes. Each calls `connect` once.

        There is one more than `limits().concurrency`, so that a command such as `/stop` waits for
        no other delivery.
        """
        self._queue = queue
        self._leases = leases
        self._limits = limits
        self._name = name
        self._connect = connect
        self._finished = finished
        self._health = health
        self._poll_s = poll_s
        self._rest_s = rest_s
        self._clock = clock
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._stop_began_at = 0.0
        # held by the one idle worker that reads the queue; the others wait for it
        self._reading = threading.Lock()
        self._delivery_ended = threading.Event()  # since that worker began to read
        self._woken = threading.Condition()
        # a worker reads it before it reads the queue, so that no wake-up is lost until it waits
        self._wake_ups = 0
        self._threads = [
            threading.Thread(
                target=self._loop, args=(f"{name}-{n}",), name=f"worker-{n}", daemon=True
            )
            for n in range(limits().concurrency + 1)
        ]
        self._renewer = threading.Thread(target=self._renew, name="lease-renewer", daemon=True)

    def start(self) -> None:
        for thread in [*self._threads, self._renewer]:
            thread.start()

    def wake(self) -> None:
        """Let an idle worker read the queue now. It claims one delivery, and then the next idle
        worker reads.
        """
        with self._woken:
            self._wake_ups += 1
            self._woken.notify_all()

    def begin_to_stop(self) -> None:
        """Stop claiming deliveries, and start the time limit of `stop`."""
        if not self._stopping.is_set():
            self._stop_began_at = self._clock()
            self._stopping.set()
            self._delivery_ended.set()
            self.wake()

    def stop(self, within_s: float) -> int:
        """Wait for the workers to end, at most `within_s` seconds after `begin_to_stop`. Return how
        many still run.
        """
        self.begin_to_stop()
        until = self._stop_began_at + within_s
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - self._clock()))
        self._ended.set()
        busy = sum(thread.is_alive() for thread in self._threads)
        if busy:
            log.warning(
                "stopped with deliveries still running; they continue at the next start",
                extra={"busy": busy},
            )
        return busy

    def _loop(self, name: str) -> None:
        make_context = self._connect(self._stopping)
        while not self._stopping.is_set():
            with self._reading:
                lease = self._try(partial(self._wait_for_delivery, name))
            if lease is not None:
                self._try(partial(self._process, lease, make_context))

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except StoreUnavailable as exc:
            self._health.report_store_problem(exc)
        except Exception:  # a defect must not end the thread; the delivery's lease expires
            log.exception("defect in a worker")
        self._stopping.wait(self._poll_s)
        return None

    def _wait_for_delivery(self, name: str) -> Lease | None:
        """Claim the next delivery when one is due; None if the service stops."""
        while not self._stopping.is_set():
            self._delivery_ended.clear()
            wake_ups = self._wake_ups
            limits = self._limits()
            idle_s = self._queue.seconds_until_due(concurrency=limits.concurrency)
            lease = self._claim(name, limits) if idle_s == 0 else None
            if lease is not None:
                return lease
            wait_s = self._poll_s if idle_s is None else min(idle_s, self._poll_s)
            self._delivery_ended.wait(self._rest_s)
            with self._woken:
                self._woken.wait_for(partial(self._is_woken, wake_ups), wait_s - self._rest_s)
        return None

    def _is_woken(self, wake_ups: int) -> bool:
        return self._wake_ups != wake_ups or self._stopping.is_set()

    def _claim(self, name: str, limits: Limits) -> Lease | None:
        asked_at = self._leases.now()
        lease = self._queue.claim(
            worker=name,
            lease_s=self._leases.expiry.lease_s,
            concurrency=limits.concurrency,
        )
        if lease is not None:
            self._leases.add(lease, asked_at=asked_at)
            self._health.probe_ok("store")  # claiming does not prove that bodies can be written
        return lease

    def _process(self, lease: Lease, make_context: Callable[[], WorkerContext]) -> None:
        try:
            with log_context(
                delivery=lease.guid, request_id=lease.request_id, repository=lease.repository
            ):
                # Made after the claim, so that a change before the delivery arrived applies to it.
                end = run_delivery(lease, make_context())
        finally:
            self._leases.remove(lease)
            self._delivery_ended.set()  # the next delivery of this conversation may start now
            self.wake()
        if end is not None:
            self._finished(lease.guid, end)

    def _renew(self) -> None:
        # A lease may be renewed any number of times: all calls of a delivery have timeouts, so
        # every delivery ends.
        pause_s = self._leases.renew_all()
        while not self._ended.wait(pause_s):
            pause_s = self._leases.renew_all()
