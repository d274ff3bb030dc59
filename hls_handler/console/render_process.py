"""Starts the child process that renders an unsaved edit (`render_child.py`), one at a time, with limits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from hls_handler.console.render_child import JOB, RESULT, RenderJob, RenderResult

MAX_WALL_S = 20.0
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
"""Four million characters of output, each up to four bytes and perhaps escaped, and the diff."""

START = "import sys; sys.path.insert(0, sys.argv[1]); from hls_handler.console.render_child import main; main()"  # -I
NO_RESULT = "the process that rendered the edit returned no valid result"
PACKAGE_PARENT = Path(__file__).parent.parent.parent

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
        try:
            return await self._run(job)
        finally:
            self._is_busy = False

    async def _run(self, job: RenderJob) -> RenderResult:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",  # no environment variables, no module of the current folder
            "-B",
            "-c",
            START,
            str(PACKAGE_PARENT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._wall_s):
                output = await _converse(process, JOB.dump_json(job))
                status = await process.wait() if len(output) <= MAX_OUTPUT_BYTES else None
        except TimeoutError:
            problem = f"the edit was not rendered within {self._wall_s:g} s; does it have a loop that does not end?"
            return RenderResult(problems=(problem,))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if status is None:
            return RenderResult(problems=("the edit renders too much text",))
        if status != 0:
            return RenderResult(problems=(_describe_end(status),))
        try:
            return RESULT.validate_json(output)
        except ValidationError:
            return RenderResult(problems=(NO_RESULT,))


async def _converse(process: asyncio.subprocess.Process, job: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # the child ended early; its status says why
        process.stdin.write(job)
        await process.stdin.drain()
        process.stdin.close()
    output = bytearray()
    while len(output) <= MAX_OUTPUT_BYTES and (chunk := await process.stdout.read(65_536)):
        output += chunk
    return bytes(output)


def _describe_end(status: int) -> str:
    if status == -signal.SIGXCPU or status == -signal.SIGKILL:
        return "the process that rendered the edit used too much time; does it have a loop that does not end?"
    if status < 0:
        return f"the process that rendered the edit was ended by the signal {signal.Signals(-status).name}"
    return f"the process that rendered the edit failed with status {status}, perhaps for lack of memory"
