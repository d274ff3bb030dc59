"""Throughput of durable accepts, relative to what people write instead, and their response time.

The service is a process with its shipped settings: 24 workers, which are idle because the queue is
paused. 64 or 16 connections send payloads of 12 to 24 kB, each with its own body, delivery id and
conversation. The server has one core and the load generator another one; the processes of
PostgreSQL may use any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from bench.load import LoadResult, send_load
from bench.plain import SERVERS
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
HLS = "HLS"
AIM = 0.75  # of a group commit that does nothing else


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


Results = dict[str, list[LoadResult]]
"""Server -> the results of its rounds with one number of connections, in their order."""


def measure(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'accept.db'}"
    return _measure("SQLite", url, folder, plan, required=0.35)


def measure_postgresql(folder: Path, *, plan: Plan = PLAN) -> tuple[Row, ...]:
    with running_cluster(fsync=True, within=folder) as cluster:
        url = cluster.url(cluster.create())
        return _measure("PostgreSQL", url, folder, plan, required=0.2)


def _measure(
    database: str, url: str, folder: Path, plan: Plan, *, required: float
) -> tuple[Row, ...]:
    with (
        separate_cores() as core,
        ExitStack() as running,
        plan.start_stand_in() as upstream,
        plan.start_service(
            folder, **upstream.settings, storage_url=url, is_shipped=True, core=core
        ) as ours,
        closing(Storage.open(url)) as store,
    ):
        store.pauses.pause(None, reason="only accepts are measured", by="benchmark")
        servers = {
            name: running.enter_context(plan.run("bench.plain", core, name, folder / f"{name}.db"))
            for name in SERVERS
        }
        results = _send_rounds({**servers, HLS: ours}, plan)
        queued = store.deliveries.queue_state().queued
    sent = sum(one.responses for result in results.values() for one in result[HLS])
    assert queued == sent + WARM_UP, f"{queued} queued, {sent + WARM_UP} sent"
    rows = []
    for connections, result in results.items():
        where = f"{database}, {connections} connections"
        rows += [
            _ratio(f"durable accept, {where}", HLS, "bare", result, None),
            _ratio(
                f"durable accept to a group commit in SQLite, {where}",
                HLS,
                "group-commit",
                result,
                required,
            ),
            _ratio(f"a group commit, {where}", "group-commit", "bare", result, None),
            _ratio(f"background tasks, {where}", "background-tasks", "bare", result, None),
        ]
    return (*rows, *_response_times(database, results[min(CONNECTIONS)]))


def _send_rounds(servers: Mapping[str, MeasuredProcess], plan: Plan) -> dict[int, Results]:
    """Alternate between the servers, so that other load on the machine affects all."""
    requests = (signed_request(event, body) for event, body in webhooks())
    for server in servers.values():
        _send(server, islice(requests, WARM_UP), seconds=WARM_UP_S)
    results: dict[int, Results] = {
        connections: {name: [] for name in servers} for connections in CONNECTIONS
    }
    for _ in range(plan.rounds):
        for connections, result in results.items():
            batch = list(islice(requests, int(REQUESTS_PER_S * plan.round_s)))
            for name, server in servers.items():
                # no request twice, but for the bare server, which is faster than they are made
                again = cycle(batch) if name == "bare" else iter(batch)
                one = _send(server, again, seconds=plan.round_s, connections=connections)
                result[name].append(one)
    return results


def _send(
    server: MeasuredProcess, requests: Iterator[bytes], *, seconds: float, connections: int = 64
) -> LoadResult:
    result = send_load(server.port, requests, seconds=seconds, connections=connections)
    assert set(result.statuses) == {202}, f"expected only 202: {dict(result.statuses)}"
    return result


def _ratio(title: str, server: str, to: str, results: Results, required: float | None) -> Row:
    pairs = zip(results[server], results[to], strict=True)
    ratios = [one.per_second / other.per_second for one, other in pairs]
    rates = [
        f"{name} {median([one.per_second for one in results[name]]):.0f}/s" for name in (server, to)
    ]
    details = f"{', '.join(rates)}; {describe_rounds(ratios)}"
    if required is None:
        return Row(title, median(ratios), "reported", None, None, details)
    return Row(title, median(ratios), "at least", required, AIM, details)


def _response_times(database: str, results: Results) -> Iterator[Row]:
    """Yield medians of the rounds with the fewest connections."""
    name = f"durable accept, {database}, {min(CONNECTIONS)} connections"
    p50_ms = [one.p50_s * 1000 for one in results[HLS]]
    yield Row(
        f"{name}, p50 in ms", median(p50_ms), "at most", P50_MS, None, describe_rounds(p50_ms)
    )
    p99_ms = {
        server: [one.p99_s * 1000 for one in results[server]] for server in (HLS, "group-commit")
    }
    details = f"a group commit {median(p99_ms['group-commit']):.1f}; {describe_rounds(p99_ms[HLS])}"
    yield Row(f"{name}, p99 in ms", median(p99_ms[HLS]), "reported", None, None, details)
