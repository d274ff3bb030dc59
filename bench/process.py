"""A subject as another process: started, measured from outside, and ended by its own id."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Subject:
    port: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """What it has used of the processors so far, in all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_kb(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="ascii"))
        assert found is not None
        return int(found[1])


@contextmanager
def running(module: str, *arguments: object) -> Iterator[Subject]:
    """Run a module of ours, such as `bench.bare`; the first line that it prints is its port."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ended(process):
        assert process.stdout is not None
        yield Subject(int(process.stdout.readline()), process.pid)


def wait_until_listening(port: int, process: subprocess.Popen[Any]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=START_S).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"the service did not listen on port {port} within {START_S:g} s")


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def pinned_away() -> Iterator[int]:
    """Keep ourselves to one core meanwhile, and name another for the subject; of one, both have a part."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    try:
        yield cores[0]
    finally:
        os.sched_setaffinity(0, cores)
