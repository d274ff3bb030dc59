"""The database's clock leaps by an hour either way: nobody's time ends, and nobody waits an hour longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from hls_handler.deliveries import Remembered
from hls_handler.errors import LeaseLost, Wait
from hls_handler.store import DeliveryRow, Store
from hls_handler.store.look import Look, jump_between, left_to_move
from tests.store.builders import Skew, accept, asked, begin, claim, claim_nothing, queued, state_of

HOUR_S = 3600
JUMPS = pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])


class Machine(Skew):
    """A machine's two clocks: the one that may be set, which the database shows too, and the one that only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.up_s = 1000.0

    def later(self, seconds: float) -> None:
        self.pass_by(seconds=seconds)
        self.up_s += seconds

    def jump(self, seconds: float) -> None:
        self.pass_by(seconds=seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def skew(machine: Machine) -> Skew:
    return machine


@pytest.fixture
def store(url: str, machine: Machine) -> Iterator[Store]:
    """One that has seen the clock."""
    opened = Store.open(url, skew=machine, monotonic=lambda: machine.up_s)
    opened.steady()
    yield opened
    opened.close()


@pytest.fixture
def open_another(url: str, machine: Machine) -> Iterator[Callable[..., Store]]:
    others = []

    def another(*, monotonic: Callable[[], float] = lambda: machine.up_s) -> Store:
        others.append(Store.open(url, skew=machine, monotonic=monotonic))
        return others[-1]

    yield another
    for other in others:
        other.close()


def about(seconds: float) -> object:
    """What the test itself takes is no matter."""
    return pytest.approx(seconds, abs=4)


def waits_s(store: Store, at: datetime | None) -> float:
    assert at is not None
    return (at - store.now()).total_seconds()


def row_of(store: Store, guid: str) -> DeliveryRow:
    row = store.delivery(guid)
    assert row is not None
    return row


def test_a_clock_that_goes_on_has_not_jumped(store: Store, machine: Machine) -> None:
    lease = begin(store, "g1")
    for _ in range(3):
        machine.later(9)
        assert store.steady() == 0.0
    machine.later(4)
    assert store.steady() == 0.0
    with pytest.raises(LeaseLost):
        store.renew(lease, lease_s=30)


@JUMPS
def test_a_jump_is_told_once(store: Store, machine: Machine, jump_s: int) -> None:
    machine.jump(jump_s)
    assert store.steady() == about(jump_s)
    assert store.steady() == 0.0


@JUMPS
def test_a_lease_neither_ends_nor_lasts_for_it(store: Store, machine: Machine, jump_s: int) -> None:
    lease = begin(store, "g1")
    machine.jump(jump_s)
    store.steady()
    machine.later(15)
    assert claim_nothing(store)
    store.remember(lease, Remembered("ask", 0, 1, "{}"))
    machine.later(16)
    assert claim(store).attempt == 2


def test_work_that_is_going_on_is_not_taken_back_before_the_jump_was_looked_at(store: Store, machine: Machine) -> None:
    lease = begin(store, "g1")
    machine.jump(HOUR_S)
    assert claim_nothing(store)
    store.finish(lease, "done", reason=None, took_s=1)
    row = row_of(store, "g1")
    assert (row.state, row.attempt, row.crashes) == ("done", 1, 0)


def test_a_hundred_jumps_do_not_bury_what_is_worked_on(store: Store, machine: Machine) -> None:
    lease = begin(store, "g1")
    for _ in range(20):
        machine.jump(HOUR_S)
        assert store.claim(worker="other", lease_s=30, max_crashes=2) is None
        lease = store.renew(lease, lease_s=30)
    assert state_of(store, "g1") == "running"


@JUMPS
def test_what_waits_is_due_when_it_would_have_been(store: Store, machine: Machine, jump_s: int) -> None:
    waiting = begin(store, "later")
    store.postpone(waiting, at=store.now() + timedelta(seconds=300), reason="503", failed=True, counts=False)
    accept(store, queued("now"))
    machine.later(5)
    machine.jump(jump_s)
    store.steady()
    assert waits_s(store, row_of(store, "later").due_at) == about(295)
    now = claim(store)
    assert now.guid == "now"
    store.finish(now, "done", reason=None, took_s=1)
    assert claim_nothing(store)
    machine.later(300)
    assert claim(store).guid == "later"


@JUMPS
def test_what_was_written_since_the_jump_is_by_the_new_clock(store: Store, machine: Machine, jump_s: int) -> None:
    accept(store, queued("before"))
    machine.jump(jump_s)
    accept(store, queued("since"))
    lease = claim(store)
    store.take_turn(lease, "claude", interval_s=10)
    store.steady()
    store.remember(lease, Remembered("ask", 0, 1, "{}"))
    assert waits_s(store, row_of(store, lease.guid).lease_until) == about(30)
    with pytest.raises(Wait) as waiting:
        store.take_turn(lease, "claude", interval_s=10)
    assert waits_s(store, waiting.value.at) == about(10)
    machine.later(1)  # how far the clock jumped is known to some milliseconds only
    assert {lease.guid, claim(store).guid} == {"before", "since"}


@JUMPS
def test_a_lock_ends_when_it_would_have(store: Store, machine: Machine, jump_s: int) -> None:
    holder, other = begin(store, "g1"), begin(store, "g2")
    store.lock(holder, "thread", ttl_s=20)
    machine.jump(jump_s)
    store.steady()
    with pytest.raises(Wait):
        store.lock(other, "thread", ttl_s=20)
    machine.later(21)
    store.lock(other, "thread", ttl_s=20)


@JUMPS
def test_turns_go_on_at_their_pace(store: Store, machine: Machine, jump_s: int) -> None:
    first, second, third = (begin(store, f"g{n}") for n in range(3))
    store.take_turn(first, "github", interval_s=10)
    with pytest.raises(Wait):
        store.take_turn(second, "github", interval_s=10)
    machine.jump(jump_s)
    store.steady()
    with pytest.raises(Wait) as waiting:
        store.take_turn(third, "github", interval_s=10)
    assert waits_s(store, waiting.value.at) == about(20)
    machine.later(11)
    store.take_turn(second, "github", interval_s=10)


@JUMPS
def test_what_a_server_dictated_holds_as_long_as_it_said(store: Store, machine: Machine, jump_s: int) -> None:
    store.hold_pace("github", store.now() + timedelta(seconds=120))
    machine.jump(jump_s)
    store.steady()
    assert waits_s(store, store.held_until("github")) == about(120)


@JUMPS
def test_the_hourly_budget_is_neither_given_twice_nor_held_back(store: Store, machine: Machine, jump_s: int) -> None:
    lease = begin(store, "g1")
    store.end_call(lease, asked(store, lease, "p@1"), outcome="ok", usage=None, error=None)
    machine.jump(jump_s)
    store.steady()
    machine.later(HOUR_S - 60)
    assert store.calls_last_hour() == 1
    machine.later(120)
    assert store.calls_last_hour() == 0


@JUMPS
def test_how_long_a_delivery_took_does_not_count_the_jump(store: Store, machine: Machine, jump_s: int) -> None:
    lease = begin(store, "g1")
    machine.later(3)
    machine.jump(jump_s)
    store.steady()
    store.finish(lease, "done", reason=None, took_s=3)
    assert store.counters()["processing_ms", ""] / 1000 == about(3)


@JUMPS
def test_of_many_machines_one_moves_what_is_under_way(
    store: Store, machine: Machine, open_another: Callable[..., Store], jump_s: int
) -> None:
    other = open_another()
    other.steady()
    begin(store, "g1")
    machine.jump(jump_s)
    assert [one.steady() for one in (store, other)] == [about(jump_s), about(jump_s)]
    assert waits_s(store, row_of(store, "g1").lease_until) == about(30)


def test_a_machine_that_slept_does_not_take_its_sleep_for_a_jump(
    store: Store, machine: Machine, open_another: Callable[..., Store]
) -> None:
    """Its monotonic clock stood still; the others' went on, and one of them died meanwhile."""
    before = machine.up_s
    sleeper = open_another(monotonic=lambda: before)
    sleeper.steady()
    begin(store, "g1")
    for _ in range(6):
        machine.later(10)
        store.steady()
    assert claim(sleeper).attempt == 2


def test_a_process_that_begins_after_a_jump_back_sees_it_by_what_was_noted(
    store: Store, machine: Machine, open_another: Callable[..., Store]
) -> None:
    begin(store, "g1")
    machine.jump(-HOUR_S)
    assert open_another().steady() == about(-HOUR_S)
    machine.later(31)
    assert claim(store).attempt == 2


def test_a_process_that_begins_after_a_pause_has_seen_no_jump(
    store: Store, machine: Machine, open_another: Callable[..., Store]
) -> None:
    begin(store, "g1")
    machine.later(HOUR_S)
    again = open_another()
    assert again.steady() == 0.0
    assert claim(again).attempt == 2


@pytest.mark.parametrize(
    ("went_ms", "asked_at", "answered_at", "jump"),
    [
        (1_000, 1_000, 1_000, 0),
        (15_900, 1_000, 1_000, 0),
        (16_001, 1_000, 1_000, 15_001),
        (-14_000, 1_000, 1_000, 0),
        (-14_001, 1_000, 1_000, -15_001),
        (60_000, 1_000, 60_000, 0),  # the answer took a minute
        (1_000, 1_000, 60_000, 0),
        (0, 60_000, 60_000, -60_000),
    ],
)
def test_a_jump_is_what_no_time_passed_for(went_ms: int, asked_at: int, answered_at: int, jump: int) -> None:
    assert jump_between(Look(0, 0, 0), Look(went_ms, asked_at, answered_at)) == jump


@pytest.mark.parametrize(
    ("jump", "beat", "left"),
    [
        (3_600_000, -3_600_000, 3_600_000),  # noted before it
        (3_600_000, -5_000, 0),  # noted within the leap: it was none
        (-3_600_000, 3_595_000, -3_600_000),
        (-3_600_000, -1_000, 0),  # somebody has moved all, and noted it
        (0, -1_000, 0),
    ],
)
def test_a_jump_is_moved_along_with_once(jump: int, beat: int, left: int) -> None:
    assert left_to_move(jump, now=0, beat=beat) == left
