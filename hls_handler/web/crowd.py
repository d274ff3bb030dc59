"""The crowd of open connections: what each is waited for, since when, and who goes when that was long enough."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, Literal, TypeVar

Awaited = Literal["head", "next request", "body", "reading"]
"""Of a client: the rest of its headers, another request, the rest of its body, or that it takes what we sent."""

Client = TypeVar("Client")


class Crowd(Generic[Client]):
    """Who is connected. Those that nothing is awaited of are being served; they neither go nor make room.

    `now` is in seconds and never goes back: the order in which clients came to be waited for is that of their times.
    """

    def __init__(self) -> None:
        self._all: set[Client] = set()
        self._awaited: OrderedDict[Client, tuple[Awaited, float]] = OrderedDict()
        self.made_room = 0  # connections closed for others, since somebody last set it to nought

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, client: Client, now: float) -> None:
        self._all.add(client)
        self._awaited[client] = ("head", now)

    def leave(self, client: Client) -> None:
        self._all.discard(client)
        self._awaited.pop(client, None)

    def serve(self, client: Client) -> None:
        """Nothing is awaited of it: it has sent a whole request, and it is our turn."""
        self._awaited.pop(client, None)

    def wait(self, client: Client, awaited: Awaited, now: float) -> None:
        """Wait from `now` on; for what is awaited already, from then on still: nobody gains time by dripping."""
        if client not in self._all:
            return
        before = self._awaited.get(client)
        if before is None or before[0] != awaited:
            self._awaited[client] = (awaited, now)
            self._awaited.move_to_end(client)

    def awaited(self, client: Client) -> Awaited | None:
        found = self._awaited.get(client)
        return found[0] if found else None

    def overdue(self, now: float, patience_s: Mapping[Awaited, float]) -> list[tuple[Client, Awaited]]:
        """Who was waited for longer than that; what `patience_s` does not name has a deadline elsewhere."""
        return [
            (client, awaited)
            for client, (awaited, since) in self._awaited.items()
            if awaited in patience_s and now - since >= patience_s[awaited]
        ]

    def longest_awaited(self) -> Client | None:
        """Who goes when there is room for one less."""
        return next(iter(self._awaited), None)
