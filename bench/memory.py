"""Resident memory of the service after 2,000 deliveries, relative to that after 500 and to that of
its imports.

The deliveries are processed completely, with the sandbox's GitHub and Claude. The reference for
imports is a process that has imported the same modules and does nothing (`bench.imports`).
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import RunModule, running
from bench.requests import webhooks
from bench.row import Row
from bench.service import StartService, deliver, service, wait_until_idle
from hls_handler.store.storage import Storage
from tests.github_fake.server import Sandbox

FEW, MANY, BATCH = 500, 2_000, 250  # a batch limits the memory of the sandbox
GROWTH, GROWTH_AIM = 1.1, 1.05
OVER_IMPORTS, OVER_IMPORTS_AIM = 1.6, 1.4


def measure(
    folder: Path,
    *,
    few: int = FEW,
    many: int = MANY,
    batch_size: int = BATCH,
    start_service: StartService = service,
    run: RunModule = running,
) -> tuple[Row, ...]:
    start = time.monotonic()
    deliveries = webhooks()
    url = f"sqlite:///{folder / 'memory.db'}"
    with run("bench.imports") as imports:
        imports_kb = imports.resident_kb
    with Sandbox() as sandbox, closing(Storage.open(url)) as store:
        few_kb = 0
        with start_service(
            folder,
            credentials=(sandbox.token, sandbox.api_key),
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            storage_url=url,
        ) as ours:
            for sent in range(batch_size, many + 1, batch_size):
                batch = list(islice(deliveries, batch_size))
                for event, body in batch:
                    sandbox.state.seed(event, json.loads(body))
                deliver(ours, batch)
                wait_until_idle(store)
                sandbox.requests.clear()
                if sent == few:
                    few_kb = ours.resident_kb
            many_kb = ours.resident_kb
        done = store.statistics.counters().get(("outcome", "done"), 0)
    assert done == many, f"{done} of {many} were done"
    took_s = time.monotonic() - start
    details = (
        f"{many_kb / 1024:.0f} MB after {many}, {few_kb / 1024:.0f} MB after {few}; {many} done in"
        f" {took_s:.0f} s"
    )
    over = f"{many_kb / 1024:.0f} MB to {imports_kb / 1024:.0f} MB of imports"
    return (
        Row(
            f"memory, {many:,} deliveries to {few:,}",
            many_kb / few_kb,
            "at most",
            GROWTH,
            GROWTH_AIM,
            details,
        ),
        Row(
            "memory, to imports",
            many_kb / imports_kb,
            "at most",
            OVER_IMPORTS,
            OVER_IMPORTS_AIM,
            over,
        ),
    )
