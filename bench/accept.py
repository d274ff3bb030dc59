"""Throughput of durable accepts, relative to a bare Starlette application, and their response time.

The service is a process with its shipped settings: 24 workers, which are idle because the queue is
paused. 64 or 16 connections send payloads of 12 to 24 kB, each with its own body, delivery id and
conversation. The server has one core and the load generator another one; the processes of
PostgreSQL may use any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from bench.load import LoadResult, send_load
from bench.process import MeasuredProcess, RunModule, running, separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median
from bench.service import StartService, service
from bench.stand_in import StartStandIn, stand_in
from hls_handler.store.storage import Storage
from tests.postgres import running_cluster

REQUESTS_PER_S = 4_000  # prepared before each round
WARM_UP, WARM_UP_S = 500, 60.0
CONNECTIONS = (64, 16)
P50_MS = 12.0


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int = (
        15  # many short ones: the median of many is less sensitive to other load on the machine
    )
    round_s: float = 1.0
    start_service: StartService = service
    start_stand_in: StartStandIn = stand_in
    run: RunModule = running


PLAN = Plan()


@dataclass(slots=True)
class Results:
    """The results of the rounds with one number of connections, in the order of the rounds."""

    bare: list[LoadResult] = field(default_factory=list)
    ours: list[LoadResult] = field(default_factory=list)

    def ratios(self) -> list[float]:
        pairs = zip(self.ours, self.bare, strict=True)
        return [ours.per_second / bare.per_second for ours, bare in pairs]


def measure(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'accept.db'}"
    return _measure("SQLite", url, folder, plan, required=0.12)


def measure_postgresql(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    with running_cluster(fsync=True, within=folder) as cluster:
        url = cluster.url(cluster.create())
        return _measure("PostgreSQL", url, folder, plan, required=0.08)


def _measure(
    database: str, url: str, folder: Path, plan: Plan, *, required: float
) -> tuple[Row, ...]:
    with (
        separate_cores() as core,
        plan.run("bench.bare", core) as starlette,
        plan.start_stand_in() as upstream,
        plan.start_service(
            folder, **upstream.settings, storage_url=url, is_shipped=True, core=core
        ) as ours,
        closing(Storage.open(url)) as store,
    ):
        store.pauses.pause(None, reason="only accepts are measured", by="benchmark")
        results = _send_rounds(starlette, ours, plan)
        queued = store.deliveries.queue_state().queued
    sent = sum(one.responses for result in results.values() for one in result.ours)
    assert queued == sent + WARM_UP, f"{queued} queued, {sent + WARM_UP} sent"
    rows = [_row(database, *one, required=required) for one in results.items()]
    return (*rows, _response_time(database, results))


def _send_rounds(
    starlette: MeasuredProcess, ours: MeasuredProcess, plan: Plan
) -> dict[int, Results]:
    """Alternate between the two servers, so that other load on the machine affects both."""
    requests = (signed_request(event, body) for event, body in webhooks())
    for server in (starlette, ours):
        _send(server, islice(requests, WARM_UP), seconds=WARM_UP_S)
    results = {connections: Results() for connections in CONNECTIONS}
    for _ in range(plan.rounds):
        for connections, result in results.items():
            batch = list(islice(requests, int(REQUESTS_PER_S * plan.round_s)))
            bare = _send(starlette, cycle(batch), seconds=plan.round_s, connections=connections)
            accepted = _send(ours, iter(batch), seconds=plan.round_s, connections=connections)
            result.bare.append(bare)
            result.ours.append(accepted)
    return results


def _send(
    server: MeasuredProcess, requests: Iterator[bytes], *, seconds: float, connections: int = 64
) -> LoadResult:
    result = send_load(server.port, requests, seconds=seconds, connections=connections)
    assert set(result.statuses) == {202}, f"expected only 202: {dict(result.statuses)}"
    return result


def _row(database: str, connections: int, results: Results, *, required: float) -> Row:
    ratios = results.ratios()
    ours_per_s = median([one.per_second for one in results.ours])
    bare_per_s = median([one.per_second for one in results.bare])
    details = f"{ours_per_s:.0f}/s, bare Starlette {bare_per_s:.0f}/s; {describe_rounds(ratios)}"
    name = f"durable accept, {database}, {connections} connections"
    return Row(name, median(ratios), "at least", required, None, details)


def _response_time(database: str, results: Mapping[int, Results]) -> Row:
    """Return the median of the response time of the rounds with the fewest connections."""
    connections = min(results)
    p50_ms = [one.p50_s * 1000 for one in results[connections].ours]
    name = f"durable accept, {database}, {connections} connections, p50 in ms"
    return Row(name, median(p50_ms), "at most", P50_MS, None, describe_rounds(p50_ms))
