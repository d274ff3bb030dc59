"""The real service as its own process, for tests: started, spoken to over HTTP, killed, started again."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.e2e.nursery import Born, nursery

SECRET = "a-webhook-secret-for-tests"
SERVE = ("hls_handler", "serve")
ROOT = Path(__file__).parent.parent.parent

SETTINGS = """
server: {{host: 127.0.0.1, port: {port}, {server}}}
github:
  token: "{token}"
  webhook_secret: "{secret}"
  base_url: "{github_url}"
  min_seconds_between_writes: 0.01
  slowest_write_s: {slowest_write_s}
claude:
  api_key: "{api_key}"
  base_url: "{claude_url}"
  requests_per_second: 100
storage: {{url: "{storage_url}"}}
prompts: {{directory: "{prompts}"}}
limits: {{retry_backoff_s: 0.2, settle_s: 0, {limits}}}
repositories:
  - name: "Codertocat/*"
    events: [issues, pull_request, pull_request_review, workflow_run, release, issue_comment, push]
{more}
"""


def settings_text(
    sandbox: Sandbox,
    *,
    port: int | str,
    storage_url: str,
    prompts: str = "prompts",
    limits: str = "concurrency: 4",
    server: str = "",
    slowest_write_s: float = 1,
    more: str = "",
) -> str:
    """Settings of a service whose GitHub and Claude are a sandbox. `limits` and `server` are more keys of theirs."""
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
        slowest_write_s=slowest_write_s,
        more=more,
    )


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
    """One `hls serve` over one settings file. `start` returns when /health answers."""

    settings: Path
    port: int
    log: Path
    storage_url: str
    environ: dict[str, str] = field(default_factory=dict)
    most_files: int | None = None  # that the process may have open; None leaves it as it is
    program: tuple[str, ...] = SERVE
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | Born | None = None

    def start(self) -> Service:
        environ = {**os.environ, **self.environ}
        if self.program == SERVE and self.most_files is None:
            arguments = ["serve", "--config", str(self.settings), *self.options]
            self.process = nursery().start(arguments, environ=environ, out=self.log)
            return self.until_up()
        with self.log.open("ab") as log:
            limited = ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.most_files)] if self.most_files else []
            self.process = subprocess.Popen(
                [*limited, sys.executable, "-m", *self.program, "--config", str(self.settings), *self.options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=environ,
            )
        return self.until_up()

    def until_up(self) -> Service:
        """Wait until /health answers."""
        assert self.process is not None
        waiting = Waiting(30)
        while waiting.more():
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                self.get("/health")
            except (ConnectionError, http.client.HTTPException):
                continue
            return self
        raise AssertionError(f"the service did not answer:\n{self.log.read_text()}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(timeout=40)
        self.process = None
        return code

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body or None, headers=headers or {})
            response = connection.getresponse()
            raw = response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(raw or b"null"))
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def deliver(self, event: str, body: bytes, *, guid: str | None = None, secret: str = SECRET) -> Answer:
        """Post a signed webhook as GitHub does."""
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": guid or str(uuid.uuid4()),
            "X-Hub-Signature-256": signed(body, secret),
            "User-Agent": "GitHub-Hookshot/test",
        }
        return self.request("POST", "/webhook", body, headers)

    def until_idle(self, *, within_s: float = 60) -> None:
        """Wait until nothing is queued or running, by the store: /stats may be a second old."""
        waiting = Waiting(within_s)
        with closing(self.open_store()) as store:
            while waiting.more():
                figures = store.deliveries.queue_state()
                if figures.queued == 0 and figures.running == 0:
                    return
        raise AssertionError(f"still at work: {figures}\n{self.log.read_text()[-5000:]}")

    def open_store(self) -> Storage:
        """The service's own store, beside it."""
        return Storage.open(self.storage_url)


class Waiting:
    """A bounded wait for another process: `while waiting.more(): look`. Pauses a little between two looks."""

    def __init__(self, within_s: float) -> None:
        self._left = int(within_s / 0.05)
        self._pause = threading.Event()

    def more(self) -> bool:
        self._left -= 1
        self._pause.wait(0.05)
        return self._left > 0
