"""How fast deliveries are accepted: the product's durable 202 against a bare Starlette application's, in one run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from bench.load import Trial, trial
from bench.process import running, take_another_core
from bench.requests import signed_request, webhooks

ROUNDS = 11  # short ones: on a machine that others use, too, the middle of many is steadier
TRIAL_S = 1.0
REQUESTS = 4_000  # made before each trial, so that making them costs nothing meanwhile
WARM_UP = 500
REQUIRED = 0.12


@dataclass(frozen=True, slots=True)
class Accepts:
    bare: tuple[Trial, ...]
    product: tuple[Trial, ...]

    @property
    def ratios(self) -> list[float]:
        return [p.per_second / b.per_second for b, p in zip(self.bare, self.product, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def measure(folder: Path) -> Accepts:
    """Alternate between the two, so that a slow moment of the machine hits both."""
    core = take_another_core()
    endless = (signed_request(event, body) for event, body in webhooks())
    bare: list[Trial] = []
    product: list[Trial] = []
    with running("bench.bare", core) as starlette, running("bench.product", core, str(folder)) as ours:
        for started in (starlette, ours):
            _taken(trial(started.port, islice(endless, WARM_UP), seconds=TRIAL_S))
        for _ in range(ROUNDS):
            requests = list(islice(endless, REQUESTS))
            bare.append(_taken(trial(starlette.port, cycle(requests), seconds=TRIAL_S)))
            product.append(_taken(trial(ours.port, iter(requests), seconds=TRIAL_S)))
    return Accepts(tuple(bare), tuple(product))


def _taken(measured: Trial) -> Trial:
    assert set(measured.statuses) == {202}, f"not all were taken: {dict(measured.statuses)}"
    return measured
