"""Throughput with 5 and with 50 workers, relative to the latencies of GitHub and Claude.

Claude takes 2 s and each call to GitHub 50 ms: an opened issue gets labels and no comment. By
Little's law the maximum is workers / (duration of the calls of one delivery). The law describes a
steady state; at the start of a round all workers need the processor at the same time.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import MeasuredProcess, separate_cores
from bench.requests import webhooks
from bench.row import Row, describe_rounds, median
from bench.service import StartService, deliver, issues, service, wait_until_idle
from bench.stand_in import StandIn, StartStandIn, stand_in
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage

CLAUDE_S, GITHUB_S = 2.0, 0.05
GITHUB_CALLS = 3
LATENCY_S = CLAUDE_S + GITHUB_CALLS * GITHUB_S
DELIVERIES_PER_WORKER = 10  # in a round
ROUNDS = 2
REQUIRED = {5: (0.95, 0.98), 50: (0.90, 0.96)}


def measure(
    folder: Path,
    *,
    workers: Collection[int] = tuple(REQUIRED),
    rounds: int = ROUNDS,
    per_worker: int = DELIVERIES_PER_WORKER,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> tuple[Row, ...]:
    return tuple(
        _measure(folder, number, rounds, per_worker, start_service, start_stand_in)
        for number in workers
    )


def _measure(
    folder: Path,
    workers: int,
    number_of_rounds: int,
    per_worker: int,
    start_service: StartService,
    start_stand_in: StartStandIn,
) -> Row:
    url = f"sqlite:///{folder / f'work-{workers}.db'}"
    issue_webhooks = issues(webhooks())
    with (
        separate_cores() as core,
        start_stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as upstream,
        start_service(
            folder,
            **upstream.settings,
            storage_url=url,
            concurrency=workers,
            commenting=False,
            core=core,
        ) as ours,
        closing(Storage.open(url)) as store,
    ):
        # creates labels and connections
        _process(upstream, ours, store, list(islice(issue_webhooks, workers)))
        before_s = ours.cpu_s
        rounds = [
            _deliveries_per_s(
                upstream, ours, store, list(islice(issue_webhooks, workers * per_worker))
            )
            for _ in range(number_of_rounds)
        ]
        cpu_ms = (ours.cpu_s - before_s) * 1000 / (workers * per_worker * number_of_rounds)
    ratios = [per_s * LATENCY_S / workers for per_s in rounds]
    required, aim = REQUIRED[workers]
    details = (
        f"{median(rounds):.3g}/s of {workers / LATENCY_S:.3g}/s, because a delivery waits"
        f" {LATENCY_S:.2f} s; {cpu_ms:.0f} ms of CPU time per delivery; {describe_rounds(ratios)}"
    )
    return Row(
        f"deliveries/s, {workers} workers", median(ratios), "at least", required, aim, details
    )


def _process(
    upstream: StandIn, ours: MeasuredProcess, store: Storage, deliveries: list[tuple[str, bytes]]
) -> None:
    upstream.plant(deliveries)
    upstream.forget_requests()
    deliver(ours, deliveries)
    wait_until_idle(store)


def _deliveries_per_s(
    upstream: StandIn, ours: MeasuredProcess, store: Storage, deliveries: list[tuple[str, bytes]]
) -> float:
    """Return the throughput from the first accept to the last end, by the clock of the database."""
    _process(upstream, ours, store, deliveries)
    rows = list(islice(store.searches.read_all(DeliverySearch(state="done")), len(deliveries)))
    assert len(rows) == len(deliveries), "not all were done"
    paths = [request["path"] for request in upstream.requests()]  # includes health checks
    assert paths.count("/v1/messages") == len(deliveries), (
        "expected one call of Claude per delivery"
    )
    github_calls = sum(path.startswith("/repos/") for path in paths) / len(deliveries)
    assert github_calls == GITHUB_CALLS, f"{github_calls} calls to GitHub per delivery"
    first = min(row.received_at for row in rows)
    last = max(row.finished_at for row in rows if row.finished_at is not None)
    return len(deliveries) / (last - first).total_seconds()
