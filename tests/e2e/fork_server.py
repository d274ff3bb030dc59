"""`hls` commands as forks of a process that has imported their modules; each saves about a second of imports.

The end-to-end tests start more than a hundred commands and services. They use the fork server of `multiprocessing`, one
for each test process. A command shares only imported modules with the others: its environment, working directory,
output, settings, connections and threads are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hls_handler import __main__ as program

ROOT = Path(__file__).parent.parent.parent

PRELOADED = (
    "tests.e2e.fork_server",
    "hls_handler.cli",
    # Modules that commands import when they need them:
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

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(PRELOADED))


class ForkedProcess:
    """A running command with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str], folder: Path, out: Path, err: Path
    ) -> None:
        self._process = _context.Process(
            target=_main, args=(list(arguments), dict(environ), str(folder), str(out), str(err)), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self._process.exitcode


def start_command(arguments: Sequence[str], *, environ: Mapping[str, str], log: Path) -> ForkedProcess:
    """Start `hls ...` in the root of the repository; its output is appended to a file."""
    return ForkedProcess(arguments, environ, ROOT, log, log)


def run_command(
    arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run `hls ...` in a folder until it ends."""
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output, "out"), Path(output, "err")
        code = ForkedProcess(arguments, environ, folder, out, err).wait(timeout=120)
        return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())


def _main(arguments: list[str], environ: dict[str, str], folder: str, out: str, err: str) -> None:
    """Do what `python -m hls_handler` does, in a process that was just forked."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.modules["__main__"] = program  # click derives the name of the command from it
    sys.argv = [str(program.__file__), *arguments]
    program.main()
