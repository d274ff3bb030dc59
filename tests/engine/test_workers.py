"""Worker threads on real storage; tests control each point with events, not with time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import cast

import pytest

from hls_handler.deliveries import Lease
from hls_handler.engine.job import WorkerContext
from hls_handler.engine.workers import Workers
from hls_handler.errors import StoreUnavailable
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import Expiry, HeldLeases
from hls_handler.settings.model import Limits
from hls_handler.store.storage import Storage
from tests.engine.world import FOREVER_S, GUID, TIMEOUT_S, Ended, MakeWorld, World


def do_nothing(*_what: object) -> None:
    pass


@dataclass
class QueueWithHooks:
    """The queue methods that workers use, on real storage, with a hook before each step."""

    store: Storage
    before_look: Callable[[], None] = do_nothing
    before_claim: Callable[[], None] = do_nothing
    when_idle: Callable[[], None] = do_nothing
    due_in_s: float | None = None  # what the queue answers when nothing is due
    renewed: list[str] = field(default_factory=list)
    renewing: threading.Condition = field(default_factory=threading.Condition)

    def claim(self, *, worker: str, lease_s: float, concurrency: int) -> Lease | None:
        self.before_claim()
        return self.store.queue.claim(worker=worker, lease_s=FOREVER_S, concurrency=concurrency)

    def seconds_until_due(self, *, concurrency: int) -> float | None:
        self.before_look()
        if self.store.queue.seconds_until_due(concurrency=concurrency) == 0:
            return 0.0
        self.when_idle()
        return self.due_in_s

    def renew(self, lease: Lease, *, lease_s: float) -> Lease:
        with self.renewing:
            self.renewed.append(lease.guid)
            self.renewing.notify_all()
        return lease


class Gate:
    """Blocks a step from when it is reached until the test opens the gate."""

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()

    def wait_until_open(self, _what: str) -> None:
        self._reached.set()
        assert self._open.wait(TIMEOUT_S)

    def wait_until_reached(self) -> None:
        assert self._reached.wait(TIMEOUT_S)

    def open(self) -> None:
        self._open.set()


@dataclass
class RunningWorkers:
    """Running workers and their results."""

    workers: Workers
    _results: SimpleQueue[Ended]

    def next_result(self) -> Ended:
        return self._results.get(timeout=TIMEOUT_S)


@contextmanager
def run_workers(
    world: World,
    queue: QueueWithHooks,
    *,
    concurrency: int = 1,
    lease_s: float = FOREVER_S,
    poll_s: float = FOREVER_S,
    rest_s: float = 0.0,
    clock: Callable[[], float] = lambda: 0.0,
    when_context_is_made: Callable[[], None] = do_nothing,
) -> Iterator[RunningWorkers]:
    def connect(stopping: threading.Event) -> Callable[[], WorkerContext]:
        def make_context() -> WorkerContext:
            when_context_is_made()
            return replace(world.tools(), stopping=stopping.is_set)

        return make_context

    results: SimpleQueue[Ended] = SimpleQueue()
    workers = Workers(
        queue=cast(DeliveryQueue, queue),
        leases=HeldLeases(
            lambda lease, seconds: queue.renew(lease, lease_s=seconds),
            expiry=Expiry(lease_s=lease_s),
        ),
        limits=lambda: Limits(concurrency=concurrency),
        name="w",
        connect=connect,
        finished=lambda guid, end: results.put(Ended(guid, end.state, end.reason)),
        health=world.health,
        poll_s=poll_s,
        rest_s=rest_s,
        clock=clock,
    )
    workers.start()
    try:
        yield RunningWorkers(workers, results)
    finally:
        assert workers.stop(within_s=TIMEOUT_S) == 0


def states(world: World, *guids: str) -> list[str]:
    return [world.row(guid).state for guid in guids]


def test_wake_starts_an_idle_worker(make_world: MakeWorld) -> None:
    world, idle = make_world(), threading.Event()
    with run_workers(world, QueueWithHooks(world.store, when_idle=idle.set)) as running:
        assert idle.wait(TIMEOUT_S)
        world.accept()
        running.workers.wake()
        assert running.next_result().guid == GUID


def test_delivery_committed_just_before_a_worker_waits_is_not_missed(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    queue = QueueWithHooks(world.store)
    with run_workers(world, queue) as running:

        def commit() -> None:
            queue.when_idle = do_nothing
            world.accept()
            running.workers.wake()

        queue.when_idle = commit
        running.workers.wake()
        assert running.next_result().guid == GUID


def test_next_delivery_of_a_conversation_starts_when_the_previous_one_ends(
    make_world: MakeWorld,
) -> None:
    """Nothing else wakes the idle worker, which would not read the queue again so soon."""
    world, idle, gate = make_world(), threading.Event(), Gate()
    world.github.on_call = gate.wait_until_open
    world.accept()
    queue = QueueWithHooks(world.store, when_idle=idle.set)
    with run_workers(world, queue, concurrency=2, rest_s=FOREVER_S) as running:
        gate.wait_until_reached()
        assert idle.wait(TIMEOUT_S)
        world.accept(guid="second")
        gate.open()
        assert [running.next_result().guid, running.next_result().guid] == [GUID, "second"]


def test_one_worker_reads_the_queue_for_all_idle_ones(make_world: MakeWorld) -> None:
    world, many_looks, both_run = make_world(), threading.Event(), threading.Barrier(2)
    looked: list[str] = []

    def record() -> None:
        looked.append(threading.current_thread().name)
        if len(looked) == 3:
            many_looks.set()

    def run_both() -> None:
        both_run.wait(TIMEOUT_S)

    queue = QueueWithHooks(world.store, before_look=record)
    with run_workers(
        world, queue, concurrency=2, poll_s=0.01, when_context_is_made=run_both
    ) as running:
        assert many_looks.wait(TIMEOUT_S)
        assert len(set(looked[:3])) == 1
        world.accept()  # by another process
        world.accept(guid="second", number=2)
        assert {running.next_result().guid, running.next_result().guid} == {GUID, "second"}


def test_nothing_is_claimed_while_paused_or_before_something_is_due(
    make_world: MakeWorld,
) -> None:
    world, idle = make_world(), threading.Semaphore(0)
    claimed: list[None] = []
    world.store.pauses.pause(None, reason=None, by="mona")
    world.accept()
    queue = QueueWithHooks(
        world.store, before_claim=lambda: claimed.append(None), when_idle=idle.release
    )
    with run_workers(world, queue, concurrency=24) as running:
        for _ in range(3):
            assert idle.acquire(timeout=TIMEOUT_S)
            running.workers.wake()
        assert claimed == []
        world.store.pauses.resume(None, by="mona")
        running.workers.wake()
        assert running.next_result().guid == GUID
    assert len(claimed) == 1


def test_many_accepted_deliveries_cause_one_read_of_the_queue(make_world: MakeWorld) -> None:
    world, idle = make_world(), threading.Event()
    looked: list[None] = []
    queue = QueueWithHooks(world.store, before_look=lambda: looked.append(None), when_idle=idle.set)
    with run_workers(world, queue, concurrency=24, rest_s=FOREVER_S) as running:
        assert idle.wait(TIMEOUT_S)
        for _ in range(100):
            running.workers.wake()
    assert len(looked) == 1


def test_worker_looks_again_when_the_next_delivery_is_due(make_world: MakeWorld) -> None:
    world = make_world()
    queue = QueueWithHooks(world.store, due_in_s=0.01)

    def accept_once() -> None:
        queue.when_idle = do_nothing
        world.accept()

    queue.when_idle = accept_once
    with run_workers(world, queue) as running:
        assert running.next_result().guid == GUID


def test_damaged_body_dead_letters_its_delivery_and_the_worker_continues(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.accept()
    world.accept(guid="whole", number=7)
    with world.store.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE deliveries SET body = ? WHERE guid = ?", (b"not what was stored", GUID)
        )
    with run_workers(world, QueueWithHooks(world.store)) as running:
        reason = (
            "the stored body is missing or damaged: check the database, then redeliver the delivery"
            " from GitHub"
        )
        assert running.next_result().reason == reason
        assert running.next_result().state == "done"
    assert states(world, GUID, "whole") == ["dead", "done"]


@pytest.mark.parametrize(
    ("error", "health"),
    [(ZeroDivisionError(), "unknown"), (StoreUnavailable("locked"), "unhealthy")],
)
def test_failing_claim_does_not_end_the_worker(
    make_world: MakeWorld, error: Exception, health: str
) -> None:
    world = make_world()
    world.accept()
    failing, states_seen = [error], []

    def fail_once() -> None:
        if failing:
            raise failing.pop()
        states_seen.append(world.component("store").state)

    with run_workers(
        world, QueueWithHooks(world.store, before_claim=fail_once), poll_s=0.01
    ) as running:
        assert running.next_result().guid == GUID
    assert states_seen[0] == health
    # a claim writes too little to prove that the database is healthy
    after = "unhealthy" if health == "unhealthy" else "healthy"
    assert world.component("store").state == after


def test_lease_is_not_renewed_after_its_delivery_ended(make_world: MakeWorld) -> None:
    world, gate = make_world(), Gate()
    world.accept()
    queue = QueueWithHooks(world.store)
    with run_workers(world, queue, lease_s=0.03) as running:
        assert running.next_result().guid == GUID
        world.github.on_call = gate.wait_until_open
        world.accept(guid="second", number=7)
        running.workers.wake()
        gate.wait_until_reached()
        with queue.renewing:
            queue.renewed.clear()
            assert queue.renewing.wait_for(lambda: queue.renewed.count("second") >= 2, TIMEOUT_S)
            assert set(queue.renewed) == {"second"}
        gate.open()


def test_stopping_service_ends_running_deliveries_and_claims_no_more(
    make_world: MakeWorld,
) -> None:
    world, gate = make_world(), Gate()
    world.github.on_call = gate.wait_until_open
    world.accept()
    world.accept(guid="second", number=7)
    with run_workers(world, QueueWithHooks(world.store)) as running:
        gate.wait_until_reached()
        running.workers.begin_to_stop()
        gate.open()
        assert running.workers.stop(within_s=TIMEOUT_S) == 0
    assert world.github.calls == ["GET /issues/1"]
    assert states(world, GUID, "second") == ["queued", "queued"]
    assert (world.row().attempt, world.row("second").attempt) == (1, 0)


def test_time_limit_of_stop_counts_from_begin_to_stop(make_world: MakeWorld) -> None:
    world, gate, now = make_world(), Gate(), [1000.0]
    world.github.on_call = gate.wait_until_open
    world.accept()
    with run_workers(world, QueueWithHooks(world.store), clock=lambda: now[0]) as running:
        gate.wait_until_reached()
        running.workers.begin_to_stop()
        now[0] += 2 * TIMEOUT_S
        assert running.workers.stop(within_s=2 * TIMEOUT_S) > 0  # at once: the gate is still closed
        now[0] = 1000.0
        gate.open()
        now[0] = 1000.0  # time for the workers to end
