"""How long an accept takes while five deliveries are worked on, against while none is: p99, in one process.

What is measured are deliveries of one thread, whose first one is stuck in a call to Claude: they are accepted like any
other, and make no work. What is worked on meanwhile are issues, by five more workers, with the latencies of `work`;
and once more, only reported, with none at all, where the workers want the processor all the time.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.process import Subject, pinned_away
from bench.requests import signed_request, webhooks
from bench.row import Row, median, percentile, spread
from bench.service import deliver, issues, service
from bench.standin import StandIn, stand_in
from bench.work import CLAUDE_S, GITHUB_S
from hls_handler.storage import Storage

WORKERS = 5
ROUNDS, ACCEPTS, PAUSE_S = 7, 150, 0.01
REQUIRED, AIM = 3.0, 1.5
PATIENCE_S = 120.0


def measure(folder: Path) -> tuple[Row, ...]:
    real = _measured(folder, "as in earnest", github_s=GITHUB_S, claude_s=CLAUDE_S, at_work=WORKERS * 4)
    busy = _measured(folder, "no latencies", github_s=0.0, claude_s=0.0, at_work=500)
    slower = f"accept p99, {WORKERS} at work to idle"
    return (
        Row(slower, real[0], "at most", REQUIRED, AIM, real[1]),
        Row(f"{slower}, all of them computing", busy[0], "reported", None, None, busy[1]),
    )


def _measured(folder: Path, name: str, *, github_s: float, claude_s: float, at_work: int) -> tuple[float, str]:
    url = f"sqlite:///{folder / name}.db"
    endless = issues(webhooks())
    with (
        pinned_away() as core,
        stand_in(github_s=github_s, claude_s=claude_s) as there,
        service(folder, **there.where, storage_url=url, concurrency=WORKERS + 1, core=core) as ours,
        closing(Storage.open(url)) as store,
        closing(socket.create_connection(("127.0.0.1", ours.port))) as connection,
    ):
        of_one_thread = _of_one_thread(*next(endless))
        there.hang_once()
        _begin(there, ours, [next(of_one_thread)])
        _wait(store, running=1)
        _work_off(there, ours, store, list(islice(endless, WORKERS)))
        idle: list[list[float]] = []
        busy: list[list[float]] = []
        for _ in range(ROUNDS):
            idle.append(_accepts(connection, islice(of_one_thread, ACCEPTS)))
            done = _done(store)
            _begin(there, ours, list(islice(endless, at_work)))
            _wait(store, running=WORKERS + 1)
            busy.append(_accepts(connection, islice(of_one_thread, ACCEPTS)))
            assert _done(store) < done + at_work, "the work ended before the measuring did"
            _wait_until_done(store, done + at_work)
    ratios = [percentile(slow, 0.99) / percentile(quick, 0.99) for slow, quick in zip(busy, idle, strict=True)]
    at_work_ms, idle_ms = (_shown([took for one in rounds for took in one]) for rounds in (busy, idle))
    return median(ratios), f"p50 and p99 {at_work_ms} to {idle_ms}; {spread(ratios)}"


def _shown(took_s: list[float]) -> str:
    return f"{median(took_s) * 1000:.1f} and {percentile(took_s, 0.99) * 1000:.1f} ms"


def _of_one_thread(event: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """The same again and again, with another title each time, so that it is no replay."""
    payload = json.loads(body)
    number = 0
    while True:
        number += 1
        payload["issue"]["title"] = f"The title number {number}"
        yield event, json.dumps(payload, separators=(",", ":")).encode()


def _accepts(connection: socket.socket, deliveries: Iterator[tuple[str, bytes]]) -> list[float]:
    """How long each answer took, with a pause before each."""
    requests = [signed_request(event, body) for event, body in deliveries]
    took_s = []
    for request in requests:
        time.sleep(PAUSE_S)
        begun = time.perf_counter()
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"}"):  # the head may come alone
            answer += connection.recv(65_536)
        took_s.append(time.perf_counter() - begun)
        assert answer.startswith(b"HTTP/1.1 202"), answer
    return took_s


def _begin(there: StandIn, ours: Subject, deliveries: list[tuple[str, bytes]]) -> None:
    there.plant(deliveries)
    deliver(ours, deliveries)


def _work_off(there: StandIn, ours: Subject, store: Storage, deliveries: list[tuple[str, bytes]]) -> None:
    done = _done(store)
    _begin(there, ours, deliveries)
    _wait_until_done(store, done + len(deliveries))


def _done(store: Storage) -> int:
    return store.statistics.counters().get(("outcome", "done"), 0)


def _wait_until_done(store: Storage, number: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while _done(store) < number:
        assert time.monotonic() < until, f"{_done(store)} of {number} done after {PATIENCE_S:g} s"
        time.sleep(0.05)


def _wait(store: Storage, *, running: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while store.deliveries.queue_state().running < running:
        assert time.monotonic() < until, f"no {running} were worked on after {PATIENCE_S:g} s"
        time.sleep(0.02)
