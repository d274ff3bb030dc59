"""The service as a process of its own, for the demo: started, waited for, and started again when it was killed."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from hls_handler.settings.model import Settings

START_S = 30.0
STARTS = 20
"""How often a service that ends by itself is started again before the demo gives up."""


class ServiceProcess:
    """`hls serve` over one settings file, with its log in a file."""

    def __init__(self, path: Path, settings: Settings, *, log: Path, say: Callable[[str], None]) -> None:
        self._path, self._settings, self._log, self._say = path, settings, log, say
        self._log_start = log.stat().st_size if log.exists() else 0
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            self._process.terminate()
            self._process.wait(timeout=self._settings.limits.shutdown_s + 15)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_up(self) -> bool:
        """Whether /health answered before the process ended or the patience did."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._settings.server.port, timeout=2)
            try:
                connection.request("GET", "/health")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            finally:
                connection.close()
            return True
        return False

    def last_words(self) -> str:
        """The end of what the log says since this demo began; earlier ones wrote to the same file."""
        return "\n".join(self._log.read_bytes()[self._log_start :].decode(errors="replace").splitlines()[-20:])

    def supervise(self) -> None:
        """Return never, unless the service ends by itself too often; Ctrl-C raises KeyboardInterrupt."""
        for _ in range(STARTS):
            code = self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._process = self._start()
            self._say(f"the service {how}; it was started again (now {self.pid}) and goes on where it was")
        self._say(f"the service ended {STARTS} times; see {self._log}")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "hls_handler.cli.demo_service", str(self._path)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=dict(os.environ))
