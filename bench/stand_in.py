"""The sandbox's GitHub and Claude as a process, with additional latencies.

`python -m bench.stand_in GITHUB_S CLAUDE_S`: latencies in seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from bench.process import MeasuredProcess, running
from hls_sandbox.server import API_KEY, CLAUDE_PREFIX, GITHUB_PREFIX, HOST, TOKEN
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

CREDENTIALS = (TOKEN, API_KEY)


@dataclass(frozen=True, slots=True)
class StandIn:
    """A client of a running stand-in."""

    process: MeasuredProcess

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `bench.service.service`."""
        address = f"http://{HOST}:{self.process.port}"
        return {
            "credentials": CREDENTIALS,
            "github_url": address + GITHUB_PREFIX,
            "claude_url": address + CLAUDE_PREFIX,
        }

    def plant(self, deliveries: Iterable[tuple[str, bytes]]) -> None:
        """Create the conversations of these deliveries."""
        for event, body in deliveries:
            self._request(
                "POST", "/_sandbox/plant", json.dumps({"event": event, "payload": json.loads(body)})
            )

    def forget_requests(self) -> None:
        self._request("DELETE", "/_sandbox/requests")

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests since `forget_requests`, oldest first."""
        requests: list[dict[str, Any]] = json.loads(self._request("GET", "/_sandbox/requests"))
        return requests

    def _request(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(HOST, self.process.port, timeout=60)
        try:
            connection.request(
                method, path, body=body, headers={"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, f"{method} {path}: {response.status} {content!r}"
            return content
        finally:
            connection.close()


@contextmanager
def stand_in(*, github_s: float = 0.0, claude_s: float = 0.0) -> Iterator[StandIn]:
    """Start a stand-in on the same core as this process."""
    with running("bench.stand_in", github_s, claude_s) as process:
        yield StandIn(process)


StartStandIn = Callable[..., AbstractContextManager[StandIn]]


@contextmanager
def sandbox(*, github_s: float = 0.0, claude_s: float = 0.0) -> Iterator[StandIn]:
    """Run a stand-in in threads of this process."""
    with Sandbox() as running:
        if claude_s:
            path = "/v1/messages"
            slow = Fault(effect="slow", stand_in="claude", path=path, times=None, seconds=claude_s)
            running.faults.add(slow)
        if github_s:
            running.faults.add(
                Fault(effect="slow", stand_in="github", times=None, seconds=github_s)
            )
        yield StandIn(
            MeasuredProcess(int(running.page_url.rstrip("/").rpartition(":")[2]), os.getpid())
        )


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with sandbox(github_s=float(sys.argv[1]), claude_s=float(sys.argv[2])) as served:
        print(served.process.port, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
