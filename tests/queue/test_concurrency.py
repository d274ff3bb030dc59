"""Many workers at once, and processes that die: nothing twice, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost, Postponed
from hls_handler.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import ALIKE, accept, begin, claim, claim_nothing, push, queued, state_of

T = TypeVar("T")


def at_once(threads: int, work: Callable[[int], T]) -> list[T]:
    """Let threads begin at the same moment; their results, or the first one's exception."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_eight_workers_take_each_delivery_once_and_each_thread_in_order(store: Storage) -> None:
    accept(store, *(queued(f"{i:03}", number=i % 20) for i in range(200)))
    lock = threading.Lock()
    order: dict[int | None, list[str]] = defaultdict(list)
    running: Counter[int | None] = Counter()
    together = []

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
                together.append(running[lease.number])
            with lock:
                running[lease.number] -= 1
            store.queue.finish(lease, "done", reason=None, took_s=0)

    at_once(8, work)
    assert dict(order) == {n: [f"{i:03}" for i in range(n, 200, 20)] for n in range(20)}
    assert set(together) == {1}
    assert store.statistics.counters()["outcome", "done"] == 200


def test_machines_that_accept_and_work_at_once_keep_each_thread_in_order(url: str, store: Storage) -> None:
    """Each has a store of its own, and does a step between what is noted as a beginning and as an end."""
    machines = [Storage.open(url) for _ in range(4)]
    noting = threading.Lock()
    accepted: dict[int | None, list[str]] = defaultdict(list)
    history: dict[int | None, list[tuple[str, str]]] = defaultdict(list)

    def send(machine: Storage, name: str) -> None:
        for i in range(10):
            with noting:  # so that the order of acceptance is known
                accept(machine, queued(f"{name}-{i}", number=i % 3))
                accepted[i % 3].append(f"{name}-{i}")
            work(machine)

    def work(machine: Storage) -> bool:
        lease = machine.queue.claim(worker="w", lease_s=300, max_crashes=3, concurrency=2)
        if lease is None:
            return False
        history[lease.number].append(("begins", lease.guid))
        machine.checkpoints.save(lease, Checkpoint("ask", 0, 1, "{}"))
        history[lease.number].append(("ends", lease.guid))
        machine.queue.finish(lease, "done", reason=None, took_s=0)
        return True

    def live(number: int) -> None:
        send(machines[number], f"m{number}")
        while machines[number].queue.seconds_until_due() is not None:
            work(machines[number])

    at_once(4, live)
    for machine in machines:
        machine.close()
    for number in range(3):
        in_order = [(what, guid) for guid in accepted[number] for what in ("begins", "ends")]
        assert history[number] == in_order
    assert store.statistics.counters()["outcome", "done"] == store.statistics.counters()["webhooks", ""] == 40


def test_the_same_delivery_sent_to_all_doors_at_once_is_stored_once(url: str, store: Storage) -> None:
    doors = [Storage.open(url) for _ in range(4)]

    def send(number: int) -> list[str]:
        return [accept(doors[number], queued(f"g{i}"))[0].outcome for i in range(10)]

    outcomes = at_once(4, send)
    for door in doors:
        door.close()
    assert Counter(outcome for door in outcomes for outcome in door) == {"queued": 10, "duplicate": 30}
    assert len(store.deliveries.newest()) == 10


def test_a_body_replayed_at_all_doors_at_once_is_worked_on_once(url: str, store: Storage) -> None:
    doors = [Storage.open(url) for _ in range(4)]

    def send(number: int) -> str:
        return accept(doors[number], queued(f"door-{number}", **ALIKE))[0].outcome

    outcomes = at_once(4, send)
    for door in doors:
        door.close()
    assert sorted(map(str, outcomes)) == ["queued", "replay", "replay", "replay"]


def test_doors_workers_and_pushes_at_once_do_not_lock_each_other_out(url: str, store: Storage) -> None:
    others = [Storage.open(url) for _ in range(3)]

    def door(number: int) -> None:
        for i in range(15):
            accept(others[number], push(f"{number}-{i}-a", f"sha{number}{i}"), queued(f"{number}-{i}-b", number=9))

    def worker() -> None:
        for _ in range(30):
            lease = store.queue.claim(worker="w", lease_s=300, max_crashes=3)
            if lease is not None:
                store.queue.finish(lease, "done", reason=None, handler="H", took_s=0)

    at_once(6, lambda n: door(n) if n < 3 else worker())
    for other in others:
        other.close()
    assert len(store.deliveries.newest(limit=1000)) == 90
    counters = store.statistics.counters()
    assert counters["webhooks", ""] == 90
    while (lease := store.queue.claim(worker="w", lease_s=300, max_crashes=3)) is not None:
        store.queue.finish(lease, "done", reason=None, took_s=0)
    counters = store.statistics.counters()
    assert counters["outcome", "done"] + counters["outcome", "superseded"] == 90


