"""How many deliveries are worked off: by 5 and by 50 workers that wait for GitHub and Claude most of their time.

Claude takes 2 s and each call to GitHub 50 ms. The ideal is Little's: workers / the time that the calls of one delivery
take, of the calls that are really made (an opened issue needs seven of GitHub and one of Claude). His law is about what
goes on and on: all workers begin at once, and for the first generations they want the processor at the same moments.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.process import Subject, pinned_away
from bench.requests import webhooks
from bench.row import Row, median, spread
from bench.service import deliver, issues, service, wait_until_idle
from bench.standin import StandIn, stand_in
from hls_handler.store import Store

CLAUDE_S, GITHUB_S = 2.0, 0.05
GENERATIONS = 10  # deliveries of each worker in a round
ROUNDS = 3
REQUIRED = {5: (0.95, 0.98), 50: (0.90, 0.96)}


def measure(folder: Path) -> tuple[Row, ...]:
    return tuple(_measured(folder, workers) for workers in REQUIRED)


def _measured(folder: Path, workers: int) -> Row:
    url = f"sqlite:///{folder / f'work-{workers}.db'}"
    endless = issues(webhooks())
    with (
        pinned_away() as core,
        stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as there,
        service(folder, **there.where, storage_url=url, concurrency=workers, core=core) as ours,
        closing(Store.open(url)) as store,
    ):
        _worked_off(there, ours, store, list(islice(endless, workers)))  # labels are made, clients connect
        before_s = ours.cpu_s
        rounds = [_worked_off(there, ours, store, list(islice(endless, workers * GENERATIONS))) for _ in range(ROUNDS)]
        cpu_ms = (ours.cpu_s - before_s) * 1000 / (workers * GENERATIONS * ROUNDS)
    shares = [worked.per_second * worked.latency_s / workers for worked in rounds]
    speeds = [worked.per_second for worked in rounds]
    required, aim = REQUIRED[workers]
    how = (
        f"{median(speeds):.3g}/s of {workers / rounds[0].latency_s:.3g}/s, as a delivery waits "
        f"{rounds[0].latency_s:.2f} s in {rounds[0].calls:.1f} calls; {cpu_ms:.0f} ms of CPU each; {spread(shares)}"
    )
    return Row(f"deliveries/s, {workers} workers", median(shares), "at least", required, aim, how)


@dataclass(frozen=True, slots=True)
class Worked:
    per_second: float
    calls: float  # that a delivery makes
    latency_s: float  # of all calls of a delivery together


def _worked_off(there: StandIn, ours: Subject, store: Store, deliveries: list[tuple[str, bytes]]) -> Worked:
    """From the first that was accepted to the last that was finished, by the store's clock."""
    there.plant(deliveries)
    there.forget_requests()
    deliver(ours, deliveries)
    wait_until_idle(store)
    rows = store.deliveries(state="done", limit=len(deliveries))
    assert len(rows) == len(deliveries), "not all were done"
    first = min(row.received_at for row in rows)
    last = max(row.finished_at for row in rows if row.finished_at is not None)
    asked = there.requests()
    to_claude = sum(request["path"] == "/v1/messages" for request in asked)
    to_github = sum(request["stand_in"] == "github" for request in asked)
    return Worked(
        per_second=len(deliveries) / (last - first).total_seconds(),
        calls=(to_claude + to_github) / len(deliveries),
        latency_s=(to_claude * CLAUDE_S + to_github * GITHUB_S) / len(deliveries),
    )
