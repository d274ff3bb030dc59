"""The database's clock is set an hour forward or back while workers work: they go on, and nothing is done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from hls_handler.deliveries import Finished
from hls_handler.settings.model import Limits
from hls_handler.store import Store
from hls_handler.work.leases import Leases
from hls_handler.work.ports import Tools
from hls_handler.work.workers import Workers
from tests.work.test_workers import FOREVER_S, PATIENCE_S, Gate
from tests.work.world import GUID, MakeWorld, World, settings

JUMPS = pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])


class Spied(Store):
    """Tells of claims that found nothing."""

    nothing_claimed: Callable[[], None]

    def seconds_until_due(self, *, concurrency: int = 1_000_000) -> float | None:
        self.nothing_claimed()
        return super().seconds_until_due(concurrency=concurrency)


@contextmanager
def at_work(one: World, tmp_path: Path, idle: threading.Event) -> Iterator[tuple[Workers, SimpleQueue[Finished]]]:
    """Two workers, on a store of their own over the same file, which has seen the clock. No time passes for them."""
    store = Spied.open(f"sqlite:///{tmp_path}/hls.db", skew=lambda: sum(one.skew, timedelta()), monotonic=lambda: 0.0)
    store.nothing_claimed = idle.set
    store.steady()
    ends: SimpleQueue[Finished] = SimpleQueue()

    def make_toolbox(_stopping: threading.Event) -> Callable[[], Tools]:
        return lambda: replace(one.tools(), store=store)

    workers = Workers(
        store=store,
        leases=Leases(store, lease_s=lambda: 30.0),
        limits=lambda: Limits.model_construct(concurrency=2, lease_s=30.0, max_crashes=1),
        name="w",
        make_toolbox=make_toolbox,
        finished=ends.put,
        health=one.health,
        poll_s=FOREVER_S,
    )
    workers.start()
    try:
        yield workers, ends
    finally:
        assert workers.stop(within_s=PATIENCE_S) == 0
        store.close()


@JUMPS
@pytest.mark.parametrize("looked", [True, False], ids=["looked at", "not looked at"])
def test_what_is_worked_on_when_the_clock_jumps_is_done_once(
    make_world: MakeWorld, tmp_path: Path, hours: int, looked: bool
) -> None:
    """An idle worker that looks for work does not take it back, though its lease has ended by the new time."""
    one, gate, idle = make_world(), Gate(), threading.Event()
    one.github.meanwhile = gate.pass_through
    one.accept()
    with at_work(one, tmp_path, idle) as (workers, ends):
        gate.await_arrival()
        assert idle.wait(PATIENCE_S)
        idle.clear()
        one.later(hours * 3600)
        if looked:
            workers.look_at_the_clock()
        workers.wake()
        assert idle.wait(PATIENCE_S)
        workers.look_at_the_clock()
        gate.open()
        assert ends.get(timeout=PATIENCE_S).state == "done"
    row = one.row()
    assert (row.state, row.attempt, row.crashes, row.failures) == ("done", 1, 0, 0)
    assert len(one.claude.asked) == 1
    assert [call for call in one.github.asked if call.startswith("write")] == ["write labels", "write comment"]


@JUMPS
def test_what_comes_after_a_jump_writes_at_its_pace_and_not_an_hour_later(
    make_world: MakeWorld, tmp_path: Path, hours: int
) -> None:
    given = settings()
    given = given.model_copy(update={"github": given.github.model_copy(update={"min_seconds_between_writes": 1.0})})
    one, idle = make_world(given=given), threading.Event()
    one.accept()
    with at_work(one, tmp_path, idle) as (workers, ends):
        assert ends.get(timeout=PATIENCE_S).guid == GUID
        one.later(hours * 3600)
        workers.look_at_the_clock()
        one.accept(guid="second", thread=7)
        workers.wake()
        assert ends.get(timeout=PATIENCE_S).guid == "second"
    assert sum(one.paused_s) < 10
    assert (one.row("second").state, one.row("second").failures) == ("done", 0)
