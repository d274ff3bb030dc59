"""The lives of a service: forked from a zygote, spoken to over HTTP, killed, and begun again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.crash.tally import Tally
from tests.e2e.service import ROOT, Service

ANSWER_WITHIN_S = 180.0


class Soon:
    """A bounded wait for what takes milliseconds: `while soon.more(): look`."""

    def __init__(self, within_s: float, *, pause_s: float = 0.004) -> None:
        self._until, self._pause_s = time.monotonic() + within_s, pause_s
        self._pause = threading.Event()

    def more(self) -> bool:
        self._pause.wait(self._pause_s)
        return time.monotonic() < self._until


class Zygote:
    """The process that forks services, from the side of the test."""

    def __init__(self, settings: Path, environ: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.zygote", str(settings)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, **environ},
            )
        self._log = log
        self._one_at_a_time = threading.Lock()
        assert self._hear() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def start(self, environ: Mapping[str, str], log: Path, tally: Path | None) -> int:
        """The process id of a new service."""
        order = {
            "do": "start",
            "environ": dict(environ),
            "log": str(log),
            "tally": None if tally is None else str(tally),
        }
        return int(self._ask(order))

    def ended(self, pid: int) -> int | None:
        """The exit code of a service, told once; None while it runs."""
        code = self._ask({"do": "look", "pid": pid})
        return None if code is None else int(code)

    def wait(self, pid: int) -> int:
        """Wait for the end of a service that was told to end; its exit code, told once."""
        return int(self._ask({"do": "wait", "pid": pid}))

    def _ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            heard = self._process.stdout.readline() if ready.select(ANSWER_WITHIN_S) else b""
        if not heard:
            raise AssertionError(f"the zygote does not answer:\n{self._log.read_text()[-5000:]}")
        return json.loads(heard)


@dataclass
class Life(Service):
    """One service that lives again and again, over the zygote's settings. `settings` are read by it, not by us."""

    zygote: Zygote = field(kw_only=True)
    tally: Tally | None = None
    tally_path: Path | None = None
    pid: int | None = None

    def start(self) -> Life:
        """Returns when `/health` answers."""
        environ = {**self.environ, "PORT": str(self.port), "STORAGE_URL": self.storage_url}
        self.pid = self.zygote.start(environ, self.log, self.tally_path)
        waiting = Soon(30)
        while waiting.more():
            if self._listens():
                self.get("/health")
                return self
            if self.zygote.ended(self.pid) is not None:
                self.pid = None
                break
        raise AssertionError(f"the service did not start:\n{self.log.read_text()[-5000:]}")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.pid is None:
            return 0
        os.kill(self.pid, how)
        return self.buried()

    def buried(self) -> int:
        """Wait for the end of the process, which something else brought about; its exit code."""
        assert self.pid is not None
        code = self.zygote.wait(self.pid)
        self.pid = None
        return code

    def is_dead(self) -> bool:
        """Whether it has ended by itself."""
        if self.pid is not None and self.zygote.ended(self.pid) is not None:
            self.pid = None
        return self.pid is None
