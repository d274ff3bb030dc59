"""A tally of a service's commits: a few bytes in a file that the service counts in and the test reads and arms."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
import time
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

Side = Literal["before", "after"]
"""Killed before it is done, or after it was done and before anybody was told."""

_LAYOUT = struct.Struct("<qqqq")  # commits so far; die before this one; die after this one; ns of the last commit
NEVER = -1


class Tally:
    """Shared between two processes. One counts, the other one reads and arms; each writes its own words only."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def make(cls, path: Path) -> Tally:
        path.write_bytes(_LAYOUT.pack(0, NEVER, NEVER, 0))
        return cls(path)

    @property
    def commits(self) -> int:
        """How many were begun."""
        return self._word(0)

    @property
    def quiet_s(self) -> float:
        """How long ago the last one began."""
        return (time.monotonic_ns() - self._word(3)) / 1e9

    def kill_at(self, n: int, side: Side) -> None:
        """Kill the service at the n-th commit from now on."""
        self._set_word(1 if side == "before" else 2, self.commits + n)

    def disarm(self) -> None:
        self._set_word(1, NEVER)
        self._set_word(2, NEVER)

    def count(self) -> int:
        """One more is about to be done; its number."""
        self._set_word(3, time.monotonic_ns())
        self._set_word(0, self.commits + 1)
        return self.commits

    def is_deadly(self, number: int, side: Side) -> bool:
        """Also of a later one, should an idle worker have committed while we armed."""
        return 0 < self._word(1 if side == "before" else 2) <= number

    def _word(self, place: int) -> int:
        return int(_LAYOUT.unpack(self._words[: _LAYOUT.size])[place])

    def _set_word(self, place: int, value: int) -> None:
        self._words[8 * place : 8 * place + 8] = struct.pack("<q", value)


def watch_commits(tally: Tally) -> None:
    """Count every transaction that this process commits from now on, and die where the tally says.

    From outside of the product: SQLAlchemy tells of a commit right before the driver's own, and of a connection that
    was given back, which is the first that anybody does after it.
    """
    counting = threading.Lock()
    mine = threading.local()

    def before(_connection: Any) -> None:
        with counting:
            mine.number = tally.count()
            if tally.is_deadly(mine.number, "before"):
                _die()

    def after(_dbapi_connection: Any, _record: Any) -> None:
        number, mine.number = getattr(mine, "number", None), None
        if number is not None and tally.is_deadly(number, "after"):
            _die()

    event.listen(Engine, "commit", before)
    event.listen(Pool, "checkin", after)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # the signal comes at once; nothing of ours runs until then
