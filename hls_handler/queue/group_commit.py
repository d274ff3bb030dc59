"""Group commit: deliveries that arrive together, or during a commit, are stored in one
transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hls_handler.db.counters import Counts
from hls_handler.deliveries import Accepted, NewDelivery
from hls_handler.errors import StoreUnavailable
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.wording import count

_MAX_BATCH = 256
COMMIT_TIMEOUT_S = 6.0
"""Seconds within which a delivery must be committed; GitHub waits at most 10 s for the response."""
_CLOSE_TIMEOUT_S = 3.0
"""Seconds that `close` waits for the last commit. All requests have ended by then."""
MAX_WAITING_BYTES = 100_000_000
"""Limit for bodies that wait for a slow database; more are rejected at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    new: NewDelivery
    result: asyncio.Future[Accepted]


class AcceptQueue:
    """Stores deliveries for an event loop without blocking it: its own thread commits them in
    batches.
    """

    def __init__(
        self,
        store: DeliveryQueue,
        *,
        on_commit: Callable[[list[Accepted]], None],
        timeout_s: float = COMMIT_TIMEOUT_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """`on_commit` runs in the committing thread before `accept` returns."""
        self._store = store
        self._on_commit = on_commit
        self._timeout_s = timeout_s
        self._max_waiting_bytes = max_waiting_bytes
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._must_commit = False
        self._counts: Counter[tuple[str, str]] = Counter()
        self._must_count = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="accept", daemon=True)
        self._thread.start()

    async def accept(self, new: NewDelivery) -> Accepted:
        """Store a delivery; return after its commit. If the caller is cancelled, the delivery is
        stored all the same.

        Raises `StoreUnavailable`, also after `timeout_s`. A commit that has begun by then may still
        succeed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(new, loop.create_future())
        with self._changed:
            if self._is_closed:
                raise StoreUnavailable("the service is shutting down: send the delivery again")
            if self._waiting and self._waiting_bytes + len(new.body) > self._max_waiting_bytes:
                waiting_now = count(len(self._waiting), "delivery")
                problem = f"{waiting_now} already waiting for the database: see why it is slow"
                raise StoreUnavailable(problem)
            self._waiting.append(waiting)
            self._waiting_bytes += len(new.body)
            if len(self._waiting) == 1:
                loop.call_soon(self._hand_over, loop, 0)
        timer = loop.call_later(self._timeout_s, self._time_out, waiting)
        try:
            return await waiting.result
        finally:
            timer.cancel()

    def count(self, counts: Counts) -> None:
        """Increment counters with the next commit of a delivery or of `commit_counts`, unless that
        fails.

        Returns at once. No commit of its own, because a sender of rejected requests could cause any
        number of them.
        """
        with self._changed:
            self._counts.update(counts)

    def commit_counts(self) -> None:
        """Commit the increments that wait, if there are any; return at once."""
        with self._changed:
            self._must_count = bool(self._counts)
            self._changed.notify()

    def close(self) -> None:
        """Commit the waiting deliveries and end the thread; wait at most 3 s. Later deliveries are
        rejected.
        """
        with self._changed:
            self._is_closed = True
            self._must_count = bool(self._counts)
            self._changed.notify()
        self._thread.join(timeout=_CLOSE_TIMEOUT_S)

    def _hand_over(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        """Let the thread commit the deliveries that wait, when the event loop has no request left
        to process.

        One large batch is faster than two small ones. The loop is called again as long as
        deliveries arrive.
        """
        arrived = len(self._waiting)
        if before < arrived < _MAX_BATCH:
            loop.call_soon(self._hand_over, loop, arrived)
            return
        with self._changed:
            self._must_commit = True
            self._changed.notify()

    def _time_out(self, waiting: _Waiting) -> None:
        with self._changed:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._waiting_bytes -= len(waiting.new.body)
        if not waiting.result.done():
            problem = (
                f"the database did not answer within {self._timeout_s:g} s: see whether it hangs,"
                " is locked by another program, or cannot be reached"
            )
            waiting.result.set_exception(StoreUnavailable(problem))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._is_closed and not self._waiting and not self._must_count:
                    return
                batch = self._waiting[:_MAX_BATCH]
                self._waiting = self._waiting[_MAX_BATCH:]
                self._must_commit = bool(self._waiting)
                self._waiting_bytes -= sum(len(waiting.new.body) for waiting in batch)
                counts = self._counts
                self._counts = Counter()
                self._must_count = False
            self._commit(batch, counts)

    def _has_work(self) -> bool:
        # a delivery that timed out does not wait
        must_commit = self._must_commit and bool(self._waiting)
        return must_commit or self._must_count or self._is_closed

    def _commit(self, batch: Sequence[_Waiting], counts: Counts) -> None:
        results: Sequence[Accepted | Exception]
        try:
            accepted = self._store.accept([waiting.new for waiting in batch], counts=counts)
            self._on_commit(accepted)
            results = accepted
        except Exception as exc:  # noqa: BLE001 (the top of the thread)
            results = [exc] * len(batch)  # each caller gets the error, and the next batch runs
        if batch:
            with suppress(RuntimeError):  # the event loop of the service is closed
                batch[0].result.get_loop().call_soon_threadsafe(_set_results, batch, results)


def _set_results(batch: Sequence[_Waiting], results: Sequence[Accepted | Exception]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.result.done():  # its caller was cancelled
            continue
        if isinstance(result, Exception):
            waiting.result.set_exception(result)
        else:
            waiting.result.set_result(result)
