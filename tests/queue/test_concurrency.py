"""Concurrent workers of several processes: nothing is processed twice, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from hls_handler.deliveries import End, Lease
from hls_handler.errors import LeaseLost, Postponed
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    SAME_BODY,
    accept,
    begin,
    newest,
    push,
    queued,
    start_call,
)

T = TypeVar("T")


def run_at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Run `work` in threads that start at the same moment; returns their results or raises the
    first exception.
    """
    barrier = threading.Barrier(threads)

    def run(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_body_sent_to_all_processes_at_once_is_queued_once(
    stores: list[Storage], store: Storage
) -> None:

    def send(number: int) -> str:
        return accept(stores[number], queued(f"g-{number}", **SAME_BODY))[0].outcome

    outcomes = run_at_once(4, send)
    assert sorted(map(str, outcomes)) == ["queued", "replay", "replay", "replay"]


def test_accepts_claims_and_pushes_at_once_do_not_deadlock(
    stores: list[Storage], store: Storage
) -> None:
    def accept_pushes(number: int) -> None:
        for i in range(15):
            accept(
                stores[number],
                push(f"{number}-{i}-a", f"sha{number}{i}"),
                queued(f"{number}-{i}-b", number=9),
            )

    def work() -> None:
        for _ in range(30):
            lease = store.queue.claim(worker="w", lease_s=300, max_crashes=3)
            if lease is not None:
                store.queue.finish(lease, End("done", "", handler="H"), took_s=0)

    run_at_once(6, lambda number: accept_pushes(number) if number < 3 else work())
    assert len(newest(store)) == 90
    counters = store.statistics.counters()
    assert counters["webhooks", ""] == 90
    while (lease := store.queue.claim(worker="w", lease_s=300, max_crashes=3)) is not None:
        store.queue.finish(lease, End("done", ""), took_s=0)
    counters = store.statistics.counters()
    assert counters["outcome", "done"] + counters["outcome", "superseded"] == 90


def test_writers_of_one_process_do_not_need_the_busy_timeout(tmp_path: Path) -> None:
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", busy_timeout_s=0)
    run_at_once(8, lambda number: [accept(store, queued(f"{number}-{i}")) for i in range(20)])
    assert len(newest(store)) == 160
    store.close()


REQUESTS: dict[str, Callable[[Storage, Lease, Lease], object]] = {
    "slot": lambda store, own, _: store.rate_limiter.take_slot(own, SlotRequest("github", 600)),
    "lock": lambda store, own, _: store.locks.acquire(own, "comment", ttl_s=60),
    "end": lambda store, _, first: store.queue.finish(first, End("done", ""), took_s=0),
    "last call of the hour": lambda store, own, _: start_call(store, own, calls_per_hour=1),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_what_four_workers_request_at_once_is_granted_to_one(store: Storage, what: str) -> None:
    leases = [begin(store, f"g{i}") for i in range(4)]

    def request(number: int) -> bool:
        try:
            REQUESTS[what](store, leases[number], leases[0])
        except (LeaseLost, Postponed):
            return False
        return True

    assert sorted(run_at_once(4, request)) == [False, False, False, True]
