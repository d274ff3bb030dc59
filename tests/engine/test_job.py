"""A job: checkpoints, waiting for slots, and the points where it stops."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from hls_handler.engine.codecs import Codec
from hls_handler.engine.pipeline import run_delivery
from hls_handler.errors import Dependency, LeaseLost, Postponed
from hls_handler.queue.leases import HeldLeases
from tests.engine.world import GUID, MakeWorld

COUNT = Codec("count", 1, TypeAdapter(int))


def test_pending_checkpoints_are_saved_before_calls_and_writes(make_world: MakeWorld) -> None:
    world = make_world()
    checkpoints: list[tuple[str, list[str]]] = []

    def record_checkpoints(what: str) -> None:
        checkpoints.append((what, sorted(name for name, _ in world.store.checkpoints.load(GUID))))

    world.github.on_call = world.claude.on_call = record_checkpoints
    world.process()
    assert checkpoints == [
        ("GET /issues/1", []),
        ("ask", ["gather", "route"]),
        ("GET /issues/1", ["gather", "route"]),
        ("GET /labels", ["gather", "route"]),
        ("POST /labels", ["before", "gather", "route"]),
        ("POST /labels", ["before", "gather", "route"]),
        ("POST /issues/1/labels", ["before", "gather", "route"]),
        ("POST /issues/1/comments", ["before", "gather", "post", "route", "writing"]),
    ]
    assert len(world.store.checkpoints.load(GUID)) == 6


def test_lost_lease_prevents_steps_calls_and_writes(make_world: MakeWorld) -> None:
    def fail_if_called() -> int:
        pytest.fail("this function must not be called")

    world = make_world()
    world.accept()
    no_leases = HeldLeases(lambda *_: None)
    job = replace(world.job(), context=replace(world.tools(), leases=no_leases))
    with pytest.raises(LeaseLost):
        job.run_step(COUNT, 0, fail_if_called)
    with pytest.raises(LeaseLost):
        job.wait_in_place(fail_if_called)
    with pytest.raises(LeaseLost):
        job.begin_write()
    with pytest.raises(LeaseLost):
        job.check_lease()


def test_lease_that_expired_while_its_claim_waited_is_renewed_and_no_attempt_is_lost(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.accept()
    leases = HeldLeases(
        lambda lease, s: world.store.queue.renew(lease, lease_s=s),
        clock=lambda: 31,
    )
    lease = world.claim()
    leases.add(lease, asked_at=0)
    finished = run_delivery(lease, replace(world.tools(), leases=leases))
    assert finished is not None
    assert (finished.state, world.row().attempt) == ("done", 1)


READS = ["GET /issues/1", "GET /issues/1"]
LABELS = ["GET /labels", *["POST /labels"] * 2, "POST /issues/1/labels"]


@pytest.mark.parametrize(
    ("github_calls", "claude_calls"),
    [(READS[:1], 0), (READS, 1), ([*READS, *LABELS[:1]], 1), ([*READS, *LABELS], 1)],
    ids=["gathering", "reading before posting", "reading labels", "labelling"],
)
def test_stopping_service_ends_after_the_current_step(
    make_world: MakeWorld, github_calls: list[str], claude_calls: int
) -> None:
    world = make_world()

    def stop(_what: str) -> None:
        world.stopping = len(world.github.calls) >= len(github_calls)

    world.github.on_call = stop
    world.accept()
    assert world.run() is None
    assert (world.github.calls, len(world.claude.asked)) == (github_calls, claude_calls)
    assert (world.row().state, world.row().failures) == ("queued", 0)


@pytest.mark.parametrize(
    ("wait_s", "waiting_for", "is_in_place"),
    [(1.0, None, True), (-1.0, None, True), (10.0, None, False), (1.0, "claude", False)],
    ids=["near", "in the past", "far", "held"],
)
def test_worker_waits_in_place_only_for_a_near_slot_without_hold(
    make_world: MakeWorld, wait_s: float, waiting_for: Dependency | None, is_in_place: bool
) -> None:
    world = make_world()
    world.accept()
    job = world.job()
    postponements = [
        Postponed(
            "not yet", at=world.store.now() + timedelta(seconds=wait_s), waiting_for=waiting_for
        )
    ]

    def take_slot() -> str:
        if postponements:
            raise postponements.pop()
        return "taken"

    if is_in_place:
        assert job.wait_in_place(take_slot) == "taken"
        assert [0 < pause_s <= 1.0 for pause_s in world.paused_s] == [True]
    else:
        with pytest.raises(Postponed, match="not yet"):
            job.wait_in_place(take_slot)
        assert world.paused_s == []
