"""How fast deliveries are accepted: the product's durable 202 against a bare Starlette application's, in one run.

Payloads of 12 to 24 kB, each under an id of its own, over 64 connections; the server has one core, the load another.
PostgreSQL's own processes run where the machine lets them, as they would on a machine of their own.
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

from bench.load import Trial, trial
from bench.process import pinned_away, running
from bench.requests import signed_request, webhooks
from bench.row import Row, median, spread
from tests.postgres import running_cluster

ROUNDS = 15  # short ones: on a machine that others use, too, the middle of many is steadier
TRIAL_S = 1.0
REQUESTS = 6_000  # made before each trial, so that making them costs nothing meanwhile
WARM_UP = 500


def measure(folder: Path) -> tuple[Row, ...]:
    return (_measured("SQLite", f"sqlite:///{folder / 'accept.db'}", required=0.15, aim=0.33),)


def measure_postgresql(folder: Path) -> tuple[Row, ...]:
    with running_cluster(fsync=True, within=folder) as cluster:
        return (_measured("PostgreSQL", cluster.url(cluster.create()), required=0.08, aim=0.15),)


def _measured(database: str, url: str, *, required: float, aim: float) -> Row:
    """Alternate between the two, so that a slow moment of the machine hits both."""
    endless = (signed_request(event, body) for event, body in webhooks())
    bare: list[float] = []
    product: list[float] = []
    with (
        pinned_away() as core,
        running("bench.bare", core) as starlette,
        running("bench.product", core, url) as ours,
    ):
        for started in (starlette, ours):
            _taken(trial(started.port, islice(endless, WARM_UP), seconds=TRIAL_S))
        for _ in range(ROUNDS):
            requests = list(islice(endless, REQUESTS))
            bare.append(_taken(trial(starlette.port, cycle(requests), seconds=TRIAL_S)).per_second)
            product.append(_taken(trial(ours.port, iter(requests), seconds=TRIAL_S)).per_second)
    ratios = [taken / answered for taken, answered in zip(product, bare, strict=True)]
    how = f"{median(product):.0f}/s to a bare Starlette's {median(bare):.0f}/s; {spread(ratios)}"
    return Row(f"durable accept, {database}", median(ratios), "at least", required, aim, how)


def _taken(measured: Trial) -> Trial:
    assert set(measured.statuses) == {202}, f"not all were taken: {dict(measured.statuses)}"
    return measured
