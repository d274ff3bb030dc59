"""Many clients that keep a server waiting: each connects, wastes time, and comes again when it is closed."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Self, cast

from tests.e2e.service import Waiting

DRIP_S, AGAIN_S = 0.25, 1.0
"""Between two bytes, and before it comes again: where there is room for three hundred of five, two hundred a second."""


@dataclass(frozen=True)
class Attack:
    opening: bytes
    drips: bool


_TO_THE_BODY = (
    b"POST /webhook HTTP/1.1\r\nHost: hls\r\nContent-Type: application/json\r\nX-GitHub-Event: issues\r\n"
    b"X-GitHub-Delivery: attack\r\nX-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
    b"Content-Length: 1900000\r\n\r\n"
)

SILENCE = Attack(b"", drips=False)
HEADERS = Attack(b"POST /webhook HTTP/1.1\r\n", drips=True)
BODY = Attack(_TO_THE_BODY, drips=True)
LARGE_BODY = Attack(_TO_THE_BODY + b"a" * 1_800_000, drips=True)


class Attackers:
    """`count` clients, the attacks dealt out among them, for as long as the context lasts; all are there at its start.

    What they count is read from another thread: it only grows.
    """

    def __init__(self, port: int, count: int, *attacks: Attack) -> None:
        self.port, self._count, self._attacks = port, count, attacks
        self.came = 0
        self.closed = 0  # by the server
        self.open = 0
        self.ended = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        waiting = Waiting(60)
        while (self.came < self._count or not self.closed) and waiting.more():
            pass
        assert self.came >= self._count, f"only {self.came} of {self._count} came"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        all_of_them = [Attacker(self, self._attacks[n % len(self._attacks)]) for n in range(self._count)]
        for attacker in all_of_them:
            self._loop.call_soon(attacker.come)
        self._loop.run_forever()
        self.ended = True
        self._loop.run_until_complete(self._leave(all_of_them))
        self._loop.close()

    async def _leave(self, all_of_them: list[Attacker]) -> None:
        await asyncio.gather(*asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())})
        for attacker in all_of_them:
            attacker.leave()
        await asyncio.sleep(0)


class Attacker(asyncio.Protocol):
    def __init__(self, all_of_them: Attackers, attack: Attack) -> None:
        self._all, self._attack = all_of_them, attack
        self._transport: asyncio.Transport | None = None
        self._coming: asyncio.Task[None] | None = None

    def come(self) -> None:
        if not self._all.ended:
            self._coming = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._all.port)
        except OSError:
            loop.call_later(AGAIN_S, self.come)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._all.came += 1
        self._all.open += 1
        self._transport.write(self._attack.opening)
        if self._attack.drips:
            self._drip(self._transport)

    def _drip(self, transport: asyncio.Transport) -> None:
        if transport is self._transport:
            transport.write(b"a")
            asyncio.get_running_loop().call_later(DRIP_S, self._drip, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._all.open -= 1
        if not self._all.ended:
            self._all.closed += 1
            asyncio.get_running_loop().call_later(AGAIN_S, self.come)

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()
