"""Many slow clients: each connects, sends slowly or nothing, and connects again when the server closes."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Self, cast

from tests.e2e.service import Waiting

BYTE_INTERVAL_S, RECONNECT_S = 0.25, 1.0
"""Between two bytes, and before a new connection. With 300 places for 500 clients, 200 connect each second."""


@dataclass(frozen=True)
class Attack:
    opening: bytes
    is_slow: bool


_TO_THE_BODY = (
    b"POST /webhook HTTP/1.1\r\nHost: hls\r\nContent-Type: application/json\r\nX-GitHub-Event: issues\r\n"
    b"X-GitHub-Delivery: attack\r\nX-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
    b"Content-Length: 1900000\r\n\r\n"
)

SILENCE = Attack(b"", is_slow=False)
HEADERS = Attack(b"POST /webhook HTTP/1.1\r\n", is_slow=True)
BODY = Attack(_TO_THE_BODY, is_slow=True)
LARGE_BODY = Attack(_TO_THE_BODY + b"a" * 1_800_000, is_slow=True)


class SlowClients:
    """A context manager with `count` clients that use the attacks in turn; all have connected when it is entered.

    Other threads read the counters.
    """

    def __init__(self, port: int, count: int, *attacks: Attack) -> None:
        self.port, self._count, self._attacks = port, count, attacks
        self.connected = 0
        self.closed = 0  # by the server
        self.open = 0
        self.ended = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        waiting = Waiting(60)
        while (self.connected < self._count or not self.closed) and waiting.more():
            pass
        assert self.connected >= self._count, f"only {self.connected} of {self._count} clients connected"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        clients = [SlowClient(self, self._attacks[n % len(self._attacks)]) for n in range(self._count)]
        for client in clients:
            self._loop.call_soon(client.connect)
        self._loop.run_forever()
        self.ended = True
        self._loop.run_until_complete(self._close_all(clients))
        self._loop.close()

    async def _close_all(self, clients: list[SlowClient]) -> None:
        await asyncio.gather(*asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())})
        for client in clients:
            client.close()
        await asyncio.sleep(0)


class SlowClient(asyncio.Protocol):
    def __init__(self, clients: SlowClients, attack: Attack) -> None:
        self._clients, self._attack = clients, attack
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connect(self) -> None:
        if not self._clients.ended:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._clients.port)
        except OSError:
            loop.call_later(RECONNECT_S, self.connect)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._clients.connected += 1
        self._clients.open += 1
        self._transport.write(self._attack.opening)
        if self._attack.is_slow:
            self._send_byte(self._transport)

    def _send_byte(self, transport: asyncio.Transport) -> None:
        if transport is self._transport:
            transport.write(b"a")
            asyncio.get_running_loop().call_later(BYTE_INTERVAL_S, self._send_byte, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._clients.open -= 1
        if not self._clients.ended:
            self._clients.closed += 1
            asyncio.get_running_loop().call_later(RECONNECT_S, self.connect)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
