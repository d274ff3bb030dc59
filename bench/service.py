"""The whole service as a process of its own, over settings for measurements: nothing in them paces what it does."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import trial
from bench.process import Subject, ended, free_port, wait_until_listening
from bench.requests import SECRET, signed_request
from hls_handler.storage import Storage

PATIENCE_S = 1_200.0

_SETTINGS = """
server: {{host: 127.0.0.1, port: {port}}}
github: {{token: "{token}", webhook_secret: "{secret}", base_url: "{github_url}", min_seconds_between_writes: 0}}
claude:
  {{api_key: "{api_key}", base_url: "{claude_url}", requests_per_second: 1000, calls_per_hour: 100000, timeout_s: 600}}
storage: {{url: "{storage_url}"}}
limits: {{concurrency: {concurrency}, shutdown_s: 1}}
repositories: [{{name: "*/*"}}]
features: {{auto_commenting: {commenting}}}
logging: {{level: WARNING}}
"""


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
) -> Iterator[Subject]:
    """Run it, and wait until it answers. `credentials` are GitHub's token and Claude's key."""
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
        concurrency=concurrency,
        commenting=str(commenting).lower(),
    )
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "hls_handler", "serve", "--config", str(path)]
    with subprocess.Popen(command) as process, ended(process):
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        wait_until_listening(port, process)
        _wait_for_an_answer(port)
        yield Subject(port, process.pid)


def _wait_for_an_answer(port: int) -> None:
    """It listens before it serves: whoever connects meanwhile waits for all of its start."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/health")
    connection.getresponse().read()
    connection.close()


def deliver(to: Subject, deliveries: Iterable[tuple[str, bytes]], *, connections: int = 8) -> None:
    """Send them all; each must be taken."""
    requests = [signed_request(event, body) for event, body in deliveries]
    sent = trial(to.port, iter(requests), seconds=PATIENCE_S, connections=connections)
    assert dict(sent.statuses) == {202: len(requests)}, f"not all were taken: {dict(sent.statuses)}"


def wait_until_idle(store: Storage) -> None:
    """Until nothing is left to do, by the service's own store."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        figures = store.deliveries.queue_state()
        if not figures.queued and not figures.running:
            return
        time.sleep(0.1)
    raise TimeoutError(f"still at work after {PATIENCE_S:g} s: {figures}")


def issues(deliveries: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Of these, the ones about issues."""
    return (one for one in deliveries if one[0] == "issues")
