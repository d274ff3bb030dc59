"""Several services with one PostgreSQL and one sandbox, which a test starts, stops and kills."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage
from tests.crash.harness import wait_until
from tests.e2e.service import SHORT_LEASE, Service, settings_text
from tests.github_fake.server import Sandbox

REPOSITORY = "Codertocat/Hello-World"


@dataclass
class Fleet:
    sandbox: Sandbox
    store: Storage
    url: str
    settings: Path
    services: Sequence[Service]

    @cached_property
    def _bug(self) -> dict[str, Any]:
        return dict(recorded.load("demo/bug").payload)

    def deliver(self, service: Service, number: int, *, guid: str, action: str = "opened") -> None:
        """Create the issue on GitHub if it is opened, and send the webhook. An edit changes the
        text of the issue.
        """
        issue = {**self._bug["issue"], "number": number, "id": 444_500_000 + number}
        changes: dict[str, Any] = {}
        if action == "edited":
            changes = {"changes": {"body": {"from": issue["body"]}}}
            issue["body"] = f"{issue['body']}\n\nIt happened again ({guid})."
        payload = {**self._bug, "action": action, "issue": issue, **changes}
        if action == "opened":
            self.sandbox.state.seed("issues", payload)
        response = service.deliver("issues", json.dumps(payload).encode(), guid=guid)
        assert (response.status, response.body["status"]) == (202, "queued"), response.body

    def kill_all(self) -> None:
        for service in self.services:
            service.stop(signal.SIGKILL)

    def row(self, guid: str) -> DeliveryRow:
        found = self.store.deliveries.find(guid)
        assert found is not None, f"no delivery {guid}"
        return found

    def owner_of(self, guid: str) -> Service:
        """Return the service that processes a delivery."""
        worker = self.row(guid).worker or ""
        return next(
            one
            for one in self.services
            if one.process is not None and f"-{one.process.pid}-" in worker
        )

    def until(self, condition: Callable[[], bool], *, timeout_s: float = 60) -> None:
        if not wait_until(condition, timeout_s=timeout_s):
            raise AssertionError(
                "\n".join(service.log.read_text()[-2000:] for service in self.services)
            )

    def until_idle(self) -> None:
        def is_idle() -> bool:
            state = self.store.deliveries.queue_state()
            return state.queued == 0 and state.running == 0

        self.until(is_idle, timeout_s=240)

    def writes(self) -> list[tuple[str, str]]:
        """Return all writes to GitHub as ("POST", path)."""
        return [
            (seen.method, seen.path) for seen in self.sandbox.requests.all("github") if seen.writes
        ]

    def assert_once(self, number: int) -> None:
        """Assert that the issue has its labels, each set once, and one comment, created once."""
        conversation = self.sandbox.conversation(number)
        assert len(conversation.comments) == 1, number
        assert (
            self.writes().count(("POST", f"/repos/{REPOSITORY}/issues/{number}/comments")) == 1
        ), number
        labeled = [event.detail for event in conversation.events if event.kind == "labeled"]
        assert sorted(labeled) == sorted(conversation.labels), number
        assert "bug" in conversation.labels


MIN_INTERVAL_S = 0.05
"""Between two writes to GitHub, and between two calls of Claude, over all processes."""


def settings_for(sandbox: Sandbox, folder: Path, *, limits: str, url: str, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "settings.yaml"
    text = settings_text(sandbox, storage_url=url, limits=limits, more=more)
    text = text.replace("writes: 0.01", f"writes: {MIN_INTERVAL_S}")
    # Without the cache of replies: each delivery has its own call, also after edits that GitHub
    # does not show.
    claude = f"second: {1 / MIN_INTERVAL_S}\n  calls_per_hour: 9999\n  cache_ttl_h: 0"
    path.write_text(text.replace("second: 100", claude))
    return path


@contextmanager
def make_fleet(
    sandbox: Sandbox, url: str, folder: Path, *, size: int, limits: str
) -> Iterator[Fleet]:
    """Make services without starting them; kill at the end those that a test has started."""
    path = settings_for(sandbox, folder, limits=limits, url="${STORAGE_URL}")
    with closing(Storage.open(url)) as store:
        environ = {"STORAGE_URL": url}
        services = [
            Service(path, 0, folder / f"service-{n}.log", url, environ=environ, expiry=SHORT_LEASE)
            for n in range(size)
        ]
        fleet = Fleet(sandbox, store, url, path, services)
        try:
            yield fleet
        finally:
            fleet.kill_all()
