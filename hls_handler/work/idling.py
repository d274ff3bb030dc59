"""Idle workers: one of them looks from time to time whether something is due, the others sleep until they are woken.

Were all to look, each delivery that comes would have as many claims as there are workers, and the door would wait for
all of them before it may write the next one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable


class Idling:
    """Shared by the workers of one process; safe to call from every thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._news = 0  # grows with every wake-up, so that one between two looks is not missed
        self._next_look = math.inf  # by `clock`; of the one who looks

    @property
    def news(self) -> int:
        """To be read before a look, and given to `wait` after one that was in vain."""
        with self._changed:
            return self._news

    def wake(self, workers: int | None = None) -> None:
        """Something may be due: so many workers look at once, or all of them."""
        if workers == 0:
            return
        with self._changed:
            self._news += 1
            if workers is None:
                self._changed.notify_all()
            else:
                self._changed.notify(workers)

    def leave(self) -> None:
        """Somebody found work. If it is who looks from time to time, another takes that over, and looks first of all:
        what was due together is so begun together.
        """
        with self._changed:
            if self._next_look == math.inf:
                self._changed.notify()

    def wait(self, seen: int, seconds: float) -> None:
        """Sleep until there are other news than `seen`, or for `seconds` if nobody else looks before that."""
        until = self._clock() + seconds
        with self._changed:
            if self._news != seen:
                return
            if until >= self._next_look:
                self._changed.wait()
                return
            self._next_look = until
            self._changed.wait(timeout=seconds)
            if self._next_look == until:
                self._next_look = math.inf
