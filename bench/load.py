"""A cheap load generator: connections that stay open, each sending its next request when the last one is answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop

_LENGTH = b"content-length: "
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    answered: int
    seconds: float
    statuses: Counter[int]

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds


class _Load:
    """What the connections of one trial share."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self.requests, self.until = requests, until
        self.statuses: Counter[int] = Counter()
        self.last_answer = 0.0

    def next_request(self) -> bytes | None:
        return next(self.requests, None) if time.perf_counter() < self.until else None


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load, closed: asyncio.Future[None]) -> None:
        self._load, self._is_closed = load, closed
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without inheriting from it
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_ends = self._received.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        at = self._received.index(_LENGTH) + len(_LENGTH)
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head_ends + 4 + length:
            return
        self._load.statuses[int(self._received[9:12])] += 1
        self._load.last_answer = time.perf_counter()
        self._received = b""
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._is_closed.set_exception(exc)
        else:
            self._is_closed.set_result(None)

    def _send_next(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)


def trial(port: int, requests: Iterator[bytes], *, seconds: float, connections: int = 64) -> Trial:
    """Send until the time is over or the requests are used up."""

    async def run() -> Trial:
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        load = _Load(requests, begun + seconds)
        ends = [loop.create_future() for _ in range(connections)]
        for closed in ends:
            await loop.create_connection(partial(_Connection, load, closed), "127.0.0.1", port)
        async with asyncio.timeout(seconds + _PATIENCE_S):
            await asyncio.gather(*ends)
        return Trial(sum(load.statuses.values()), load.last_answer - begun, load.statuses)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
