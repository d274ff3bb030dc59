"""The service as a process of its own, for the demo: started, waited for, and started again when it was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hls_handler.errors import HlsError
from hls_handler.settings.model import Settings

START_S = 30.0
STARTS = 20
"""How often a service that ends by itself is started again before the demo gives up."""


SERVING = b'"message": "serving"'
"""What it logs once it listens."""


class EndsAlways(HlsError):
    """The service ends by itself, however often it is started."""


class ServiceProcess:
    """`hls serve` over one settings file, with its log in a file."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        *,
        log: Path,
        say: Callable[[str], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`variables` are laid over the environment of this process: what shall stand in no file."""
        self._path, self._settings, self._log, self._say = path, settings, log, say
        self._environ = {**os.environ, **(variables or {})}
        self._starts = 0
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
        """Whether it said that it is serving before it ended or the patience did: another one may have its port."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            if SERVING in self._said():
                return True
            time.sleep(0.1)
        return False

    @property
    def lost_its_port(self) -> bool:
        """Whether it ended because somebody else was faster to listen there."""
        return b"cannot listen on" in self._said()

    def last_words(self) -> str:
        """The end of what the log says since the newest start; earlier demos wrote to the same file."""
        return "\n".join(self._said().decode(errors="replace").splitlines()[-20:])

    def revive(self) -> None:
        """Start it again if it has ended, and wait until it is up. Raises `EndsAlways` if that does not help."""
        code = self._process.poll()
        if code is not None:
            self._start_again(code)
            self.wait_until_up()

    def supervise(self) -> None:
        """Return never; Ctrl-C raises KeyboardInterrupt, and a service that ends again and again `EndsAlways`."""
        while True:
            self._start_again(self._process.wait())

    def _said(self) -> bytes:
        """What the log says since the newest start."""
        return self._log.read_bytes()[self._log_start :]

    def _start_again(self, code: int) -> None:
        if self._starts == STARTS:
            raise EndsAlways(f"the service ended {STARTS} times; see {self._log}")
        if self._process.stdin is not None:
            self._process.stdin.close()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._process = self._start()
        self._say(f"the service {how}; it was started again (now {self.pid}) and goes on where it was")

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        command = [sys.executable, "-m", "hls_handler.cli.demo_service", str(self._path)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=self._environ)
