"""How memory grows: the whole service's resident set after 2,000 deliveries against after 200.

The deliveries are worked on to the end, against the sandbox's GitHub and Claude.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.load import trial
from bench.process import Subject, free_port, service
from bench.requests import SECRET, signed_request, webhooks
from hls_handler.sandbox.server import Sandbox
from hls_handler.store import Store

FEW, MANY = 200, 2_000
ALLOWED = 1.3
PATIENCE_S = 1_200.0

SETTINGS = """
server: {{host: 127.0.0.1, port: {port}}}
github: {{token: "{token}", webhook_secret: "{secret}", base_url: "{github_url}", min_seconds_between_writes: 0}}
claude: {{api_key: "{api_key}", base_url: "{claude_url}", requests_per_second: 1000, calls_per_hour: 100000}}
storage: {{url: "{storage_url}"}}
repositories: [{{name: "*/*"}}]
logging: {{level: WARNING}}
"""


@dataclass(frozen=True, slots=True)
class Memory:
    few_kb: int
    many_kb: int
    done: int  # of the many
    seconds: float

    @property
    def growth(self) -> float:
        return self.many_kb / self.few_kb


def measure(folder: Path) -> Memory:
    begun = time.monotonic()
    endless = webhooks()
    url = f"sqlite:///{folder / 'memory.db'}"
    with Sandbox(rate_limit=10**9) as sandbox, _running(sandbox, folder, url) as running:
        with closing(Store.open(url)) as store:
            _work_off(sandbox, running, store, islice(endless, FEW))
            few_kb = running.resident_kb
            _work_off(sandbox, running, store, islice(endless, MANY - FEW))
            done = store.counters().get(("outcome", "done"), 0)
        return Memory(few_kb, running.resident_kb, done, time.monotonic() - begun)


@contextmanager
def _running(sandbox: Sandbox, folder: Path, storage_url: str) -> Iterator[Subject]:
    port = free_port()
    path = folder / "settings.yaml"
    path.write_text(
        SETTINGS.format(
            port=port,
            token=sandbox.token,
            secret=SECRET,
            github_url=sandbox.github_url,
            api_key=sandbox.api_key,
            claude_url=sandbox.claude_url,
            storage_url=storage_url,
        ),
        encoding="utf-8",
    )
    with service(path, port) as running:
        yield running


def _work_off(sandbox: Sandbox, running: Subject, store: Store, deliveries: Iterator[tuple[str, bytes]]) -> None:
    """Make the threads exist, deliver, and wait until nothing is left to do."""
    given = list(deliveries)
    for event, body in given:
        sandbox.state.plant(event, json.loads(body))
    trial(running.port, (signed_request(event, body) for event, body in given), seconds=PATIENCE_S, connections=8)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        figures = store.queue_figures()
        if not figures.queued and not figures.running:
            return
        time.sleep(0.2)
    raise TimeoutError(f"still at work after {PATIENCE_S:g} s: {figures}")
