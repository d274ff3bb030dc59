"""A job: results that are remembered, turns that are waited for, and the points where it stops."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from hls_handler.deliveries import Lease
from hls_handler.errors import Dependency, LeaseLost, Permanent, Postponed, Superseded
from hls_handler.work.job import GITHUB_RATE_LIMIT, Codec, Job
from hls_handler.work.pipeline import RULE
from tests.work.world import GUID, MakeWorld, World

COUNT = Codec("count", 1, TypeAdapter(int))


def never() -> int:
    pytest.fail("this must not be done")


def stopped(one: World) -> Job:
    one.accept()
    job = one.job()
    one.stopping = True
    return job


def test_a_step_is_done_once(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    assert job.once(COUNT, 0, lambda: 7) == 7
    one.store.checkpoints.save(job.lease, *job.take_pending())
    later = replace(job, steps=one.store.checkpoints.load(GUID))
    assert later.once(COUNT, 0, never) == 7
    assert later.once(COUNT, 1, lambda: 8) == 8


def test_what_was_done_and_noted_is_kept_before_the_next_write_on_github(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    job.note(RULE, 0, "settings.yaml:3 lets it in")
    job.once(COUNT, 0, lambda: 7)
    assert one.store.checkpoints.load(GUID) == {}
    job.wait_for_slot()
    assert one.store.checkpoints.load(GUID).keys() == {("route", 0), ("count", 0)}
    assert job.take_pending() == ()


def test_what_was_done_is_kept_by_a_turn_that_has_to_be_waited_for(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    one.store.rate_limiter.hold(GITHUB_RATE_LIMIT, one.store.now() + timedelta(hours=1))
    job.once(COUNT, 0, lambda: 7)
    with pytest.raises(Postponed):
        job.wait_for_slot()
    assert one.store.checkpoints.load(GUID).keys() == {("count", 0)}


def test_what_was_done_is_kept_before_claude_is_asked_and_at_each_write_on_github(make_world: MakeWorld) -> None:
    one = make_world()
    kept: list[tuple[str, list[str]]] = []

    def look(what: str) -> None:
        kept.append((what, sorted(name for name, _ in one.store.checkpoints.load(GUID))))

    one.github.meanwhile = one.claude.meanwhile = look
    one.accept()
    one.run()
    analysed = ["ask", "gather", "route"]
    assert kept == [
        ("issue 1", []),
        ("ask", ["gather", "route"]),
        ("issue 1", analysed),
        ("write labels", ["ask", "before", "gather", "route"]),
        ("write comment", ["apply", "ask", "before", "gather", "route", "writing"]),
    ]
    assert len(one.store.checkpoints.load(GUID)) == 7


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(Postponed("its turn", at=datetime(2026, 1, 1, tzinfo=UTC)), id="that has to wait"),
        pytest.param(Superseded("a newer push came"), id="that is overtaken"),
        pytest.param(Permanent("403"), id="that fails"),
    ],
)
def test_a_note_is_kept_by_the_end_of_a_part(make_world: MakeWorld, end: Exception) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    with suppress(Postponed, Superseded, Permanent), job.recorded("analysis"):
        job.note(RULE, 0, "settings.yaml:3 lets it in")
        raise end
    assert one.store.checkpoints.load(GUID).keys() == {("route", 0)}


class Over:
    """A lease that has ended by this machine's clock; the database was not asked."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        raise LeaseLost("over")

    def secure(self, lease: Lease) -> None:
        self.require(lease)


def test_a_worker_whose_lease_ran_out_begins_no_step_no_call_and_no_write(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = replace(one.job(), context=replace(one.tools(), leases=Over()))
    with pytest.raises(LeaseLost):
        job.once(COUNT, 0, never)
    with pytest.raises(LeaseLost):
        job.wait_in_place(never)
    with pytest.raises(LeaseLost):
        job.wait_for_slot()
    with pytest.raises(LeaseLost):
        job.check_lease()


def test_a_service_that_stops_begins_no_step(make_world: MakeWorld) -> None:
    one = make_world()
    with pytest.raises(Postponed, match="the service is stopping"):
        stopped(one).once(COUNT, 0, never)
    assert one.store.checkpoints.load(GUID) == {}


def test_a_service_that_stops_takes_no_turn(make_world: MakeWorld) -> None:
    job = stopped(make_world())
    with pytest.raises(Postponed, match="the service is stopping"):
        job.wait_in_place(never)
    with pytest.raises(Postponed, match="the service is stopping"):
        job.wait_for_slot()


@pytest.mark.parametrize(
    ("during", "asked_of_github", "asked_of_claude"),
    [
        (1, ["issue 1"], 0),
        (2, ["issue 1", "issue 1"], 1),
        (3, ["issue 1", "issue 1", "write labels"], 1),
    ],
    ids=["gathering", "looking once more", "labelling"],
)
def test_a_service_that_stops_ends_its_step_and_does_nothing_after_it(
    make_world: MakeWorld, during: int, asked_of_github: list[str], asked_of_claude: int
) -> None:
    one = make_world()

    def stop(_what: str) -> None:
        one.stopping = len(one.github.asked) >= during

    one.github.meanwhile = stop
    one.accept()
    assert one.run() is None
    assert (one.github.asked, len(one.claude.asked)) == (asked_of_github, asked_of_claude)
    assert (one.row().state, one.row().failures) == ("queued", 0)


@pytest.mark.parametrize(
    ("wait_s", "waiting_for", "waits_here"),
    [(1.0, None, True), (-1.0, None, True), (10.0, None, False), (1.0, "claude", False)],
    ids=["near", "over already", "far", "held up"],
)
def test_only_a_near_turn_that_nothing_holds_up_is_waited_for_in_place(
    make_world: MakeWorld, wait_s: float, waiting_for: Dependency | None, waits_here: bool
) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    turns = [Postponed("not yet", at=one.store.now() + timedelta(seconds=wait_s), waiting_for=waiting_for)]

    def take() -> str:
        if turns:
            raise turns.pop()
        return "taken"

    if waits_here:
        assert job.wait_in_place(take) == "taken"
        assert [0 < pause_s <= 1.0 for pause_s in one.paused_s] == [True]
    else:
        with pytest.raises(Postponed, match="not yet"):
            job.wait_in_place(take)
        assert one.paused_s == []


def test_a_turn_that_comes_after_the_end_of_the_service_is_not_taken(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = one.job()

    def take() -> int:
        if one.stopping:
            never()
        raise Postponed("not yet", at=one.store.now() + timedelta(seconds=1))

    def told_to_end(_seconds: float) -> None:
        one.stopping = True

    with pytest.raises(Postponed, match="the service is stopping"):
        replace(job, context=replace(job.context, pause=told_to_end)).wait_in_place(take)
    assert one.stopping


def test_nothing_is_read_while_github_is_left_alone(make_world: MakeWorld) -> None:
    one = make_world()
    until = one.store.now() + timedelta(hours=1)
    one.store.rate_limiter.hold("github", until)
    one.accept()
    with pytest.raises(Postponed) as raised:
        one.job().before_reads()
    assert raised.value.at == until
    one.accept(guid="second", thread=7)
    assert one.run() is None
    assert one.github.asked == []
    assert (one.row("second").state, one.row("second").due_at) == ("queued", until)
