"""The workers: real threads over a real store; what happens at each point is told by events, never by time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import cast

import pytest

from hls_handler.deliveries import Finished, Lease
from hls_handler.errors import LeaseLost, StoreUnavailable
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import HeldLeases
from hls_handler.settings.model import Limits
from hls_handler.storage import Storage
from hls_handler.work.active_config import WorkerContext
from hls_handler.work.workers import Workers
from tests.work.world import GUID, MakeWorld, World, settings

PATIENCE_S = 30.0
FOREVER_S = 3600.0


def nothing(*_what: object) -> None:
    pass


@dataclass
class Queue:
    """What workers need of a store: the real one's queue, and a moment at each step for what a test wants to happen."""

    store: Storage
    before_claim: Callable[[], None] = nothing
    when_claimed: Callable[[Lease], None] = nothing
    when_idle: Callable[[], None] = nothing
    lost: frozenset[str] = frozenset()  # leases that somebody else took over
    renewed: list[str] = field(default_factory=list)
    renewing: threading.Condition = field(default_factory=threading.Condition)

    def claim(self, *, worker: str, lease_s: float, max_crashes: int, concurrency: int) -> Lease | None:
        self.before_claim()
        lease = self.store.queue.claim(
            worker=worker, lease_s=FOREVER_S, max_crashes=max_crashes, concurrency=concurrency
        )
        if lease is not None:
            self.when_claimed(lease)
        return lease

    def seconds_until_due(self, *, concurrency: int) -> float | None:
        self.when_idle()
        return None

    def renew(self, lease: Lease, *, lease_s: float) -> Lease:
        with self.renewing:
            self.renewed.append(lease.guid)
            self.renewing.notify_all()
        if lease.guid in self.lost:
            raise LeaseLost("taken over")
        return lease


class Gate:
    """A step stays here, once it came, until the test lets it go on."""

    def __init__(self) -> None:
        self._came, self._open = threading.Event(), threading.Event()

    def pass_through(self, _what: str) -> None:
        self._came.set()
        assert self._open.wait(PATIENCE_S)

    def await_arrival(self) -> None:
        assert self._came.wait(PATIENCE_S)

    def open(self) -> None:
        self._open.set()


@dataclass
class Crew:
    """Workers, and what they finished."""

    workers: Workers
    _ends: SimpleQueue[Finished]

    def next_end(self) -> Finished:
        return self._ends.get(timeout=PATIENCE_S)


@contextmanager
def crew(
    one: World,
    queue: Queue,
    *,
    concurrency: int = 1,
    lease_s: float = FOREVER_S,
    poll_s: float = FOREVER_S,
    clock: Callable[[], float] = lambda: 0.0,
    pausing: Callable[[threading.Event], None] | None = None,
    before_look: Callable[[Workers], None] = nothing,
) -> Iterator[Crew]:
    def connect(stopping: threading.Event) -> Callable[[], WorkerContext]:
        def pause(seconds: float) -> None:
            if pausing is None:
                one.later(seconds)
            else:
                pausing(stopping)

        def tools() -> WorkerContext:
            before_look(workers)
            return replace(one.tools(), stopping=stopping.is_set, pause=pause)

        return tools

    ends: SimpleQueue[Finished] = SimpleQueue()
    workers = Workers(
        queue=cast(DeliveryQueue, queue),
        leases=HeldLeases(lambda lease, seconds: queue.renew(lease, lease_s=seconds), lease_s=lambda: lease_s),
        limits=lambda: Limits.model_construct(concurrency=concurrency, lease_s=lease_s, max_crashes=10),
        name="w",
        connect=connect,
        finished=ends.put,
        health=one.health,
        poll_s=poll_s,
        clock=clock,
    )
    workers.start()
    try:
        yield Crew(workers, ends)
    finally:
        assert workers.stop(within_s=PATIENCE_S) == 0


def states(one: World, *guids: str) -> list[str]:
    return [one.row(guid).state for guid in guids]


def test_an_idle_worker_is_woken_by_what_is_committed(make_world: MakeWorld) -> None:
    one, idle = make_world(), threading.Event()
    with crew(one, Queue(one.store, when_idle=idle.set)) as working:
        assert idle.wait(PATIENCE_S)
        one.accept()
        working.workers.wake()
        assert working.next_end().guid == GUID


def test_what_is_committed_just_before_a_worker_goes_to_sleep_is_not_missed(make_world: MakeWorld) -> None:
    one = make_world()
    queue = Queue(one.store)
    with crew(one, queue) as working:

        def commit() -> None:
            queue.when_idle = nothing
            one.accept()
            working.workers.wake()

        queue.when_idle = commit
        working.workers.wake()
        assert working.next_end().guid == GUID


def test_the_next_delivery_of_a_thread_goes_as_soon_as_the_one_before_it_has_ended(make_world: MakeWorld) -> None:
    """The worker that ended the first takes what came unheard of meanwhile; the idle one is told of the second."""
    one, idle = make_world(), threading.Event()
    gates = {GUID: Gate(), "unheard of": Gate(), "second": Gate()}
    gates["second"].open()
    queue = Queue(one.store, when_claimed=lambda lease: gates[lease.guid].pass_through(lease.guid), when_idle=idle.set)
    one.accept()
    with crew(one, queue, concurrency=2) as working:
        gates[GUID].await_arrival()
        assert idle.wait(PATIENCE_S)
        one.accept(guid="unheard of", thread=7)
        one.accept(guid="second")
        gates[GUID].open()
        assert [working.next_end().guid, working.next_end().guid] == [GUID, "second"]
        gates["unheard of"].open()
        assert working.next_end().guid == "unheard of"


