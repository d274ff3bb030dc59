"""The harness of a crash test: a sandbox, one database, and a service that is killed and started
again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, create_engine, func, select

from hls_handler.db.tables import deliveries
from hls_handler.queue.leases import Expiry
from hls_handler.store.storage import Storage
from tests.crash.commits import CommitCounter, count_commits
from tests.crash.scenarios import EVENTS, PROMPTS, FreshRepository
from tests.e2e.fork_server import ROOT, ForkedProcess, serve
from tests.e2e.service import SECRET, Service
from tests.github_fake.server import Sandbox

SETTINGS = """
server: {{host: 127.0.0.1, port: 0}}
github:
  token: "{token}"
  webhook_secret: "{secret}"
  base_url: "{github_url}"
  min_seconds_between_writes: 0
claude:
  api_key: "{api_key}"
  base_url: "{claude_url}"
  requests_per_second: 1000
  calls_per_hour: 100000
storage: {{url: "{storage_url}"}}
prompts: {{directory: {prompts}}}
limits: {{concurrency: 1, retry_backoff_s: 0.2, settle_s: 0}}
catch_up: {{enabled: false}}
mirror: {{directory: {mirrors}}}
repositories:
  - name: "Codertocat/*"
    events: {events}
    comments: {{post_to: {{release: 12, push: 12}}}}
"""


def write_settings(folder: Path, sandbox: Sandbox, storage_url: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(
        SETTINGS.format(
            token=sandbox.token,
            api_key=sandbox.api_key,
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            secret=SECRET,
            storage_url=storage_url,
            prompts=json.dumps([str(folder) for folder in PROMPTS]),
            events=json.dumps(EVENTS),
            mirrors=folder / "mirrors",
        )
    )
    return path


@dataclass
class CountedService(Service):
    """A service whose commits are counted."""

    commits: CommitCounter = field(default_factory=CommitCounter)

    def start(self) -> Service:
        self.begin_log()
        arguments = ["serve", "--config", str(self.settings)]
        run = partial(_serve_counted, self.commits)
        self.process = ForkedProcess(run, arguments, os.environ, ROOT, self.log, self.log)
        return self.until_up()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _serve_counted(commits: CommitCounter) -> None:
    count_commits(commits)
    serve(Expiry(slowest_write_s=3))


def wait_until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Return True as soon as the condition holds, or False after the timeout."""
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.004)
    return True


@dataclass
class Harness:
    sandbox: Sandbox
    service: CountedService
    store: Storage
    engine: Engine
    repositories: int = 0

    def next_repository(self) -> FreshRepository:
        self.repositories += 1
        return FreshRepository(self.repositories)

    @property
    def commits(self) -> CommitCounter:
        return self.service.commits

    def open_deliveries(self) -> int:
        """Number of queued and running deliveries."""
        is_open = deliveries.c.state.in_(("queued", "running"))
        with self.engine.connect() as connection:
            return connection.execute(
                select(func.count()).select_from(deliveries).where(is_open)
            ).scalar_one()

    def log_tail(self) -> str:
        return self.service.log.read_text()[-5000:]

    def until_idle(self) -> None:
        assert wait_until(lambda: self.open_deliveries() == 0, timeout_s=60), (
            f"not idle:\n{self.log_tail()}"
        )


@contextmanager
def running_harness(folder: Path, *, url: str | None = None) -> Iterator[Harness]:
    """Run a service. `url` is that of a PostgreSQL database; None: an SQLite file in the folder."""
    storage_url = url or f"sqlite:///{folder}/hls.db"
    with Sandbox() as sandbox:
        service = CountedService(
            write_settings(folder, sandbox, storage_url), 0, folder / "service.log", storage_url
        )
        store, engine = Storage.open(storage_url), create_engine(storage_url)
        try:
            service.start()
            yield Harness(sandbox, service, store, engine)
        finally:
            service.stop(signal.SIGKILL)
            engine.dispose()
            store.close()
