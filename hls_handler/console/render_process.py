"""Starts the child process that renders an unsaved edit (`render_child.py`), one at a time, with limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from hls_handler.console.render_child import JOB, RESULT, RenderJob, RenderResult

MAX_WALL_S = 20.0
START = "import sys; sys.path.insert(0, sys.argv[1]); from hls_handler.console.render_child import main; main()"
COMMAND = [
    sys.executable,
    "-I",  # no environment variables, no module of the current folder
    "-B",
    "-c",
    START,
    str(Path(__file__).parent.parent.parent),
]
NO_RESULT = (
    "the process that renders edits returned no result: the edit needs too much time or memory, as a loop that does "
    "not end, or it outputs half of a character (a lone surrogate)"
)
BUSY = "another edit is being rendered; wait a few seconds, then try again"

RunRenderJob = Callable[[RenderJob], RenderResult]


class RenderProcess:
    """Renders one edit at a time. Thread-safe."""

    def __init__(self, *, wall_s: float = MAX_WALL_S) -> None:
        self._wall_s, self._lock = wall_s, threading.Lock()

    def run(self, job: RenderJob) -> RenderResult:
        """Return the result of the child process. If it exceeds a limit or fails, the result has one problem."""
        if not self._lock.acquire(blocking=False):  # edits that wait would take the threads of other requests
            return RenderResult(problems=(BUSY,))
        try:
            output = self._run(JOB.dump_json(job))
        finally:
            self._lock.release()
        try:
            return RESULT.validate_json(output)
        except ValidationError:
            return RenderResult(problems=(NO_RESULT,))

    def _run(self, job: bytes) -> bytes:
        """Return the output of a child process; b"" if it does not end in time."""
        # `subprocess` starts it, because uvloop would run the functions of `os.register_at_fork` in it, such as those
        # of OpenTelemetry, which wait for threads that the child does not have.
        with subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        ) as child:
            try:
                output, _ = child.communicate(job, timeout=self._wall_s)
            except subprocess.TimeoutExpired:
                return b""
            finally:
                with suppress(ProcessLookupError):  # also what it may have started
                    os.killpg(child.pid, signal.SIGKILL)
        return output
