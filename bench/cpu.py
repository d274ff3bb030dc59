"""CPU time per delivery of the service, without that of PyGithub and anthropic.

The service processes issues of a stand-in without latency. Then another process repeats all
recorded calls with the SDKs alone, configured like those of the service.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.requests import webhooks
from bench.row import Row
from bench.service import StartService, deliver, issues, service, wait_until_idle
from bench.stand_in import StartStandIn, stand_in
from hls_handler.store.storage import Storage

DELIVERIES, WORKERS = 200, 4
AIM_MS = 4.0


def measure(
    folder: Path,
    *,
    number: int = DELIVERIES,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'cpu.db'}"
    deliveries_of_issues = issues(webhooks())
    with start_stand_in() as upstream:
        with (
            start_service(
                folder, **upstream.settings, storage_url=url, concurrency=WORKERS
            ) as ours,
            closing(Storage.open(url)) as store,
        ):
            # the first batch imports, connects and creates labels
            for in_batch in (
                WORKERS * 3,
                number,
            ):
                deliveries = list(islice(deliveries_of_issues, in_batch))
                upstream.plant(deliveries)
                upstream.forget_requests()
                before_s = ours.cpu_s
                deliver(ours, deliveries)
                wait_until_idle(store)
                used_ms = (ours.cpu_s - before_s) * 1000 / in_batch
        command = [sys.executable, "-m", "bench.sdks", str(upstream.process.port)]
        completed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sdks_ms = float(completed.stdout) / number
    ours_ms = used_ms - sdks_ms
    details = f"{used_ms:.1f} ms of CPU time per delivery, of which the SDKs use {sdks_ms:.1f} ms"
    return (
        Row(
            "CPU time without SDKs, to SDKs",
            ours_ms / sdks_ms,
            "reported",
            None,
            AIM_MS / sdks_ms,
            details,
        ),
    )
