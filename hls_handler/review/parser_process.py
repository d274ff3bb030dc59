"""Runs the parsers in a child process: a text that is made for it can stop a parser, and with it
all threads.

A request and a response are one line of JSON each. The child has no credentials in its environment.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from hls_handler.errors import Permanent

TIMEOUT_S = 5.0  # for one file, which takes milliseconds
PACKAGES = str(Path(__file__).parents[2])

_lock = threading.Lock()
_running: subprocess.Popen[bytes] | None = None


def parse(wanted: Literal["names", "code"], text: str, path: str, rows: list[int]) -> Any:
    """Return the result of `list_named` or `list_code_rows`.

    Raises `Permanent` if the parser takes too long or ends.
    """
    global _running
    request = json.dumps([wanted, text, path, rows]).encode() + b"\n"
    with _lock:
        if _running is None or _running.poll() is not None:
            _running = _start()
        try:
            return json.loads(_exchange(_running, request, time.monotonic() + TIMEOUT_S))
        except (OSError, ValueError):
            stop()
            raise Permanent("a file could not be parsed in time") from None


def _start() -> subprocess.Popen[bytes]:
    environ = {
        "PYTHONPATH": os.pathsep.join([PACKAGES, *filter(None, sys.path)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-P", "-m", "hls_handler.review.parser_child"]
    return subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def stop() -> None:
    global _running
    if _running is not None:
        _running.kill()
        _running.communicate()
        _running = None


def _forget() -> None:
    """Leave the child to the parent of a fork, of which another thread may have held the lock."""
    global _lock, _running
    _lock = threading.Lock()
    _running = None


atexit.register(stop)
os.register_at_fork(after_in_child=_forget)


def _exchange(child: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(request)
    child.stdin.flush()
    response = b""
    while not response.endswith(b"\n"):
        if not select.select([child.stdout], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            raise TimeoutError
        part = os.read(child.stdout.fileno(), 1_000_000)
        if not part:
            raise BrokenPipeError
        response += part
    return response
