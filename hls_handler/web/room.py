"""The room that all webhook bodies share while they come in and until they are answered: who takes too much of it goes.

Without it, many connections with a large body each would be as much memory as all of them together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hls_handler.web.refusal import Refused

BODIES_AT_ONCE = 4
"""Bodies of the largest size that there is room for; of GitHub's usual ones, thousands."""


class Place:
    """One body's part of the room, from its first byte to its answer. A context."""

    def __init__(self, room: Room, most_bytes: int) -> None:
        self._room, self._most_bytes = room, most_bytes
        self.held_bytes = 0
        self.since = 0.0
        self.lost = False  # it had to make room for others
        self.give_up: Callable[[], None] = _nothing

    def __enter__(self) -> Self:
        self._room.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.leave(self)

    def has_room_for(self, more_bytes: int) -> bool:
        """Whether nobody has to go, or to be waited for, before that."""
        return self._room.used_bytes + more_bytes <= self._most_bytes

    async def grow(self, more_bytes: int) -> None:
        """Take so much more. Raises `Refused` (408) when nobody else can make room for it."""
        if not self.lost:
            self.held_bytes += more_bytes
            self._room.used_bytes += more_bytes
        while not self.lost and not self.has_room_for(0):
            await self._room.make_room(self)
        if self.lost:
            raise no_room()

    def complete(self) -> None:
        """All of it is there: from now on it makes no room until it is answered."""
        self._room.settle(self)


class Room:
    """What is held, and by whom. `clock` gives monotonic seconds. Of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._coming: set[Place] = set()
        self._left = asyncio.Event()
        self._complete = 0
        self.used_bytes = 0

    def place(self, *, most_bytes: int) -> Place:
        """For one more body; `most_bytes` is what all together may hold."""
        return Place(self, most_bytes)

    def enter(self, place: Place) -> None:
        place.since = self._clock()
        self._coming.add(place)

    def settle(self, place: Place) -> None:
        self._coming.discard(place)
        self._complete += 1

    def leave(self, place: Place) -> None:
        if place in self._coming:
            self._coming.discard(place)
        elif not place.lost:
            self._complete -= 1
        self.used_bytes -= place.held_bytes
        place.held_bytes = 0
        self._left.set()

    async def make_room(self, place: Place) -> None:
        """Let the costliest of the bodies that are still coming go; if `place` is that, wait for a complete one.

        Cost is bytes times seconds: neither a large body that comes fast nor a small one that comes slowly has to go
        before what is both.
        """
        now = self._clock()
        costliest = max(self._coming, key=lambda one: (one.held_bytes * (now - one.since), one.held_bytes))
        if costliest is not place:
            self._lose(costliest)
            costliest.give_up()
        elif self._complete:
            self._left.clear()
            await self._left.wait()
        else:
            self._lose(place)

    def _lose(self, place: Place) -> None:
        self._coming.discard(place)
        self.used_bytes -= place.held_bytes
        place.held_bytes = 0
        place.lost = True
        self._left.set()


def no_room() -> Refused:
    return Refused(408, "the body came too slowly for its size while others needed the room; send it again later")


def _nothing() -> None:
    """Before it is waited for, nobody can be told to give up."""
