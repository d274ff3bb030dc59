"""`hls` and other modules as forks of a process that has imported `hls`; each saves one to three
seconds of imports.

The tests start hundreds of commands and services. They use the fork server of `multiprocessing`,
one for each test process. A command shares only imported modules with the others, and `hls serve`
also the prompt libraries: its environment, working directory, output, settings, connections and
threads are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
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
from hls_handler.queue.leases import EXPIRY, Expiry
from hls_handler.settings.environment import export_proxy_settings

ROOT = Path(__file__).parent.parent.parent

CONTEXT = multiprocessing.get_context("forkserver")
# a process has one fork server, and the last list is used
CONTEXT.set_forkserver_preload(["tests.e2e.preload"])


class ForkedProcess:
    """A running command with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        run: Callable[[], object],
        arguments: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        out: Path,
        err: Path,
    ) -> None:
        self._process = CONTEXT.Process(
            target=_main,
            args=(run, list(arguments), dict(environ), str(folder), str(out), str(err)),
            daemon=True,
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

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 60) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self._process.exitcode


def start_module(
    module: str,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    log: Path,
    expiry: Expiry = EXPIRY,
) -> ForkedProcess:
    """Start `python -m module` in the root of the repository; its output is appended to a file.

    `hls serve` without options has a preloaded prompt library and `expiry`.
    """
    run: Callable[[], object] = partial(
        runpy.run_module, module, run_name="__main__", alter_sys=True
    )
    if module == "hls_handler":
        run = program.main
        if arguments[0] == "serve" and len(arguments) == 3:
            run = partial(serve, expiry)
    return ForkedProcess(run, arguments, environ, ROOT, log, log)


def run_command(
    arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run `hls ...` in a folder until it ends."""
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output, "out"), Path(output, "err")
        code = ForkedProcess(program.main, arguments, environ, folder, out, err).wait(timeout=120)
        return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())


def serve(expiry: Expiry) -> None:
    """Do what `hls serve --config ...` does, with a preloaded prompt library and `expiry`."""
    # only here, so that the process of the tests need not load the libraries
    from tests.e2e.preload import (
        load,
    )

    export_proxy_settings(os.environ, DOTENV)
    try:
        run_service(Path(sys.argv[-1]), partial(Service, load=load, expiry=expiry))
    except typer.Exit as exc:
        sys.exit(exc.exit_code)


def _main(
    run: Callable[[], object],
    arguments: list[str],
    environ: dict[str, str],
    folder: str,
    out: str,
    err: str,
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
