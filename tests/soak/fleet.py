"""Several services with one database and one sandbox."""

from __future__ import annotations

import http.client
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine

from hls_handler.sandbox.server import Sandbox
from tests.crash.harness import count_open_deliveries, write_settings
from tests.crash.processes import ServiceProcess, wait_until
from tests.crash.scenarios import FreshRepository
from tests.e2e.service import free_port
from tests.soak.schedule import Webhook

CONCURRENCY = 2
LIMITS = (
    f"concurrency: {CONCURRENCY}, retry_backoff_s: 0.05, lease_s: 5, shutdown_s: 3, settle_s: 0.3, "
    "thread_runs_per_hour: 1000"
)
RESPONSE_TIMEOUT_S = 60.0
IDLE_TIMEOUT_S = 120.0
ACCEPTED = ("queued", "duplicate", "ignored")


@dataclass
class Fleet:
    sandbox: Sandbox
    services: list[ServiceProcess]
    engine: Engine
    repositories: int = 0
    without_response: int = 0  # requests that failed or got a 503
    responses: Counter[str] = field(default_factory=Counter)  # by status

    def next_repository(self) -> FreshRepository:
        self.repositories += 1
        return FreshRepository(self.repositories)

    def restart(self, service: int, how: signal.Signals) -> None:
        self.services[service].stop(how)
        self.services[service].start()

    def create_on_github(self, repository: FreshRepository, webhook: Webhook) -> None:
        """Let the sandbox store the state that the webhook reports."""
        self.sandbox.state.seed(webhook.event, json.loads(webhook.body(repository)), files=webhook.files)

    def send(self, repository: FreshRepository, webhook: Webhook, guid: str, rng: random.Random) -> None:
        """Send a webhook to random services until one accepts it."""
        body = webhook.body(repository)

        def is_accepted() -> bool:
            with suppress(OSError, http.client.HTTPException):
                response = rng.choice(self.services).deliver(webhook.event, body, guid=guid)
                if response.status in (200, 202) and response.body["status"] in ACCEPTED:
                    self.responses[response.body["status"]] += 1
                    return True
                assert response.status == 503, f"{webhook}: {response}"
            self.without_response += 1
            return False

        assert wait_until(is_accepted, timeout_s=RESPONSE_TIMEOUT_S, poll_s=0.02), (
            f"no service accepted {webhook} within {RESPONSE_TIMEOUT_S:g} s:\n{self.logs()}"
        )

    def until_idle(self) -> None:
        assert wait_until(lambda: count_open_deliveries(self.engine) == 0, timeout_s=IDLE_TIMEOUT_S, poll_s=0.02), (
            f"not idle after {IDLE_TIMEOUT_S:g} s:\n{self.logs()}"
        )

    def logs(self) -> str:
        return "\n".join(f"{service.log.name}:\n{service.log.read_text()[-4000:]}" for service in self.services)


@contextmanager
def running_fleet(folder: Path, *, url: str, processes: int) -> Iterator[Fleet]:
    """Start the services; kill them at the end. `folder` is for settings and logs."""
    with Sandbox() as sandbox:
        # Without the cache of replies: each checkpoint of a reply must belong to one call that succeeded.
        settings = write_settings(folder, sandbox, limits=LIMITS, claude="timeout_s: 2\n  cache_ttl_h: 0")
        engine = create_engine(url)
        services = [
            ServiceProcess(settings, free_port(), folder / f"service-{number}.log", url) for number in range(processes)
        ]
        try:
            for service in services:
                service.start()
            yield Fleet(sandbox, services, engine)
        finally:
            for service in services:
                service.stop(signal.SIGKILL)
            engine.dispose()
