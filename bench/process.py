"""Processes under measurement: start, CPU time, memory, cores and end."""

from __future__ import annotations

import gc
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class MeasuredProcess:
    port: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """CPU time of all threads since the start."""
        fields = (
            Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_kb(self) -> int:
        found = re.search(
            r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        )
        assert found is not None
        return int(found[1])


def make_folder() -> Path:
    """Return a folder on the same disk as the default database of the service; git ignores it."""
    folder = Path("data/bench").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def running(module: str, *arguments: object) -> Iterator[MeasuredProcess]:
    """Run a module, such as `bench.plain`. The first line of its output is its port."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        terminated_at_exit(process),
    ):
        assert process.stdout is not None
        yield MeasuredProcess(int(process.stdout.readline()), process.pid)


RunModule = Callable[..., AbstractContextManager[MeasuredProcess]]
"""`running`, or the same with another start of the process."""


def wait_until_listening(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"the service did not listen on port {port} within {START_TIMEOUT_S:g} s")


@contextmanager
def terminated_at_exit(process: Any) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def separate_cores() -> Iterator[int]:
    """Restrict this process to one core, and return another one for the server; with one core, both
    share it.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    try:
        yield cores[0]
    finally:
        os.sched_setaffinity(0, cores)


def serve_on(core: int, server: uvicorn.Server) -> None:
    """Restrict this process to a core, and serve on a free port, which is printed, until
    SIGTERM.
    """
    os.sched_setaffinity(0, {core})
    gc.freeze()  # as `hls` does
    gc.set_threshold(20_000, 20, 20)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        server.run(sockets=[listener])
