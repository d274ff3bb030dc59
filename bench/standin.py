"""A stand-in GitHub and Claude as a process of its own, which answer after a time.

`python -m bench.standin GITHUB_S CLAUDE_S`: seconds, beyond what the sandbox itself needs.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.process import Subject, running
from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import API_KEY, CLAUDE_PREFIX, GITHUB_PREFIX, HOST, TOKEN, Sandbox

CREDENTIALS = (TOKEN, API_KEY)


@dataclass(frozen=True, slots=True)
class StandIn:
    """One that runs, as it is spoken to."""

    subject: Subject

    @property
    def where(self) -> dict[str, Any]:
        """What the service has to know of it."""
        address = f"http://{HOST}:{self.subject.port}"
        return {
            "credentials": CREDENTIALS,
            "github_url": address + GITHUB_PREFIX,
            "claude_url": address + CLAUDE_PREFIX,
        }

    def plant(self, deliveries: Iterable[tuple[str, bytes]]) -> None:
        """Make the threads of these exist."""
        for event, body in deliveries:
            self._ask("POST", "/_sandbox/plant", json.dumps({"event": event, "payload": json.loads(body)}))

    def hang_once(self) -> None:
        """The next call to Claude is never answered."""
        self._ask("POST", "/_sandbox/faults", json.dumps({"effect": "hang", "stand_in": "claude", "method": "POST"}))

    def forget_requests(self) -> None:
        self._ask("DELETE", "/_sandbox/requests")

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked since they were forgotten, oldest first."""
        seen: list[dict[str, Any]] = json.loads(self._ask("GET", "/_sandbox/requests"))
        return seen

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = http.client.HTTPConnection(HOST, self.subject.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 300, f"{method} {path}: {answer.status} {said!r}"
            return said
        finally:
            connection.close()


@contextmanager
def stand_in(*, github_s: float = 0.0, claude_s: float = 0.0) -> Iterator[StandIn]:
    """Run one, on the core that we are on."""
    with running("bench.standin", github_s, claude_s) as subject:
        yield StandIn(subject)


def _serve(github_s: float, claude_s: float) -> None:
    with Sandbox(rate_limit=10**9, latency_s=claude_s) as sandbox:
        if github_s:
            sandbox.faults.add(Fault(effect="slow", stand_in="github", times=None, seconds=github_s))
        print(int(sandbox.page_url.rstrip("/").rpartition(":")[2]), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _serve(float(sys.argv[1]), float(sys.argv[2]))
