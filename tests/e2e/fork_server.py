"""`hls` commands as forks of a process that has imported their modules; each saves about a second of imports.

The tests start hundreds of commands and services. They use the fork server of `multiprocessing`, one for each test
process. A command shares only imported modules with the others, and `hls serve` also the prompt libraries: its
environment, working directory, output, settings, connections and threads are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import typer

from hls_handler import __main__ as program
from hls_handler.app import Service
from hls_handler.cli.options import DOTENV
from hls_handler.cli.serve import run_service
from hls_handler.settings.load import export_proxy_settings

ROOT = Path(__file__).parent.parent.parent

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.e2e.preload"])  # a process has one fork server, and the last list is used


class ForkedProcess:
    """A running command with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        run: Callable[[], None],
        arguments: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        out: Path,
        err: Path,
    ) -> None:
        self._process = CONTEXT.Process(
            target=_main, args=(run, list(arguments), dict(environ), str(folder), str(out), str(err)), daemon=True
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


def start_serve(settings: Path, options: Sequence[str] = (), *, environ: Mapping[str, str], log: Path) -> ForkedProcess:
    """Start `hls serve` in the root of the repository; its output is appended to a file.

    Without options it has a preloaded prompt library.
    """
    arguments = ["serve", "--config", str(settings), *options]
    return ForkedProcess(program.main if options else serve, arguments, environ, ROOT, log, log)


def run_command(
    arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run `hls ...` in a folder until it ends."""
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output, "out"), Path(output, "err")
        code = ForkedProcess(program.main, arguments, environ, folder, out, err).wait(timeout=120)
        return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())


def serve() -> None:
    """Do what `hls serve --config ...` does, with a preloaded prompt library."""
    from tests.e2e.preload import load  # only here, so that the process of the tests need not load the libraries

    export_proxy_settings(os.environ, DOTENV)
    try:
        run_service(Path(sys.argv[-1]), partial(Service, load=load))
    except typer.Exit as exc:
        sys.exit(exc.exit_code)


def _main(
    run: Callable[[], None], arguments: list[str], environ: dict[str, str], folder: str, out: str, err: str
) -> None:
    """Do what `python -m hls_handler` does, in a process that was just forked."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), descriptor)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.modules["__main__"] = program  # click derives the name of the command from it
    sys.argv = [str(program.__file__), *arguments]
    run()
