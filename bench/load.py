"""A load generator with little CPU time: persistent connections, each with one request in
flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import cast

import uvloop

_LENGTH = b"content-length: "
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    responses: int
    seconds: float
    statuses: Counter[int]
    p50_s: float  # median of the response times
    p99_s: float

    @property
    def per_second(self) -> float:
        return self.responses / self.seconds


class _Load:
    """State that all connections share."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self.requests, self.until = requests, until
        self.statuses: Counter[int] = Counter()
        self.took_s: list[float] = []
        self.last_response_at = 0.0

    def next_request(self) -> bytes | None:
        return next(self.requests, None) if time.perf_counter() < self.until else None


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load, closed: asyncio.Future[None]) -> None:
        self._load, self._closed = load, closed
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        headers_end = self._received.find(b"\r\n\r\n")
        if headers_end < 0:
            return
        start = self._received.index(_LENGTH) + len(_LENGTH)
        length = int(self._received[start : self._received.index(b"\r", start)])
        if len(self._received) < headers_end + 4 + length:
            return
        self._load.statuses[int(self._received[9:12])] += 1
        now = time.perf_counter()
        self._load.took_s.append(now - self._sent_at)
        self._load.last_response_at = now
        self._received = b""
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._closed.set_exception(exc)
        else:
            self._closed.set_result(None)

    def _send_next(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
        else:
            self._sent_at = time.perf_counter()
            self._transport.write(request)


def send_load(
    port: int, requests: Iterator[bytes], *, seconds: float, connections: int = 64
) -> LoadResult:
    """Send requests until the time is over or all of them are sent."""

    async def run() -> LoadResult:
        loop = asyncio.get_running_loop()
        start = time.perf_counter()
        load = _Load(requests, start + seconds)
        closed_futures = [loop.create_future() for _ in range(connections)]
        for closed in closed_futures:
            await loop.create_connection(partial(_Connection, load, closed), "127.0.0.1", port)
        async with asyncio.timeout(seconds + _TIMEOUT_S):
            await asyncio.gather(*closed_futures)
        return LoadResult(
            sum(load.statuses.values()),
            load.last_response_at - start,
            load.statuses,
            median(load.took_s),
            sorted(load.took_s)[len(load.took_s) * 99 // 100],
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
