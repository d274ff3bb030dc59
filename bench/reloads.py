"""Throughput of the receiver while a page of the console is read once a second, relative to that without.

The database has 100,000 deliveries and the receiver one core, as in `bench.accept`. The pages of a browser are larger
by style and script, which it keeps.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.accept import require_accepted
from bench.load import send_load
from bench.pages import DELIVERIES, PAGES, fill, read_page
from bench.process import MeasuredProcess, running, separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median
from tests.postgres import running_cluster

REQUESTS_PER_S = 5_000  # prepared before each round
NAMES = ("overview", "prompts", "figures of 30 days", "metrics", "newest", "delivery", "log")
REQUIRED = 0.95


@dataclass(frozen=True, slots=True)
class Sizes:
    deliveries: int = DELIVERIES
    rounds: int = 9
    round_s: float = 3.0
    names: tuple[str, ...] = NAMES


SIZES = Sizes()


def measure(folder: Path, *, sizes: Sizes = SIZES) -> tuple[Row, ...]:
    return _measure("SQLite", f"sqlite:///{folder / 'reloads.db'}", sizes, analyze=False)


def measure_postgresql(folder: Path, *, sizes: Sizes = SIZES) -> tuple[Row, ...]:
    with running_cluster(fsync=True, within=folder) as cluster:
        return _measure("PostgreSQL", cluster.url(cluster.create()), sizes, analyze=True)


def _measure(database: str, url: str, sizes: Sizes, *, analyze: bool) -> tuple[Row, ...]:
    values = fill(url, sizes.deliveries, analyze=analyze)
    requests = (signed_request(event, body) for event, body in webhooks())
    in_a_round = int(REQUESTS_PER_S * sizes.round_s)
    rows = []
    with separate_cores() as core, running("bench.product", core, url) as server:
        require_accepted(send_load(server.port, islice(requests, in_a_round), seconds=sizes.round_s))
        for name in sizes.names:
            ratios = []
            for number in range(sizes.rounds):
                rates = {}
                for is_read in (True, False) if number % 2 else (False, True):  # a growing database affects both
                    batch = list(islice(requests, in_a_round))
                    with _reading(server, PAGES[name].format(**values)) if is_read else nullcontext():
                        sent = send_load(server.port, iter(batch), seconds=sizes.round_s)
                    rates[is_read] = require_accepted(sent).per_second
                ratios.append(rates[True] / rates[False])
            title = f"webhooks/s with a reload a second, {name}, {database}"
            rows.append(Row(title, median(ratios), "at least", REQUIRED, None, describe_rounds(ratios)))
    return tuple(rows)


@contextmanager
def _reading(server: MeasuredProcess, page: str) -> Iterator[None]:
    """Read a page at once and then once a second."""
    ended = threading.Event()

    def read() -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            read_page(connection, page)
            while not ended.wait(1):
                read_page(connection, page)

    with ThreadPoolExecutor(1) as executor:
        reader = executor.submit(read)
        try:
            yield
        finally:
            ended.set()
        reader.result()
