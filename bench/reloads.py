"""Share of one core that a page of the console takes if a browser reloads it every second.

A webhook that the service cannot accept meanwhile is what such a browser costs. The store has
100,000 deliveries. CPU time is measured, because the throughput of webhooks with and without a
reader differed by 20 % from round to round.
"""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.pages import DELIVERIES, PAGES, fill, read_page
from bench.process import RunModule, running, separate_cores
from bench.row import Row
from tests.postgres import running_cluster

NAMES = ("overview", "prompts", "figures of 30 days", "metrics", "newest", "delivery", "log")
REQUIRED, AIM = 0.05, 0.02


@dataclass(frozen=True, slots=True)
class Sizes:
    deliveries: int = DELIVERIES
    reloads: int = 10  # of each page, one a second
    pause_s: float = 1.0
    run: RunModule = running


SIZES = Sizes()


def measure(folder: Path, *, sizes: Sizes = SIZES) -> tuple[Row, ...]:
    return _measure("SQLite", f"sqlite:///{folder / 'reloads.db'}", sizes, analyze=False)


def measure_postgresql(folder: Path, *, sizes: Sizes = SIZES) -> tuple[Row, ...]:
    with running_cluster(within=folder) as cluster:
        return _measure("PostgreSQL", cluster.url(cluster.create()), sizes, analyze=True)


def _measure(database: str, url: str, sizes: Sizes, *, analyze: bool) -> tuple[Row, ...]:
    values = fill(url, sizes.deliveries, analyze=analyze)
    rows = []
    with separate_cores() as core, sizes.run("bench.pages", core, url) as server:
        for name in NAMES:
            page = PAGES[name].format(**values)
            with closing(
                http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            ) as connection:
                read_page(connection, page)  # the first one imports and fills caches
                before_s = server.cpu_s
                for _ in range(sizes.reloads):
                    time.sleep(sizes.pause_s)
                    read_page(connection, page)
            cpu_s = (server.cpu_s - before_s) / sizes.reloads
            title = f"one core, a reload of {name} a second, {database}"
            rows.append(
                Row(
                    title,
                    cpu_s,
                    "at most",
                    REQUIRED,
                    AIM,
                    f"{cpu_s * 1000:.0f} ms of CPU time a reload",
                )
            )
    return tuple(rows)
