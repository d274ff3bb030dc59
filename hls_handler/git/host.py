"""The git host as all workers of a process see it: whether it answers, and how many wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hls_handler.errors import HlsError

SWITCHED_OFF = "mirror.enabled is false"
PROBE_AFTER_S = 60.0
MAX_IDLE_WAIT_S = 3.0
"""If as many workers wait as may, another one waits until so long after that number changed."""
POLL_S = 0.05


class MirrorUnavailable(HlsError):
    """The mirror cannot be used; the message is the reason: "the repository is larger than
    mirror.max_mb (500)".
    """


class HostFailed(MirrorUnavailable):
    """The git host does not answer, whatever the repository."""


class GitHost:
    """A circuit breaker, and a limit on the workers that wait. Thread-safe.

    After a failure no fetch asks the host for a minute, then one a minute, until it answers.
    `report` gets each failure, and "" when the host answers again.
    """

    def __init__(
        self,
        most_waiting: int,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        report: Callable[[str], None],
    ) -> None:
        self._most_waiting = most_waiting
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._lock = threading.Lock()
        self._waiting = 0
        self._changed_at = 0.0  # the number that waits
        self._failure = ""  # not empty while the breaker is open
        self._probe_at = 0.0

    @contextmanager
    def waiting(self, deadline: float) -> Iterator[None]:
        """Count the worker among those that wait. Raises `MirrorUnavailable` if there are enough.

        In a burst, while one fetch ends after the other, it is worth waiting until there are fewer,
        at most until the deadline.
        """
        while not self._begin_to_wait():
            self.check()
            if self._clock() >= min(self._changed_at + MAX_IDLE_WAIT_S, deadline):
                raise MirrorUnavailable("enough other reviews wait for the git server")
            self._sleep(POLL_S)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                self._changed_at = self._clock()

    def _begin_to_wait(self) -> bool:
        with self._lock:
            if self._waiting >= self._most_waiting:
                return False
            self._waiting += 1
            self._changed_at = self._clock()
            return True

    def check(self) -> None:
        """Raise `HostFailed` if the breaker is open, and it is not time for a probe."""
        if self._failure and self._clock() < self._probe_at:
            raise HostFailed(self._failure)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Ask the host. Raises `HostFailed` if the breaker is open, unless this is the probe."""
        with self._lock:
            self.check()
            self._probe_at = self._clock() + PROBE_AFTER_S
        try:
            yield
        except HostFailed as exc:
            self._end(str(exc))
            raise
        except MirrorUnavailable:  # the host answered, and something else is wrong
            self._end("")
            raise
        self._end("")

    def _end(self, failure: str) -> None:
        with self._lock:
            before = self._failure
            self._failure = failure
            self._probe_at = self._clock() + PROBE_AFTER_S
        if failure or before:
            self._report(failure)
