"""The counters as `/stats` reads them: off the event loop, at most once a second, with the way they went lately."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hls_handler.errors import StoreUnavailable
from hls_handler.web.stats import Counters, Throughput

FRESH_S = 1.0
WINDOW_S = 300.0
ANSWER_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the store said at one moment."""

    at: float  # seconds, monotonic
    counters: Counters
    queue: Mapping[str, object]
    throughput: Throughput | None


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    webhooks: int
    processed: int


class Counting:
    """Reads counters and queue figures in a thread and keeps them for a second.

    `counters` and `queue` block and may raise `StoreUnavailable`; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        counters: Callable[[], Counters],
        queue: Callable[[], Mapping[str, object]],
        clock: Callable[[], float],
        *,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._counters, self._queue, self._clock = counters, queue, clock
        self._answer_within_s = answer_within_s
        self._reading: asyncio.Task[Reading] | None = None
        self._newest: Reading | None = None
        self._samples: deque[_Sample] = deque()  # those inside the window, and the newest from before it

    async def reading(self) -> Reading:
        """The newest reading, made now if the last one is over a second old. Many at once wait for one.

        Raises `StoreUnavailable`, also when there is no reading within `answer_within_s`; the one thread that reads
        then goes on, and no other is begun beside it.
        """
        if self._newest is not None and self._clock() - self._newest.at < FRESH_S:
            return self._newest
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(_heard)  # there may be nobody any more who waits for it
        done, _ = await asyncio.wait((self._reading,), timeout=self._answer_within_s)
        if not done:
            raise StoreUnavailable(f"the database did not answer within {self._answer_within_s:g} s")
        return self._reading.result()

    async def _read(self) -> Reading:
        now = self._clock()
        counters, queue = await asyncio.to_thread(lambda: (self._counters(), self._queue()))
        self._newest = Reading(now, counters, queue, self._lately(_sample(now, counters)))
        return self._newest

    def _lately(self, newest: _Sample) -> Throughput | None:
        while len(self._samples) > 1 and self._samples[1].at <= newest.at - WINDOW_S:
            self._samples.popleft()
        self._samples.append(newest)
        oldest = self._samples[0]
        if oldest is newest:
            return None
        return Throughput(
            window_s=newest.at - oldest.at,
            webhooks=newest.webhooks - oldest.webhooks,
            processed=newest.processed - oldest.processed,
        )


def _heard(reading: asyncio.Task[Reading]) -> None:
    if not reading.cancelled():
        reading.exception()


def _sample(at: float, counters: Counters) -> _Sample:
    return _Sample(
        at=at,
        webhooks=counters.get(("webhooks", ""), 0),
        processed=counters.get(("outcome", "done"), 0) + counters.get(("outcome", "dead"), 0),
    )
