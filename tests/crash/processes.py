"""Service processes that start within milliseconds: a fork server of the standard library forks them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess

from tests.crash import forked_service
from tests.crash.commits import CommitCounter
from tests.e2e.fork_server import CONTEXT
from tests.e2e.service import Service

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


def wait_until(condition: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.004) -> bool:
    """Return True as soon as the condition holds, or False after the timeout."""
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(poll_s)
    return True


@dataclass
class ServiceProcess(Service):
    """A service that can be killed and started again. It reads `port` and `storage_url` from its environment."""

    commits: CommitCounter | None = None
    child: ForkServerProcess | None = None

    @property
    def pid(self) -> int | None:
        """None while no process runs."""
        return self.child.pid if self.child is not None and self.child.is_alive() else None

    def start(self) -> ServiceProcess:
        """Return when /health answers."""
        environ = {"PORT": str(self.port), "STORAGE_URL": self.storage_url}
        arguments = (self.settings, environ, self.log, self.commits)
        self.child = CONTEXT.Process(target=forked_service.serve, args=arguments, daemon=True)
        self.child.start()
        wait_until(lambda: self.pid is None or self._is_listening(), timeout_s=START_TIMEOUT_S)
        assert self.pid is not None, f"the service did not start:\n{self.log.read_text()[-5000:]}"
        self.get("/health")
        return self

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send the signal, wait for the end, and return the exit code."""
        if self.pid is not None:
            os.kill(self.pid, how)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code; 0 if it was never started."""
        if self.child is None:
            return 0
        self.child.join(STOP_TIMEOUT_S)
        assert self.child.exitcode is not None, f"the service did not stop:\n{self.log.read_text()[-5000:]}"
        return self.child.exitcode
