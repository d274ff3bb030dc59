"""Our own CPU for each delivery: of the whole service, less what the same calls cost by the SDKs alone.

The service works issues off without latencies. Then a process that has only the SDKs makes the calls that the service
made, as often: the same requests to the same stand-in, through PyGithub and anthropic as we configure them.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.requests import webhooks
from bench.row import Row
from bench.service import deliver, issues, service, wait_until_idle
from bench.standin import stand_in
from hls_handler.storage import Storage

DELIVERIES, WORKERS = 200, 4
AIM_MS = 4.0


def measure(folder: Path) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'cpu.db'}"
    endless = issues(webhooks())
    with stand_in() as there:
        with (
            service(folder, **there.where, storage_url=url, concurrency=WORKERS) as ours,
            closing(Storage.open(url)) as store,
        ):
            for number in (WORKERS * 3, DELIVERIES):  # the first ones import, connect and make labels
                deliveries = list(islice(endless, number))
                there.plant(deliveries)
                there.forget_requests()
                before_s = ours.cpu_s
                deliver(ours, deliveries)
                wait_until_idle(store)
                used_ms = (ours.cpu_s - before_s) * 1000 / number
        command = [sys.executable, "-m", "bench.sdks", str(there.subject.port)]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    sdks_ms = float(told.stdout) / DELIVERIES
    ours_ms = used_ms - sdks_ms
    how = f"{used_ms:.1f} ms of CPU for a delivery, {sdks_ms:.1f} ms of them the SDKs'"
    return (Row("our CPU to the SDKs'", ours_ms / sdks_ms, "reported", None, AIM_MS / sdks_ms, how),)
