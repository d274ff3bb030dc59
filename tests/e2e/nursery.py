"""The nursery: a process that has imported what `hls` imports, and forks a fresh one for each service and command.

Importing costs more than all else that a start does, and tests start the service a hundred times. What a service shares
with its siblings is modules alone: settings, prompts, connections and threads are its own.
`python -m tests.e2e.nursery` reads an order a line, and answers each with a line.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn

import hls_handler.cli  # noqa: F401 (what takes longest)
from hls_handler import __main__ as program

ROOT = Path(__file__).parent.parent.parent

IMPORTED_LATE = (
    "anthropic",
    "github",
    "psycopg",
    "psycopg.pq",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "alembic.runtime.migration",
    "uvloop",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
LOOK_EVERY_S = 0.05


class Born:
    """A process that somebody else forked, as far as tests use it like `subprocess.Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"look": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        pause = threading.Event()
        for _ in range(int(timeout / LOOK_EVERY_S)):
            code = self.poll()
            if code is not None:
                return code
            pause.wait(LOOK_EVERY_S)
        raise subprocess.TimeoutExpired(str(self.pid), timeout)


class Nursery:
    """The process, from the side of the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._turn = threading.Lock()
        atexit.register(self.close)
        assert self._hear() == "ready"

    def start(
        self,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        out: Path,
        err: Path | None = None,
        folder: Path = ROOT,
    ) -> Born:
        """A fresh `hls ...` in a folder, whose output is added to a file, or to two."""
        places = {"out": str(out), "err": str(err or out), "folder": str(folder)}
        return Born(self, self.ask({"arguments": list(arguments), "environ": dict(environ), **places}))

    def run(
        self, arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """As `start`, until it ends."""
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place, "out"), Path(place, "err")
            code = self.start(arguments, environ=environ, out=out, err=err, folder=folder).wait(timeout=120)
            return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())

    def ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return self._hear()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or '"the nursery has ended"')


@cache
def nursery() -> Nursery:
    """One for all tests of this process."""
    return Nursery()


def main() -> None:
    import_all()
    gc.collect()
    gc.freeze()
    alive: set[int] = set()
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if "look" in order:
            pid, status = os.waitpid(order["look"], os.WNOHANG)
            alive.discard(pid)
            say(os.waitstatus_to_exitcode(status) if pid else None)
            continue
        pid = os.fork()
        if pid == 0:
            live(order["out"], order["err"], partial(_run, order))
        alive.add(pid)
        say(pid)
    for pid in alive:  # the tests are gone
        os.kill(pid, signal.SIGKILL)


def import_all() -> None:
    """What the service imports only where it uses it, too."""
    for module in IMPORTED_LATE:
        importlib.import_module(module)


def say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def live(out: str, err: str, begin: Callable[[], int]) -> NoReturn:
    """The whole life of a process that was just forked: `begin`, whose result is its exit code, writing to files."""
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for path, theirs in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), theirs)
        random.seed()  # or all that are forked from one would draw alike
        code = begin()
    except BaseException:  # noqa: BLE001 (the child's edge: it must never return into its parent's loop)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(order: Mapping[str, Any]) -> int:
    """As `python -m hls_handler` does, which looks at its own place to tell how it is called."""
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["folder"])
    sys.modules["__main__"] = program
    sys.argv = [str(program.__file__), *order["arguments"]]
    try:
        program.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
