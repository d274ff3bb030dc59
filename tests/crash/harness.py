"""The harness of a crash test: a sandbox, one database, and a service that is killed and started again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, create_engine, func, select

from hls_handler.db.tables import deliveries
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.crash.commits import CommitCounter
from tests.crash.forked_service import EVENTS, PROMPTS
from tests.crash.processes import ServiceProcess, wait_until
from tests.crash.scenarios import FreshRepository
from tests.e2e.service import SECRET, free_port

SETTINGS = """
server: {{host: 127.0.0.1, port: "${{PORT}}"}}
github:
  token: "{token}"
  webhook_secret: "{secret}"
  base_url: "{github_url}"
  min_seconds_between_writes: 0
  slowest_write_s: 3
claude:
  api_key: "{api_key}"
  base_url: "{claude_url}"
  requests_per_second: 1000
  calls_per_hour: 100000
  {claude}
storage: {{url: "${{STORAGE_URL}}"}}
prompts: {{directory: {prompts}}}
logging: {{level: WARNING}}
limits: {{{limits}}}
catch_up: {{enabled: false}}
repositories:
  - name: "Codertocat/*"
    events: {events}
    comments: {{post_to: {{release: 12, push: 12}}}}
"""


def write_settings(folder: Path, sandbox: Sandbox, *, limits: str, claude: str = "") -> Path:
    """Write the settings of all processes. `limits` and `claude` are additional keys of these sections."""
    path = folder / "settings.yaml"
    path.write_text(
        SETTINGS.format(
            token=sandbox.token,
            api_key=sandbox.api_key,
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            secret=SECRET,
            prompts=json.dumps([str(folder) for folder in PROMPTS]),
            events=json.dumps(EVENTS),
            limits=limits,
            claude=claude,
        )
    )
    return path


def count_open_deliveries(engine: Engine) -> int:
    """Number of queued and running deliveries."""
    is_open = deliveries.c.state.in_(("queued", "running"))
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(deliveries).where(is_open)).scalar_one()


@dataclass
class Harness:
    sandbox: Sandbox
    service: ServiceProcess
    commits: CommitCounter
    store: Storage
    engine: Engine
    repositories: int = 0

    def next_repository(self) -> FreshRepository:
        self.repositories += 1
        return FreshRepository(self.repositories)

    def open_deliveries(self) -> int:
        return count_open_deliveries(self.engine)

    def log_tail(self) -> str:
        return self.service.log.read_text()[-5000:]

    def until_idle(self) -> None:
        assert wait_until(lambda: self.open_deliveries() == 0, timeout_s=60), f"not idle:\n{self.log_tail()}"


@contextmanager
def running_harness(folder: Path, *, url: str | None = None) -> Iterator[Harness]:
    """Run a service. `url` is that of a PostgreSQL database; None: an SQLite file in the folder."""
    storage_url = url or f"sqlite:///{folder}/hls.db"
    with Sandbox() as sandbox:
        settings = write_settings(folder, sandbox, limits="concurrency: 1, retry_backoff_s: 0.2, settle_s: 0")
        store = Storage.open(storage_url)
        engine = create_engine(storage_url)
        commits = CommitCounter()
        service = ServiceProcess(settings, free_port(), folder / "service.log", storage_url, commits=commits)
        try:
            service.start()
            yield Harness(sandbox, service, commits, store, engine)
        finally:
            service.stop(9)
            engine.dispose()
            store.close()
