"""Throughput of durable accepts, relative to a bare Starlette application.

64 connections send payloads of 12 to 24 kB with unique delivery ids. The server has one core and the load generator
another one; the processes of PostgreSQL may use any.
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

from bench.load import LoadResult, send_load
from bench.process import running, separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median
from tests.postgres import running_cluster

ROUNDS = 15  # many short ones, because the median of many is less sensitive to other load on the machine
ROUND_S = 1.0
REQUESTS_PER_S = 6_000  # prepared before each round
WARM_UP = 500


def measure(folder: Path, *, rounds: int = ROUNDS, round_s: float = ROUND_S) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'accept.db'}"
    return (_measure("SQLite", url, rounds, round_s, required=0.15, aim=0.33),)


def measure_postgresql(folder: Path, *, rounds: int = ROUNDS, round_s: float = ROUND_S) -> tuple[Row, ...]:
    with running_cluster(fsync=True, within=folder) as cluster:
        url = cluster.url(cluster.create())
        return (_measure("PostgreSQL", url, rounds, round_s, required=0.08, aim=0.15),)


def _measure(database: str, url: str, rounds: int, round_s: float, *, required: float, aim: float) -> Row:
    """Alternate between the two servers, so that other load on the machine affects both."""
    requests = (signed_request(event, body) for event, body in webhooks())
    bare: list[float] = []
    product: list[float] = []
    with (
        separate_cores() as core,
        running("bench.bare", core) as starlette,
        running("bench.product", core, url) as ours,
    ):
        for server in (starlette, ours):
            require_accepted(send_load(server.port, islice(requests, WARM_UP), seconds=round_s))
        for _ in range(rounds):
            batch = list(islice(requests, int(REQUESTS_PER_S * round_s)))
            bare.append(require_accepted(send_load(starlette.port, cycle(batch), seconds=round_s)).per_second)
            product.append(require_accepted(send_load(ours.port, iter(batch), seconds=round_s)).per_second)
    ratios = [ours_per_s / bare_per_s for ours_per_s, bare_per_s in zip(product, bare, strict=True)]
    details = f"{median(product):.0f}/s, bare Starlette {median(bare):.0f}/s; {describe_rounds(ratios)}"
    return Row(f"durable accept, {database}", median(ratios), "at least", required, aim, details)


def require_accepted(result: LoadResult) -> LoadResult:
    assert set(result.statuses) == {202}, f"expected only 202: {dict(result.statuses)}"
    return result