@pytest.mark.parametrize("damage", [b"not what was stored", None], ids=["damaged", "gone"])
def test_a_damaged_body_ends_its_delivery_and_not_the_worker(
    make_world: MakeWorld, tmp_path: Path, damage: bytes | None
) -> None:
    one = make_world()
    one.accept()
    one.accept(guid="whole", thread=7)
    with closing(sqlite3.connect(tmp_path / "hls.db")) as database, database:
        database.execute("UPDATE deliveries SET body = ? WHERE guid = ?", (damage, GUID))
    with crew(one, Queue(one.store)) as working:
        reason = "its stored body is gone or cannot be read: look after the database, then redeliver it"
        assert working.next_end() == Finished(GUID, "dead", reason)
        assert working.next_end().state == "done"
    assert states(one, GUID, "whole") == ["dead", "done"]


@pytest.mark.parametrize(
    ("error", "health"), [(ZeroDivisionError(), "unknown"), (StoreUnavailable("locked"), "unhealthy")]
)
def test_a_queue_that_fails_does_not_end_the_worker(make_world: MakeWorld, error: Exception, health: str) -> None:
    one = make_world()
    one.accept()
    failing, seen = [error], []

    def fail_once() -> None:
        if failing:
            raise failing.pop()
        seen.append(one.health.snapshot().components["store"].state)

    with crew(one, Queue(one.store, before_claim=fail_once), poll_s=0.01) as working:
        assert working.next_end().guid == GUID
    assert seen[0] == health
    after = "unhealthy" if health == "unhealthy" else "healthy"  # a claim is less to write than what the door has
    assert one.health.snapshot().components["store"].state == after


def test_a_lease_that_was_lost_is_not_renewed_again(make_world: MakeWorld) -> None:
    one, gate = make_world(), Gate()
    one.github.meanwhile = gate.pass_through
    one.accept()
    one.accept(guid="kept", thread=7)
    queue = Queue(one.store, lost=frozenset({GUID}))

    def twice_after_the_loss() -> bool:
        return GUID in queue.renewed and queue.renewed[queue.renewed.index(GUID) :].count("kept") >= 2

    with crew(one, queue, concurrency=2, lease_s=0.03):
        with queue.renewing:
            assert queue.renewing.wait_for(twice_after_the_loss, PATIENCE_S)
            assert queue.renewed.count(GUID) == 1
        gate.open()


def test_a_lease_is_not_renewed_after_its_delivery_has_ended(make_world: MakeWorld) -> None:
    one, gate = make_world(), Gate()
    one.accept()
    queue = Queue(one.store)
    with crew(one, queue, lease_s=0.03) as working:
        assert working.next_end().guid == GUID
        one.github.meanwhile = gate.pass_through
        one.accept(guid="second", thread=7)
        working.workers.wake()
        gate.await_arrival()
        with queue.renewing:
            queue.renewed.clear()
            assert queue.renewing.wait_for(lambda: queue.renewed.count("second") >= 2, PATIENCE_S)
            assert set(queue.renewed) == {"second"}
        gate.open()


def test_a_service_that_stops_ends_what_runs_and_claims_nothing_more(make_world: MakeWorld) -> None:
    one, gate = make_world(), Gate()
    one.github.meanwhile = gate.pass_through
    one.accept()
    one.accept(guid="second", thread=7)
    with crew(one, Queue(one.store)) as working:
        gate.await_arrival()
        working.workers.begin_to_stop()
        gate.open()
        assert working.workers.stop(within_s=PATIENCE_S) == 0
    assert one.github.asked == ["issue 1"]
    assert states(one, GUID, "second") == ["queued", "queued"]
    assert (one.row().attempt, one.row("second").attempt) == (1, 0)


def test_a_worker_that_is_about_to_look_when_it_is_told_to_stop_does_not_go_to_sleep(make_world: MakeWorld) -> None:
    one, claims = make_world(), SimpleQueue[str]()
    queue = Queue(one.store, before_claim=lambda: claims.put("claim"))
    with crew(one, queue, before_look=Workers.begin_to_stop) as working:
        assert working.workers.stop(within_s=PATIENCE_S) == 0
    assert claims.empty()


def test_the_time_to_stop_in_counts_from_when_it_was_begun(make_world: MakeWorld) -> None:
    one, gate, now = make_world(), Gate(), [1000.0]
    one.github.meanwhile = gate.pass_through
    one.accept()
    with crew(one, Queue(one.store), clock=lambda: now[0]) as working:
        gate.await_arrival()
        working.workers.begin_to_stop()
        now[0] += 2 * PATIENCE_S
        assert working.workers.stop(within_s=2 * PATIENCE_S) == 1  # at once: the gate is still shut
        now[0] = 1000.0
        gate.open()
        now[0] = 1000.0  # time for the crew to end in


def test_a_worker_that_pauses_ends_at_once_and_writes_nothing_more(make_world: MakeWorld) -> None:
    given = settings()
    given = given.model_copy(update={"github": given.github.model_copy(update={"min_seconds_between_writes": 1.0})})
    one, paused = make_world(given=given, stands_still=True), threading.Event()

    def until_it_stops(stopping: threading.Event) -> None:
        paused.set()
        assert stopping.wait(PATIENCE_S)

    one.accept()
    one.later(1)  # a clock that stands still trembles by the time that a statement takes: be surely due
    with crew(one, Queue(one.store), pausing=until_it_stops) as working:
        assert paused.wait(PATIENCE_S)
        assert working.workers.stop(within_s=PATIENCE_S) == 0
    assert one.github.asked == ["issue 1", "issue 1", "write labels"]
    assert (one.row().state, one.row().failures) == ("queued", 0)
