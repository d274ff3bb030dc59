"""How memory grows: the whole service's resident set after 5,000 deliveries against after 500, and against imports.

The deliveries are worked on to the end, against the sandbox's GitHub and Claude. What only imports is a process that
has imported all that the service has, and does nothing.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import running
from bench.requests import webhooks
from bench.row import Row
from bench.service import deliver, service, wait_until_idle
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage

FEW, MANY = 500, 5_000
GROWTH, GROWTH_AIM = 1.2, 1.05
OVER_IMPORTS, OVER_IMPORTS_AIM = 1.6, 1.4
_AT_ONCE = 250  # so that the stand-in need not remember all at once


def measure(folder: Path) -> tuple[Row, ...]:
    begun = time.monotonic()
    endless = webhooks()
    url = f"sqlite:///{folder / 'memory.db'}"
    with running("bench.imports") as imports:
        imports_kb = imports.resident_kb
    with Sandbox(rate_limit=10**9) as sandbox, closing(Storage.open(url)) as store:
        few_kb = 0
        with service(
            folder,
            credentials=(sandbox.token, sandbox.api_key),
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            storage_url=url,
        ) as ours:
            for sent in range(_AT_ONCE, MANY + 1, _AT_ONCE):
                given = list(islice(endless, _AT_ONCE))
                for event, body in given:
                    sandbox.state.seed(event, json.loads(body))
                deliver(ours, given)
                wait_until_idle(store)
                sandbox.requests.clear()
                if sent == FEW:
                    few_kb = ours.resident_kb
            many_kb = ours.resident_kb
        done = store.statistics.counters().get(("outcome", "done"), 0)
    assert done == MANY, f"{done} of {MANY} were done"
    took_s = time.monotonic() - begun
    how = f"{many_kb / 1024:.0f} MB after {MANY}, {few_kb / 1024:.0f} MB after {FEW}; {MANY} done in {took_s:.0f} s"
    over = f"{many_kb / 1024:.0f} MB to {imports_kb / 1024:.0f} MB of a process that imports the same"
    return (
        Row("memory, 5,000 deliveries to 500", many_kb / few_kb, "at most", GROWTH, GROWTH_AIM, how),
        Row("memory, to imports alone", many_kb / imports_kb, "at most", OVER_IMPORTS, OVER_IMPORTS_AIM, over),
    )
