"""The real service as its own process: start, HTTP requests, stop and kill."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hls_handler.queue.leases import Expiry
from hls_handler.store.batches import Batch
from hls_handler.store.storage import Storage
from tests.e2e.fork_server import ForkedProcess, start_module
from tests.github_fake.server import Sandbox

SECRET = "a-webhook-secret-for-tests"
ROOT = Path(__file__).parent.parent.parent
SERVING = re.compile(rb'"health": "http://127\.0\.0\.1:(\d+)/health"')
"""In the log line of a service that listens."""

SETTINGS = """
server: {{host: 127.0.0.1, port: {port}, {server}}}
github:
  token: "{token}"
  webhook_secret: "{secret}"
  base_url: "{github_url}"
  min_seconds_between_writes: 0.01
claude:
  api_key: "{api_key}"
  base_url: "{claude_url}"
  requests_per_second: 100
storage: {{url: "{storage_url}"}}
prompts: {{directory: {prompts}}}
catch_up: {{{catch_up}}}
limits: {{retry_backoff_s: 0.2, settle_s: 0, {limits}}}
repositories:
  - name: "Codertocat/*"
    events: [issues, pull_request, pull_request_review, workflow_run, release, issue_comment]
{more}
mirror: {{{mirror}}}
"""


def settings_text(
    sandbox: Sandbox,
    *,
    port: int | str = 0,
    storage_url: str,
    prompts: str = "prompts",
    limits: str = "concurrency: 4",
    server: str = "",
    more: str = "",
    catch_up: str = "enabled: false",
    mirror: str = "enabled: false",  # git cannot fetch recorded commits
) -> str:
    """Return settings with a sandbox as GitHub and Claude. `limits`, `server` ...: keys of these
    sections.

    With port 0, the service selects a free port at each start.
    """
    return SETTINGS.format(
        port=port,
        secret=SECRET,
        token=sandbox.token,
        api_key=sandbox.api_key,
        github_url=sandbox.github_url,
        claude_url=sandbox.claude_url,
        storage_url=storage_url,
        prompts=prompts,
        limits=limits,
        server=server,
        more=more,
        catch_up=catch_up,
        mirror=mirror,
    )


SHORT_WRITE = Expiry(slowest_write_s=1)
SHORT_LEASE = Expiry(lease_s=5, slowest_write_s=1)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def signed(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass
class Service:
    """One `hls serve` with one settings file. `start` returns when /health responds.

    With port 0 in the settings, `port` is the port of the current process, which it prints in its
    log.
    """

    settings: Path
    port: int
    log: Path
    storage_url: str
    environ: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("hls_handler", "serve")
    options: tuple[str, ...] = ()
    expiry: Expiry = SHORT_WRITE  # if it has no options
    process: subprocess.Popen[bytes] | ForkedProcess | None = None
    _log_start: int = 0  # size of the log before the current process

    def __post_init__(self) -> None:
        self._select_port = self.port == 0

    def start(self) -> Service:
        module, *command = self.program
        arguments = [*command, "--config", str(self.settings), *self.options]
        environ = {**os.environ, **self.environ}
        self.begin_log()
        self.process = start_module(
            module,
            arguments,
            environ=environ,
            log=self.log,
            expiry=self.expiry,
        )
        return self.until_up()

    def begin_log(self) -> None:
        """Let `until_up` read the port from the log of the next process."""
        self.log.touch()
        self._log_start = self.log.stat().st_size

    def until_up(self) -> Service:
        """Wait until /health responds."""
        assert self.process is not None
        waiting = Waiting(60)
        while waiting.more():
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the service ended with {self.process.returncode}:\n{self.log.read_text()}"
                )
            if self._select_port and not self._find_port():
                continue
            try:
                self.get("/health")
            except (ConnectionError, http.client.HTTPException):
                continue
            return self
        raise AssertionError(f"the service did not answer:\n{self.log.read_text()}")

    def _find_port(self) -> bool:
        """Set `port` to the one in the log of the current process; return False if it is not there
        yet.
        """
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            found = SERVING.search(log.read())
        if found:
            self.port = int(found[1])
        return found is not None

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(timeout=40)
        self.process = None
        return code

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body or None, headers=headers or {})
            response = connection.getresponse()
            raw = response.read()
            return Answer(
                response.status,
                {k.lower(): v for k, v in response.getheaders()},
                json.loads(raw or b"null"),
            )
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def deliver(
        self,
        event: str,
        body: bytes,
        *,
        guid: str | None = None,
        secret: str = SECRET,
        path: str = "/webhook",
    ) -> Answer:
        """Send a signed webhook as GitHub does."""
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid or str(uuid.uuid4()),
            "X-Hub-Signature-256": signed(body, secret),
            "User-Agent": "GitHub-Hookshot/test",
        }
        return self.request("POST", path, body, headers)

    def until_idle(self, *, within_s: float = 60) -> None:
        """Wait until the database has no queued or running delivery. (/stats may be a second
        old.)
        """
        waiting = Waiting(within_s)
        with closing(self.open_store()) as store:
            while waiting.more():
                queue = store.deliveries.queue_state()
                if queue.queued == 0 and queue.running == 0:
                    return
        raise AssertionError(f"deliveries are unfinished: {queue}\n{self.log.read_text()[-5000:]}")

    def open_store(self) -> Storage:
        """Open the service's database from this process. That upgrades the tables."""
        return Storage.open(self.storage_url)

    @property
    def finished(self) -> int:
        """The number of finished deliveries in the log."""
        return self.log.read_text().count('"delivery finished"')


class Waiting:
    """A bounded wait for another process: `while waiting.more(): ...`. Sleeps 50 ms at each call of
    `more`.
    """

    def __init__(self, within_s: float) -> None:
        self._left = int(within_s / 0.05)
        self._pause = threading.Event()

    def more(self) -> bool:
        self._left -= 1
        self._pause.wait(0.05)
        return self._left > 0


def wait_for_batch(store: Storage, batch: Batch) -> None:
    """Wait until its deliveries have ended, or those of its undo."""
    wait_until(
        lambda: not any(delivery.is_open for delivery in store.batches.load_progress(batch).shown),
        within_s=180,
    )


def wait_until(holds: Callable[[], bool], *, within_s: float = 30) -> None:
    """Wait for a condition of another process."""
    waiting = Waiting(within_s)
    while not holds():
        assert waiting.more(), f"the condition is false after {within_s:g} s"
