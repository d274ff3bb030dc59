"""A look at the database's clock beside our own: whether it jumped since the last one is a pure decision."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

LEAST_MS = 15_000
"""Less is no jump: it cannot end a lease that was renewed when it should have been."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the database's clock, and our own before and after it; milliseconds."""

    at: int
    asked_at: int
    answered_at: int


@dataclass(slots=True)
class Watch:
    """What a process saw of the clock when it looked last."""

    monotonic: Callable[[], float]
    before: Look | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def own_ms(self) -> int:
        return int(self.monotonic() * 1000)


def jump_between(before: Look, after: Look) -> int:
    """By how many milliseconds the database's clock leapt between two looks; 0 for a clock that just goes on."""
    went = after.at - before.at
    most, least = after.answered_at - before.asked_at, after.asked_at - before.answered_at
    if went > most + LEAST_MS:
        return went - most
    if went < least - LEAST_MS:
        return went - least
    return 0


def left_to_move(jump: int, *, now: int, beat: int) -> int:
    """What of a jump nobody has moved along yet, all of it or nothing; `beat` is the last time that anybody noted.

    Nobody notes a time before all is moved to it. After a jump back, a time that is still to come was noted before it.
    After one forward, a time that lies within the leap was noted by somebody for whom it was none: it is we who slept.
    """
    if jump < 0:
        return jump if beat > now + LEAST_MS else 0
    return jump if beat <= now - jump + LEAST_MS else 0
