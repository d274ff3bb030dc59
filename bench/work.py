"""How many deliveries are worked off: by 5 and by 50 workers that wait for GitHub and Claude most of their time.

Claude takes 2 s and each of GitHub's five calls 50 ms: those of an opened issue that gets labels and no comment (with
one there are seven). The ideal is Little's: workers / the time that the calls of one delivery take. His law is about
what goes on and on: all workers begin at once, and for the first generations they want the processor at the same
moments.
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import Subject, pinned_away
from bench.requests import webhooks
from bench.row import Row, median, spread
from bench.service import deliver, issues, service, wait_until_idle
from bench.standin import StandIn, stand_in
from hls_handler.storage import Storage

CLAUDE_S, GITHUB_S = 2.0, 0.05
GITHUB_CALLS = 5
LATENCY_S = CLAUDE_S + GITHUB_CALLS * GITHUB_S
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
        service(folder, **there.where, storage_url=url, concurrency=workers, commenting=False, core=core) as ours,
        closing(Storage.open(url)) as store,
    ):
        _work_off(there, ours, store, list(islice(endless, workers)))  # labels are made, clients connect
        before_s = ours.cpu_s
        rounds = [_speed(there, ours, store, list(islice(endless, workers * GENERATIONS))) for _ in range(ROUNDS)]
        cpu_ms = (ours.cpu_s - before_s) * 1000 / (workers * GENERATIONS * ROUNDS)
    shares = [speed * LATENCY_S / workers for speed in rounds]
    required, aim = REQUIRED[workers]
    how = (
        f"{median(rounds):.3g}/s of {workers / LATENCY_S:.3g}/s, as a delivery waits {LATENCY_S:.2f} s; "
        f"{cpu_ms:.0f} ms of CPU each; {spread(shares)}"
    )
    return Row(f"deliveries/s, {workers} workers", median(shares), "at least", required, aim, how)


def _work_off(there: StandIn, ours: Subject, store: Storage, deliveries: list[tuple[str, bytes]]) -> None:
    there.plant(deliveries)
    there.forget_requests()
    deliver(ours, deliveries)
    wait_until_idle(store)


def _speed(there: StandIn, ours: Subject, store: Storage, deliveries: list[tuple[str, bytes]]) -> float:
    """Deliveries a second, from the first that was accepted to the last that was finished, by the store's clock."""
    _work_off(there, ours, store, deliveries)
    rows = store.deliveries.newest(state="done", limit=len(deliveries))
    assert len(rows) == len(deliveries), "not all were done"
    asked = [request["path"] for request in there.requests()]  # also how they are, every minute
    assert asked.count("/v1/messages") == len(deliveries), "Claude was not asked once for each"
    to_github = sum(path.startswith("/repos/") for path in asked) / len(deliveries)
    assert to_github == GITHUB_CALLS, f"{to_github} calls to GitHub for each"
    first = min(row.received_at for row in rows)
    last = max(row.finished_at for row in rows if row.finished_at is not None)
    return len(deliveries) / (last - first).total_seconds()
