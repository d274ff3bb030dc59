"""Response time of accepts while workers process deliveries.

The measured deliveries are of a paused repository: they are accepted and stay queued. The workers
process issues of another repository meanwhile, with the latencies of `bench.work`. Five workers are
compared with an idle service (p99); of 24 workers, the p95 is measured with one accept every 100
ms.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from bench.process import separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median, percentile
from bench.service import StartService, deliver, issues, service
from bench.stand_in import StartStandIn, stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.store.storage import Storage

PAUSED = "Codertocat/Paused-Repo"
REQUIRED, AIM = 3.0, 1.5
REQUIRED_P95_MS = 250.0
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    workers: int
    per_worker: int  # deliveries processed in a round
    pause_s: float  # from one accept to the next
    rounds: int
    accepts: int = 100


FIVE_WORKERS = Case(workers=5, per_worker=2, pause_s=0.01, rounds=7)
MANY_WORKERS = Case(workers=24, per_worker=12, pause_s=0.1, rounds=2)


@dataclass(slots=True)
class Times:
    """Response times in seconds, by round."""

    idle: list[list[float]] = field(default_factory=list)
    busy: list[list[float]] = field(default_factory=list)


def measure(
    folder: Path,
    *,
    few: Case = FIVE_WORKERS,
    many: Case = MANY_WORKERS,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> tuple[Row, ...]:
    return (
        _compare(few.workers, _measure(folder, few, start_service, start_stand_in)),
        _p95(many.workers, _measure(folder, many, start_service, start_stand_in)),
    )


def _compare(workers: int, times: Times) -> Row:
    pairs = zip(times.busy, times.idle, strict=True)
    ratios = [percentile(busy, 0.99) / percentile(idle, 0.99) for busy, idle in pairs]
    details = (
        f"p50 and p99 {_describe(times.busy)} to {_describe(times.idle)}; {describe_rounds(ratios)}"
    )
    return Row(
        f"accept p99, {workers} workers busy to idle",
        median(ratios),
        "at most",
        REQUIRED,
        AIM,
        details,
    )


def _p95(workers: int, times: Times) -> Row:
    p95_ms = [percentile(busy, 0.95) * 1000 for busy in times.busy]
    details = f"p50 and p99 {_describe(times.busy)}; {describe_rounds(p95_ms)}"
    return Row(
        f"accept p95 in ms, {workers} workers busy",
        median(p95_ms),
        "at most",
        REQUIRED_P95_MS,
        None,
        details,
    )


def _measure(
    folder: Path, case: Case, start_service: StartService, start_stand_in: StartStandIn
) -> Times:
    url = f"sqlite:///{folder / f'latency-{case.workers}.db'}"
    issue_webhooks = issues(webhooks())
    paused = ((event, _move(body)) for event, body in issues(webhooks()))
    times = Times()
    in_round = case.workers * case.per_worker
    with (
        separate_cores() as core,
        start_stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as upstream,
        start_service(
            folder, **upstream.settings, storage_url=url, concurrency=case.workers, core=core
        ) as ours,
        closing(Storage.open(url)) as store,
    ):

        def start(number: int) -> None:
            batch = list(islice(issue_webhooks, number))
            upstream.plant(batch)
            deliver(ours, batch)

        def count_done() -> int:
            return store.statistics.counters().get(("outcome", "done"), 0)

        def wait_until_done(number: int) -> None:
            _wait_until(lambda: count_done() == number)

        store.pauses.pause(PAUSED, reason=None, by="mona")
        start(case.workers)  # imports, connects and creates labels
        wait_until_done(case.workers)
        for number in range(1, case.rounds + 1):
            expected = case.workers + number * in_round
            times.idle.append(_accept_times(ours.port, islice(paused, case.accepts), case.pause_s))
            start(in_round)
            _wait_until(lambda: store.deliveries.queue_state().running == case.workers)
            times.busy.append(_accept_times(ours.port, islice(paused, case.accepts), case.pause_s))
            assert count_done() < expected, "the deliveries were done before the measurement ended"
            wait_until_done(expected)
    return times


def _move(body: bytes) -> bytes:
    """Return the payload as of the paused repository, whose conversations are others."""
    return body.replace(b"Codertocat/Hello-World", PAUSED.encode()).replace(
        b"186853002", b"186853003"
    )


def _describe(rounds: list[list[float]]) -> str:
    took_s = [one for times in rounds for one in times]
    return f"{median(took_s) * 1000:.1f} and {percentile(took_s, 0.99) * 1000:.1f} ms"


def _accept_times(
    port: int, deliveries: Iterator[tuple[str, bytes]], pause_s: float
) -> list[float]:
    """Send a delivery every `pause_s` seconds over one connection; return the response times in
    seconds.
    """
    requests = [signed_request(event, body) for event, body in deliveries]
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        return _send_one_by_one(connection, requests, pause_s)


def _send_one_by_one(
    connection: socket.socket, requests: Sequence[bytes], pause_s: float
) -> list[float]:
    took_s: list[float] = []
    began_at = time.perf_counter()
    for number, request in enumerate(requests, 1):
        time.sleep(max(0.0, began_at + number * pause_s - time.perf_counter()))
        start = time.perf_counter()
        connection.sendall(request)
        response = b""
        while not response.endswith(b"}"):  # the headers may arrive first
            received = connection.recv(65_536)
            assert received, "the service closed the connection"
            response += received
        took_s.append(time.perf_counter() - start)
        assert response.startswith(b"HTTP/1.1 202"), response
    return took_s


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"condition is false after {TIMEOUT_S:g} s"
        time.sleep(0.02)