def test_writers_of_one_process_wait_for_each_other_and_not_for_sqlite(tmp_path: Path) -> None:
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", busy_timeout_s=0)
    at_once(8, lambda number: [accept(store, queued(f"{number}-{i}")) for i in range(20)])
    assert len(store.deliveries.newest(limit=1000)) == 160
    store.close()


def test_turns_asked_for_at_once_are_all_different(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(6)]

    def ask(number: int) -> object:
        try:
            store.rate_limiter.take_slot(leases[number], "github", interval_s=600)
        except Postponed as wait:
            return wait.at
        return None

    slots = at_once(6, ask)
    assert slots.count(None) == 1
    assert len(set(slots)) == 6


def test_the_last_call_of_the_hour_is_begun_once(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(4)]

    def ask(number: int) -> object:
        try:
            return store.calls.begin(
                leases[number],
                index=0,
                prompt_id="p@1",
                model="m",
                sender=None,
                requests_per_second=1000,
                calls_per_hour=1,
            )
        except Postponed as wait:
            return wait.waiting_for

    assert Counter(type(outcome) for outcome in at_once(4, ask)) == {int: 1, str: 3}
    assert store.calls.count_last_hour() == 1


def test_a_lock_asked_for_at_once_is_had_by_one(store: Storage) -> None:
    leases = [begin(store, f"g{i}") for i in range(4)]

    def ask(number: int) -> object:
        try:
            store.locks.acquire(leases[number], "thread", ttl_s=60)
        except Postponed:
            return False
        return True

    assert sorted(map(bool, at_once(4, ask))) == [False, False, False, True]


def test_a_lease_is_ended_once(store: Storage) -> None:
    lease = begin(store, "g1")

    def end(_number: int) -> object:
        try:
            store.queue.finish(lease, "done", reason=None, took_s=0)
        except LeaseLost:
            return False
        return True

    assert sorted(map(bool, at_once(4, end))) == [False, False, False, True]
    assert store.statistics.counters()["outcome", "done"] == 1


def test_a_race_that_only_the_database_sees_ends_with_nothing_claimed(postgres: Cluster) -> None:
    """Another machine's claim on the same thread is not committed yet when this one looks."""
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
            claiming = pool.submit(claim_nothing, store)
            while not watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                assert not claiming.done()
            other.commit()
            assert claiming.result() is True
    assert state_of(store, "g2") == "queued"
    store.close()
    postgres.drop(name)


@pytest.mark.parametrize("kills", [4])
def test_what_was_answered_survives_kill_9_and_is_worked_on_to_its_end(url: str, store: Storage, kills: int) -> None:
    answered: set[str] = set()
    remembered: set[str] = set()
    for life in range(kills):
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.queue.killable_service", url, str(life)], stdout=subprocess.PIPE, text=True
        )
        assert victim.stdout is not None
        told = Counter[str]()
        for line in victim.stdout:
            what, guid = line.split()
            told[what] += 1
            (answered if what == "answered" else remembered).add(guid)
            if told["answered"] >= 60 and told["remembered"] >= 20:
                os.kill(victim.pid, signal.SIGKILL)
                break
        rest = victim.stdout.read().splitlines(keepends=True)
        victim.stdout.close()
        assert victim.wait() == -signal.SIGKILL
        for line in rest:
            if line.endswith("\n"):
                what, guid = line.split()
                (answered if what == "answered" else remembered).add(guid)
    stored = {row.guid: row for row in store.deliveries.newest(limit=100_000)}
    assert answered <= stored.keys()
    assert all(store.checkpoints.load(guid) for guid in remembered)
    store.queue.release_all_leases()
    leases: list[Lease] = []
    while (lease := store.queue.claim(worker="after", lease_s=300, max_crashes=20)) is not None:
        assert lease.body == b'{"delivery": "%s"}' % lease.guid.encode()
        store.queue.finish(lease, "done", reason=None, took_s=0)
        leases.append(lease)
    assert {row.state for row in store.deliveries.newest(limit=100_000)} == {"done"}
    assert store.statistics.counters()["outcome", "done"] == store.statistics.counters()["webhooks", ""] == len(stored)
    assert sum(lease.crashes for lease in leases) <= 4 * kills  # four workers a life
