"""The service as a child process of `hls demo`, which restarts it when it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from hls_handler.cli.terminal import print_line
from hls_handler.errors import HlsError

START_TIMEOUT_S = 60.0  # a start takes two seconds; many times that on a busy machine
STOP_TIMEOUT_S = 60.0  # longer than the default of limits.shutdown_s
MAX_STARTS = 20  # starts of the service before the demo gives up

READY_MARKER = (  # part of the log line that the service writes once it listens
    b'"message": "serving"'
)


class ServiceProcess:
    """A process that runs `hls serve` and appends its log to a file. The constructor starts it."""

    def __init__(self, settings: Path, *, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._starts = 0
        self._process = self._start()

    def close(self) -> None:
        with self._process:
            self._process.terminate()
            self._process.wait(timeout=STOP_TIMEOUT_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_up(self) -> bool:
        """Wait until the service listens. Return False if the process ends first, or after
        `START_TIMEOUT_S`.
        """
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self._process.poll() is None:
            if READY_MARKER in self._new_log():
                return True
            time.sleep(0.1)
        return False

    def last_log_lines(self) -> str:
        return "\n".join(self._new_log().decode(errors="replace").splitlines()[-20:])

    def restart_if_ended(self, wait_s: float = 0.1) -> None:
        """If the process has ended, or ends within `wait_s`, restart it and wait until it listens.

        Raises `HlsError` after `MAX_STARTS` starts.
        """
        try:
            code = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return
        if self._starts == MAX_STARTS:
            raise HlsError(f"the service ended {MAX_STARTS} times; see {self._log}")
        if self._process.stdin is not None:
            self._process.stdin.close()
        end = f"ended with exit code {code}"
        if code < 0:
            end = f"was killed by signal {-code}"
        self._process = self._start()
        print_line(
            f"the service {end}; it was started again (process {self.pid}) and continues where it"
            " stopped"
        )
        self.wait_until_up()

    def _new_log(self) -> bytes:
        return self._log.read_bytes()[self._log_start :]

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        self._log_start = 0
        if self._log.exists():
            self._log_start = self._log.stat().st_size
        command = [
            sys.executable,
            "-m",
            "hls_handler",
            "serve",
            "--exit-with-parent",
            "--config",
            str(self._settings),
        ]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
