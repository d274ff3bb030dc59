"""The service as a process, with settings that do not limit its rate, or with the shipped ones."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench.load import send_load
from bench.process import MeasuredProcess, free_port, terminated_at_exit, wait_until_listening
from bench.requests import SECRET, signed_request
from hls_handler.store.storage import Storage

TIMEOUT_S = 1_200.0

_SETTINGS = """
server: {{host: 127.0.0.1, port: {port}}}
github: {{token: "{token}", webhook_secret: "{secret}", base_url: "{github_url}"{of_github}}}
# The diffs of the pull requests are the same: the cache of replies would answer.
claude:
  {{api_key: "{api_key}", base_url: "{claude_url}", cache_ttl_h: 0{of_claude}}}
storage: {{url: "{storage_url}"}}
repositories: [{{name: "*/*"}}]
features: {{auto_commenting: {commenting}}}
mirror: {{enabled: false}}  # the stand-in has no git server
"""
_UNLIMITED = {
    "of_github": ", min_seconds_between_writes: 0",
    "of_claude": ", requests_per_second: 1000, calls_per_hour: 100000, timeout_s: 600",
}


StartService = Callable[..., AbstractContextManager[MeasuredProcess]]
"""`service`, or the same with another `start`."""


def start_process(settings: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hls_handler", "serve", "--config", str(settings)]
    with settings.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stderr=log)


@contextmanager
def service(
    folder: Path,
    *,
    credentials: tuple[str, str],
    github_url: str,
    claude_url: str,
    storage_url: str,
    concurrency: int = 4,
    commenting: bool = True,
    core: int | None = None,
    is_shipped: bool = False,
    start: Callable[[Path], Any] = start_process,
) -> Iterator[MeasuredProcess]:
    """Start the service and wait until it responds. `credentials` are GitHub's token and Claude's
    key.

    With `is_shipped`, limits have their defaults, also the concurrency, and each webhook is logged.
    `start` returns an object like a Popen; the log is beside the settings.
    """
    port = free_port()
    path = folder / f"settings-{port}.yaml"
    token, api_key = credentials
    text = _SETTINGS.format(
        port=port,
        token=token,
        secret=SECRET,
        github_url=github_url,
        api_key=api_key,
        claude_url=claude_url,
        storage_url=storage_url,
        commenting=str(commenting).lower(),
        **(dict.fromkeys(_UNLIMITED, "") if is_shipped else _UNLIMITED),
    )
    if not is_shipped:
        text += f"limits: {{concurrency: {concurrency}, shutdown_s: 1, settle_s: 0}}\n"
        text += "logging: {level: WARNING}\n"
    path.write_text(text, encoding="utf-8")
    process = start(path)
    with terminated_at_exit(process):
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            wait_until_listening(port, process)
        except TimeoutError:
            print(path.with_suffix(".log").read_text(encoding="utf-8"), file=sys.stderr)
            raise
        _wait_for_response(port)
        yield MeasuredProcess(port, process.pid)


def _wait_for_response(port: int) -> None:
    """The service listens before it serves; a connection waits for the end of the start."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/health")
    connection.getresponse().read()
    connection.close()


def deliver(
    to: MeasuredProcess, deliveries: Iterable[tuple[str, bytes]], *, connections: int = 8
) -> None:
    """Send all deliveries; each must be accepted."""
    requests = [signed_request(event, body) for event, body in deliveries]
    result = send_load(to.port, iter(requests), seconds=TIMEOUT_S, connections=connections)
    assert dict(result.statuses) == {202: len(requests)}, (
        f"expected only 202: {dict(result.statuses)}"
    )


def wait_until_idle(store: Storage) -> None:
    """Wait until no delivery is queued or running."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        state = store.deliveries.queue_state()
        if not state.queued and not state.running:
            return
        time.sleep(0.1)
    raise TimeoutError(f"not idle after {TIMEOUT_S:g} s: {state}")


def issues(deliveries: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Return the deliveries of issues."""
    return (one for one in deliveries if one[0] == "issues")
