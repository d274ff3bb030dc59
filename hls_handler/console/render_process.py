"""Starts the child process that renders an unsaved edit (`render_child.py`), one at a time, with limits."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from hls_handler.console.render_child import JOB, RESULT, RenderJob, RenderResult

MAX_WALL_S = 20.0
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
"""Four million characters of output, each up to four bytes and perhaps escaped, and the diff."""

START = "import sys; sys.path.insert(0, sys.argv[1]); from hls_handler.console.render_child import main; main()"
COMMAND = [
    sys.executable,
    "-I",  # no environment variables, no module of the current folder
    "-B",
    "-c",
    START,
    str(Path(__file__).parent.parent.parent),
]
NO_RESULT = "the process that rendered the edit returned no valid result"

RunRenderJob = Callable[[RenderJob], Awaitable[RenderResult]]


class RenderBusy(Exception):
    """Another edit is being rendered."""


class RenderProcess:
    """Renders one edit at a time."""

    def __init__(self, *, wall_s: float = MAX_WALL_S) -> None:
        self._wall_s, self._is_busy = wall_s, False

    async def run(self, job: RenderJob) -> RenderResult:
        """Return the result of the child process. Raises `RenderBusy`.

        If the child exceeds a limit or fails, the result has one problem that says so.
        """
        if self._is_busy:
            raise RenderBusy
        self._is_busy = True
        # `subprocess` starts it, because uvloop would run the functions of `os.register_at_fork` in it, such as those
        # of OpenTelemetry, which wait for threads that the child does not have.
        child = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            return await asyncio.to_thread(self._converse, child, JOB.dump_json(job))
        finally:
            _kill(child)
            self._is_busy = False

    def _converse(self, child: subprocess.Popen[bytes], job: bytes) -> RenderResult:
        is_late = threading.Event()

        def stop() -> None:
            is_late.set()
            _kill(child)

        timer = threading.Timer(self._wall_s, stop)
        timer.start()
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            with suppress(BrokenPipeError):  # the child ended early; its status says why
                child.stdin.write(job)
                child.stdin.close()
            output = child.stdout.read(MAX_OUTPUT_BYTES + 1)
            if len(output) > MAX_OUTPUT_BYTES:
                _kill(child)
            status = child.wait()
        timer.cancel()
        if is_late.is_set():
            problem = f"the edit was not rendered within {self._wall_s:g} s; does it have a loop that does not end?"
        elif len(output) > MAX_OUTPUT_BYTES:
            problem = "the edit renders too much text"
        elif status != 0:
            problem = _describe_end(status)
        else:
            try:
                return RESULT.validate_json(output)
            except ValidationError:
                problem = NO_RESULT
        return RenderResult(problems=(problem,))


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child, and what it may have started. Thread-safe."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _describe_end(status: int) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return "the process that rendered the edit used too much time; does it have a loop that does not end?"
    if status < 0:
        return f"the process that rendered the edit was ended by the signal {signal.Signals(-status).name}"
    return f"the process that rendered the edit failed with status {status}, perhaps for lack of memory"
