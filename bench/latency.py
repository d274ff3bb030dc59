"""Response time (p99) of accepts while five deliveries are processed, relative to an idle service.

The measured deliveries are of a paused repository: they are accepted and stay queued. Five workers process issues of
another repository meanwhile, with the latencies of `bench.work`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median, percentile
from bench.service import StartService, deliver, issues, service
from bench.stand_in import StartStandIn, stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.storage import Storage

WORKERS = 5
ROUNDS, ACCEPTS, PAUSE_S = 7, 100, 0.01
PROCESSED = WORKERS * 2  # in a round
PAUSED = "Codertocat/Paused-Repo"
REQUIRED, AIM = 3.0, 1.5
TIMEOUT_S = 120.0


def measure(
    folder: Path,
    *,
    rounds: int = ROUNDS,
    accepts: int = ACCEPTS,
    start_service: StartService = service,
    start_stand_in: StartStandIn = stand_in,
) -> tuple[Row, ...]:
    url = f"sqlite:///{folder / 'latency.db'}"
    issue_webhooks = issues(webhooks())
    paused = ((event, _move(body)) for event, body in issues(webhooks()))
    with (
        separate_cores() as core,
        start_stand_in(github_s=GITHUB_S, claude_s=CLAUDE_S) as upstream,
        start_service(folder, **upstream.settings, storage_url=url, concurrency=WORKERS, core=core) as ours,
        closing(Storage.open(url)) as store,
        closing(socket.create_connection(("127.0.0.1", ours.port))) as connection,
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
        start(WORKERS)  # imports, connects and creates labels
        wait_until_done(WORKERS)
        idle: list[list[float]] = []
        busy: list[list[float]] = []
        for number in range(1, rounds + 1):
            idle.append(_accept_times(connection, islice(paused, accepts)))
            start(PROCESSED)
            _wait_until(lambda: store.deliveries.queue_state().running == WORKERS)
            busy.append(_accept_times(connection, islice(paused, accepts)))
            expected = WORKERS + number * PROCESSED
            assert count_done() < expected, "the deliveries were done before the measurement ended"
            wait_until_done(expected)
    ratios = [percentile(one, 0.99) / percentile(other, 0.99) for one, other in zip(busy, idle, strict=True)]
    busy_ms, idle_ms = (_describe([took_s for times in rounds for took_s in times]) for rounds in (busy, idle))
    details = f"p50 and p99 {busy_ms} to {idle_ms}; {describe_rounds(ratios)}"
    return (Row(f"accept p99, {WORKERS} workers busy to idle", median(ratios), "at most", REQUIRED, AIM, details),)


def _move(body: bytes) -> bytes:
    """Return the payload as of the paused repository, whose conversations are others."""
    return body.replace(b"Codertocat/Hello-World", PAUSED.encode()).replace(b"186853002", b"186853003")


def _describe(took_s: list[float]) -> str:
    return f"{median(took_s) * 1000:.1f} and {percentile(took_s, 0.99) * 1000:.1f} ms"


def _accept_times(connection: socket.socket, deliveries: Iterator[tuple[str, bytes]]) -> list[float]:
    """Send each delivery after a pause; return the response times in seconds."""
    requests = [signed_request(event, body) for event, body in deliveries]
    took_s = []
    for request in requests:
        time.sleep(PAUSE_S)
        start = time.perf_counter()
        connection.sendall(request)
        response = b""
        while not response.endswith(b"}"):  # the headers may arrive first
            response += connection.recv(65_536)
        took_s.append(time.perf_counter() - start)
        assert response.startswith(b"HTTP/1.1 202"), response
    return took_s


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"condition is false after {TIMEOUT_S:g} s"
        time.sleep(0.02)
