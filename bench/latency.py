"""Response time (p99) of accepts while five deliveries are processed, relative to an idle service.

The measured deliveries are of one conversation, whose first delivery waits for Claude: they are accepted and stay
queued. Five other workers process issues meanwhile, with the latencies of `bench.work`. A second measurement has no
latencies, so that the workers use the processor all the time; its result is only reported.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import separate_cores
from bench.requests import signed_request, webhooks
from bench.row import Row, describe_rounds, median, percentile
from bench.service import deliver, issues, service
from bench.stand_in import stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.storage import Storage

WORKERS = 5
ROUNDS, ACCEPTS, PAUSE_S = 7, 150, 0.01
WAITING, COMPUTING = WORKERS * 4, 500
REQUIRED, AIM = 3.0, 1.5
TIMEOUT_S = 120.0


def measure(
    folder: Path, *, rounds: int = ROUNDS, accepts: int = ACCEPTS, waiting: int = WAITING, computing: int = COMPUTING
) -> tuple[Row, ...]:
    """`waiting` and `computing`: deliveries of a round with and without latencies."""
    real = _measure(folder, "latencies", rounds, accepts, github_s=GITHUB_S, claude_s=CLAUDE_S, deliveries=waiting)
    busy = _measure(folder, "no latencies", rounds, accepts, github_s=0.0, claude_s=0.0, deliveries=computing)
    name = f"accept p99, {WORKERS} workers busy to idle"
    return (
        Row(name, real[0], "at most", REQUIRED, AIM, real[1]),
        Row(f"{name}, without latencies", busy[0], "reported", None, None, busy[1]),
    )


def _measure(
    folder: Path, name: str, rounds: int, accepts: int, *, github_s: float, claude_s: float, deliveries: int
) -> tuple[float, str]:
    """Return the ratio and its description. `deliveries` is the number of issues processed in each round."""
    url = f"sqlite:///{folder / name}.db"
    issue_webhooks = issues(webhooks())
    with (
        separate_cores() as core,
        stand_in(github_s=github_s, claude_s=claude_s) as upstream,
        service(folder, **upstream.settings, storage_url=url, concurrency=WORKERS + 1, core=core) as ours,
        closing(Storage.open(url)) as store,
        closing(socket.create_connection(("127.0.0.1", ours.port))) as connection,
    ):

        def start(batch: list[tuple[str, bytes]]) -> None:
            upstream.plant(batch)
            deliver(ours, batch)

        def count_done() -> int:
            return store.statistics.counters().get(("outcome", "done"), 0)

        def wait_until_done(number: int) -> None:
            _wait_until(lambda: count_done() == number)

        def wait_until_running(number: int) -> None:
            _wait_until(lambda: store.deliveries.queue_state().running >= number)

        of_one_conversation = _of_one_conversation(*next(issue_webhooks))
        upstream.hang_once()
        start([next(of_one_conversation)])
        _wait_until(lambda: store.calls.count_last_hour() == 1)  # else another delivery would hang
        start(list(islice(issue_webhooks, WORKERS)))
        wait_until_done(WORKERS)
        idle: list[list[float]] = []
        busy: list[list[float]] = []
        for number in range(rounds):
            idle.append(_accept_times(connection, islice(of_one_conversation, accepts)))
            start(list(islice(issue_webhooks, deliveries)))
            wait_until_running(WORKERS + 1)
            busy.append(_accept_times(connection, islice(of_one_conversation, accepts)))
            expected = WORKERS + (number + 1) * deliveries
            assert count_done() < expected, "the deliveries were done before the measurement ended"
            wait_until_done(expected)
    ratios = [percentile(one, 0.99) / percentile(other, 0.99) for one, other in zip(busy, idle, strict=True)]
    busy_ms, idle_ms = (_describe([took_s for times in rounds for took_s in times]) for rounds in (busy, idle))
    return median(ratios), f"p50 and p99 {busy_ms} to {idle_ms}; {describe_rounds(ratios)}"


def _describe(took_s: list[float]) -> str:
    return f"{median(took_s) * 1000:.1f} and {percentile(took_s, 0.99) * 1000:.1f} ms"


def _of_one_conversation(event: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the same event with different titles, so that none is a replay."""
    payload = json.loads(body)
    number = 0
    while True:
        number += 1
        payload["issue"]["title"] = f"The title number {number}"
        yield event, json.dumps(payload, separators=(",", ":")).encode()


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
