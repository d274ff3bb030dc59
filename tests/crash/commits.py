"""A counter of a service's commits in shared memory, which can kill the service at one of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from ctypes import c_int64
from multiprocessing.sharedctypes import RawValue
from typing import Any, Literal

from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

Side = Literal["before", "after"]
"""Killed before the commit or request is executed, or after it, before the service receives the
result.
"""

_NEVER = 2**62


class CommitCounter:
    """Shared by a test and the service: the service counts, and the test reads and selects a
    commit.
    """

    def __init__(self) -> None:
        self._started = RawValue(c_int64, 0)
        self._last_ns = RawValue(c_int64, 0)  # monotonic time of the last commit
        self._kill_at = {"before": RawValue(c_int64, _NEVER), "after": RawValue(c_int64, _NEVER)}

    @property
    def started(self) -> int:
        """Number of commits that the service has started."""
        return int(self._started.value)

    @property
    def idle_s(self) -> float:
        """Seconds since the start of the last commit."""
        return (time.monotonic_ns() - self._last_ns.value) / 1e9

    def kill_at(self, n: int, side: Side) -> None:
        """Kill the service at the n-th commit from now on."""
        self._kill_at[side].value = self.started + n

    def disarm(self) -> None:
        for at in self._kill_at.values():
            at.value = _NEVER

    def count(self) -> int:
        """Count a commit that is about to be executed; return its number."""
        self._last_ns.value = time.monotonic_ns()
        self._started.value += 1
        return self.started

    def kills(self, number: int, side: Side) -> bool:
        """A later commit is killed too: an idle worker may have committed while `kill_at` was
        called.
        """
        return number >= int(self._kill_at[side].value)


def count_commits(commits: CommitCounter) -> None:
    """Count each transaction that this process commits from now on, and kill the process at the
    selected one.

    SQLAlchemy calls `before` immediately before the driver's commit, and `after` when the
    connection is returned to the pool, which is the first call after the commit.
    """
    lock = threading.Lock()
    in_this_thread = threading.local()

    def before(_connection: Any) -> None:
        with lock:
            in_this_thread.number = commits.count()
            if commits.kills(in_this_thread.number, "before"):
                _die()

    def after(_dbapi_connection: Any, _record: Any) -> None:
        number, in_this_thread.number = getattr(in_this_thread, "number", None), None
        if number is not None and commits.kills(number, "after"):
            _die()

    event.listen(Engine, "commit", before)
    event.listen(Pool, "checkin", after)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # never continue, even if the signal takes a moment
