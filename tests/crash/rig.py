"""The rig of a crash test: a sandbox, a zygote, one database, and the service that lives over it again and again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine, func, select

from hls_handler.db.tables import deliveries
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.crash.lives import Life, Soon, Zygote
from tests.crash.stories import Stage
from tests.crash.tally import Tally
from tests.e2e.service import ROOT, SECRET, free_port

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
prompts: {{directory: "{prompts}"}}
logging: {{level: WARNING}}
limits: {{{limits}}}
repositories:
  - name: "Codertocat/*"
    events: [issues, pull_request, pull_request_review, workflow_run, release, issue_comment, push]
    comments: {{post_to: {{release: 12, push: 12}}}}
"""

TELL_OF_PUSHES = """---
description: What was pushed
on: [push]
reply: generic_analysis
---
{% extends 'generic.j2' %}
{% block question %}
What was pushed to {{ event.ref }}?
{% endblock %}
"""


def prompts_with_pushes(folder: Path) -> Path:
    """The shipped prompts, and one for an event that has no handler of its own."""
    prompts = Path(shutil.copytree(ROOT / "prompts", folder / "prompts"))
    (prompts / "push").mkdir()
    (prompts / "push" / "tell.j2").write_text(TELL_OF_PUSHES)
    return prompts


def write_settings(folder: Path, sandbox: Sandbox, *, limits: str, claude: str = "") -> Path:
    """For every life: what differs between them comes from the environment. `claude` are more settings of it."""
    path = folder / "settings.yaml"
    path.write_text(
        SETTINGS.format(
            token=sandbox.token,
            api_key=sandbox.api_key,
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            secret=SECRET,
            prompts=prompts_with_pushes(folder),
            limits=limits,
            claude=claude,
        )
    )
    return path


@dataclass
class Rig:
    sandbox: Sandbox
    life: Life
    store: Storage
    engine: Engine  # of the same database, to look at its rows
    stages: int = field(default=0)

    def next_stage(self) -> Stage:
        self.stages += 1
        return Stage(self.stages)

    def open_deliveries(self) -> int:
        is_open = deliveries.c.state.in_(("queued", "running"))
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(deliveries).where(is_open)).scalar_one()

    def until_idle(self, *, within_s: float = 60) -> None:
        waiting = Soon(within_s)
        while waiting.more():
            if self.open_deliveries() == 0:
                return
        raise AssertionError(f"still at work:\n{self.life.log.read_text()[-5000:]}")


@contextmanager
def rigged(
    folder: Path, *, url: str | None = None, limits: str = "concurrency: 1, retry_backoff_s: 0.2, settle_s: 0"
) -> Iterator[Rig]:
    """`url` is that of a PostgreSQL database; without it the database is an SQLite file in the folder."""
    storage_url = url or f"sqlite:///{folder}/hls.db"
    with Sandbox() as sandbox:
        settings = write_settings(folder, sandbox, limits=limits)
        store = Storage.open(storage_url)
        engine = create_engine(storage_url)
        port = free_port()
        tally_path = folder / "tally"
        tally = Tally.make(tally_path)
        log = folder / "service.log"
        with Zygote(settings, {"PORT": str(port), "STORAGE_URL": storage_url}, log) as zygote:
            life = Life(settings, port, log, storage_url, zygote=zygote, tally=tally, tally_path=tally_path)
            try:
                yield Rig(sandbox, life, store, engine)
            finally:
                life.stop(9)
                engine.dispose()
                store.close()
