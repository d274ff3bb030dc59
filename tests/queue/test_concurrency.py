"""Concurrent workers and killed processes: nothing is processed twice, and nothing is lost."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost, Postponed, StoreUnavailable
from hls_handler.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import SAME_BODY, accept, begin, claim, nothing_is_due, push, queued, state_of

T = TypeVar("T")


@pytest.fixture
def stores(url: str) -> Iterator[list[Storage]]:
    """Four connections to the database of `store`, as four processes have them."""
    opened = [Storage.open(url) for _ in range(4)]
    yield opened
    for one in opened:
        one.close()


def run_at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Run `work` in threads that start at the same moment; returns their results or raises the first exception."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_eight_workers_process_each_delivery_once_and_each_conversation_in_order(store: Storage) -> None:
    accept(store, *(queued(f"{i:03}", number=i % 20) for i in range(200)))
    lock = threading.Lock()
    order: dict[int | None, list[str]] = defaultdict(list)
    running: Counter[int | None] = Counter()
    running_counts = []

    def work(number: int) -> None:
        while True:
            lease = store.queue.claim(worker=f"w{number}", lease_s=300, max_crashes=3)
            if lease is None:
                if store.queue.seconds_until_due() is None:
                    return
                continue
            with lock:
                order[lease.number].append(lease.guid)
                running[lease.number] += 1
                running_counts.append(running[lease.number])
            with lock:
                running[lease.number] -= 1
            store.queue.finish(lease, "done", reason=None, took_s=0)

    run_at_once(8, work)
    assert dict(order) == {n: [f"{i:03}" for i in range(n, 200, 20)] for n in range(20)}
    assert set(running_counts) == {1}
    assert store.statistics.counters()["outcome", "done"] == 200


def test_processes_that_accept_and_work_at_once_keep_each_conversation_in_order(
    stores: list[Storage], store: Storage
) -> None:
    """Each process is a `Storage` of its own; it saves a checkpoint between the recorded begin and end."""
    order_lock = threading.Lock()
    accepted: dict[int | None, list[str]] = defaultdict(list)
    history: dict[int | None, list[tuple[str, str]]] = defaultdict(list)

    def send(own_store: Storage, name: str) -> None:
        for i in range(10):
            with order_lock:  # so that the test knows the order of acceptance
                accept(own_store, queued(f"{name}-{i}", number=i % 3))
                accepted[i % 3].append(f"{name}-{i}")
            work(own_store)

    def work(own_store: Storage) -> bool:
        lease = own_store.queue.claim(worker="w", lease_s=300, max_crashes=3, concurrency=2)
        if lease is None:
            return False
        history[lease.number].append(("begins", lease.guid))
        own_store.checkpoints.save(lease, Checkpoint("ask", 0, 1, "{}"))
        history[lease.number].append(("ends", lease.guid))
        own_store.queue.finish(lease, "done", reason=None, took_s=0)
        return True

    def accept_and_work(number: int) -> None:
        send(stores[number], f"m{number}")
        while stores[number].queue.seconds_until_due() is not None:
            work(stores[number])

    run_at_once(4, accept_and_work)
    for number in range(3):
        in_order = [(event, guid) for guid in accepted[number] for event in ("begins", "ends")]
        assert history[number] == in_order
    assert store.statistics.counters()["outcome", "done"] == store.statistics.counters()["webhooks", ""] == 40


def test_delivery_sent_to_all_processes_at_once_is_stored_once(stores: list[Storage], store: Storage) -> None:

    def send(number: int) -> list[str]:
        return [accept(stores[number], queued(f"g{i}"))[0].outcome for i in range(10)]

    outcomes = run_at_once(4, send)
    assert Counter(itertools.chain(*outcomes)) == {"queued": 10, "duplicate": 30}
    assert len(store.deliveries.newest()) == 10


def test_body_sent_to_all_processes_at_once_is_queued_once(stores: list[Storage], store: Storage) -> None:

    def send(number: int) -> str:
        return accept(stores[number], queued(f"g-{number}", **SAME_BODY))[0].outcome

    outcomes = run_at_once(4, send)
    assert sorted(map(str, outcomes)) == ["queued", "replay", "replay", "replay"]


def test_accepts_claims_and_pushes_at_once_do_not_deadlock(stores: list[Storage], store: Storage) -> None:
    def accept_pushes(number: int) -> None:
        for i in range(15):
            accept(stores[number], push(f"{number}-{i}-a", f"sha{number}{i}"), queued(f"{number}-{i}-b", number=9))

    def work() -> None:
        for _ in range(30):
            lease = store.queue.claim(worker="w", lease_s=300, max_crashes=3)
            if lease is not None:
                store.queue.finish(lease, "done", reason=None, handler="H", took_s=0)

    run_at_once(6, lambda number: accept_pushes(number) if number < 3 else work())
    assert len(store.deliveries.newest(limit=1000)) == 90
    counters = store.statistics.counters()
    assert counters["webhooks", ""] == 90
    while (lease := store.queue.claim(worker="w", lease_s=300, max_crashes=3)) is not None:
        store.queue.finish(lease, "done", reason=None, took_s=0)
    counters = store.statistics.counters()
    assert counters["outcome", "done"] + counters["outcome", "superseded"] == 90


def test_writers_of_one_process_do_not_need_the_busy_timeout(tmp_path: Path) -> None:
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", busy_timeout_s=0)
    run_at_once(8, lambda number: [accept(store, queued(f"{number}-{i}")) for i in range(20)])
    assert len(store.deliveries.newest(limit=1000)) == 160
    store.close()


def test_slots_requested_at_once_differ(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(6)]

    def ask(number: int) -> object:
        try:
            store.rate_limiter.take_slot(leases[number], "github", interval_s=600)
        except Postponed as wait:
            return wait.at
        return None

    slots = run_at_once(6, ask)
    assert slots.count(None) == 1
    assert len(set(slots)) == 6


def test_last_call_of_the_hourly_budget_is_begun_once(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(4)]

    def ask(number: int) -> object:
        try:
            return store.calls.begin(
                leases[number],
                index=0,
                prompt_id="p@1",
                model="m",
                requests_per_second=1000,
                calls_per_hour=1,
            )
        except Postponed as wait:
            return wait.waiting_for

    assert Counter(type(outcome).__name__ for outcome in run_at_once(4, ask)) == {"StartedCall": 1, "str": 3}
    assert store.calls.count_last_hour() == 1


def test_lock_requested_at_once_is_acquired_by_one(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(4)]

    def ask(number: int) -> object:
        try:
            store.locks.acquire(leases[number], "comment", ttl_s=60)
        except Postponed:
            return False
        return True

    assert sorted(map(bool, run_at_once(4, ask))) == [False, False, False, True]


def test_lease_is_finished_once(store: Storage) -> None:
    lease = begin(store, "g1")

    def end(_number: int) -> object:
        try:
            store.queue.finish(lease, "done", reason=None, took_s=0)
        except LeaseLost:
            return False
        return True

    assert sorted(map(bool, run_at_once(4, end))) == [False, False, False, True]
    assert store.statistics.counters()["outcome", "done"] == 1


def test_a_claim_that_the_unique_index_rejects_raises_and_changes_nothing(postgres: Cluster) -> None:
    """Another process claims a delivery of the same conversation in an open transaction."""
    name = postgres.create()
    store = Storage.open(postgres.url(name))
    accept(store, queued("g1", number=7))
    store.queue.dead_letter(claim(store), reason="locked")
    accept(store, queued("g2", number=7))
    address = postgres.url(name).replace("+psycopg", "")
    with psycopg.connect(address) as other, psycopg.connect(address, autocommit=True) as watcher:
        in_a_minute = "extract(epoch FROM now()) * 1000 + 60000"
        other.execute(f"UPDATE deliveries SET state = 'running', lease_until = {in_a_minute} WHERE guid = 'g1'")
        with ThreadPoolExecutor(1) as pool:
            claiming = pool.submit(nothing_is_due, store)
            while not watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                assert not claiming.done()
            other.commit()
            with pytest.raises(StoreUnavailable, match="uq_deliveries_one_running_per_conversation"):
                claiming.result()
    assert state_of(store, "g2") == "queued"
    store.close()
    postgres.drop(name)


@pytest.mark.parametrize("kills", [4])
def test_accepted_deliveries_survive_kill_9_and_are_processed(url: str, store: Storage, kills: int) -> None:
    accepted: set[str] = set()
    saved: set[str] = set()
    for run in range(kills):
        service = subprocess.Popen(
            [sys.executable, "-m", "tests.queue.killable_service", url, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert service.stdout is not None
        counts = Counter[str]()
        for line in service.stdout:
            event, guid = line.split()
            counts[event] += 1
            (accepted if event == "accepted" else saved).add(guid)
            if counts["accepted"] >= 60 and counts["saved"] >= 20:
                os.kill(service.pid, signal.SIGKILL)
                break
        rest = service.stdout.read().splitlines(keepends=True)
        service.stdout.close()
        assert service.wait() == -signal.SIGKILL
        for line in rest:
            if line.endswith("\n"):
                event, guid = line.split()
                (accepted if event == "accepted" else saved).add(guid)
    stored = {row.guid: row for row in store.deliveries.newest(limit=100_000)}
    assert accepted <= stored.keys()
    assert all(store.checkpoints.load(guid) for guid in saved)
    store.queue.release_all_leases()
    leases: list[Lease] = []
    while (lease := store.queue.claim(worker="after", lease_s=300, max_crashes=20)) is not None:
        assert lease.body == b'{"delivery": "%s"}' % lease.guid.encode()
        store.queue.finish(lease, "done", reason=None, took_s=0)
        leases.append(lease)
    assert {row.state for row in store.deliveries.newest(limit=100_000)} == {"done"}
    assert store.statistics.counters()["outcome", "done"] == store.statistics.counters()["webhooks", ""] == len(stored)
    assert sum(lease.crashes for lease in leases) <= 4 * kills  # four workers in each process
