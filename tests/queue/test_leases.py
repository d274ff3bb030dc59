"""The second end of a lease, by a clock of this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hls_handler.db.clock import EPOCH
from hls_handler.deliveries import Lease
from hls_handler.errors import HlsError, LeaseLost, StoreUnavailable
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE, HeldLeases, machine_seconds


@dataclass
class Renewals:
    """What `HeldLeases` needs of a store; time passes by while it is asked."""

    now: float = 0.0
    takes_s: float = 0.0
    fails: HlsError | None = None
    meanwhile: Callable[[], object] = int
    asked: list[str] = field(default_factory=list)

    def renew(self, lease: Lease, *, lease_s: float) -> Lease:
        self.asked.append(f"{lease.guid}/{lease.attempt}")
        self.now += self.takes_s
        self.meanwhile()
        if self.fails is not None:
            raise self.fails
        return lease


def lease(guid: str = "g1", attempt: int = 1) -> Lease:
    return Lease(
        guid=guid,
        attempt=attempt,
        lease_until=EPOCH,
        event="issues",
        action="opened",
        request_id="r",
        repository_id=1,
        repository="octo/widgets",
        number=7,
        head_sha=None,
        received_at=EPOCH,
        attempts=0,
        failures=0,
        crashes=0,
        first_failure_at=None,
    )


def iter_sourced_values(renewals: Renewals, *leases: Lease, lease_s: float = 30) -> HeldLeases:
    one = HeldLeases(
        lambda lease, seconds: renewals.renew(lease, lease_s=seconds),
        lease_s=lambda: lease_s,
        clock=lambda: renewals.now,
    )
    for each in leases or (lease(),):
        one.add(each, asked_at=one.now(), lease_s=lease_s)
    return one


def holds(leases: HeldLeases, *, least: float = 0.0, of: Lease | None = None) -> bool:
    try:
        leases.require(of or lease(), least=least)
    except LeaseLost:
        return False
    return True


@pytest.mark.parametrize(
    ("asleep_s", "may_go_on", "may_begin_a_write"),
    [(0, True, True), (14, True, True), (15, True, False), (30, False, False)],
)
def test_a_lease_ends_by_the_machines_own_clock(asleep_s: float, may_go_on: bool, may_begin_a_write: bool) -> None:
    renewals = Renewals()
    leases = iter_sourced_values(renewals)
    renewals.now = asleep_s
    assert (holds(leases), holds(leases, least=MIN_SHARE_FOR_WRITE)) == (may_go_on, may_begin_a_write)
    assert renewals.asked == []


def test_a_renewal_counts_from_before_the_database_was_asked() -> None:
    renewals = Renewals(takes_s=20)
    leases = iter_sourced_values(renewals)
    renewals.now = 3
    leases.renew_all()
    renewals.now = 32
    assert holds(leases)
    renewals.now = 33
    assert not holds(leases)


def test_a_lease_is_not_renewed_as_long_as_it_is_fresh() -> None:
    renewals = Renewals()
    leases = iter_sourced_values(renewals, lease("old"))
    renewals.now = 1.9
    leases.add(lease("new"), asked_at=renewals.now, lease_s=30)
    leases.renew_all()
    assert renewals.asked == []
    renewals.now = 3
    leases.renew_all()
    assert renewals.asked == ["old/1"]


def test_a_lease_that_cannot_be_renewed_ends_all_the_same() -> None:
    renewals = Renewals(fails=StoreUnavailable("the server is gone"))
    leases = iter_sourced_values(renewals)
    renewals.now = 29
    assert leases.renew_all() is False
    assert holds(leases)
    renewals.now = 30
    assert not holds(leases)


def test_a_lease_that_another_took_over_is_over_at_once() -> None:
    renewals = Renewals(fails=LeaseLost("taken over"))
    leases = iter_sourced_values(renewals)
    renewals.now = 3
    assert leases.renew_all() is True
    assert not holds(leases)
    assert leases.renew_all() is True
    assert renewals.asked == ["g1/1"]


def test_a_write_renews_a_lease_that_runs_short_and_no_other() -> None:
    renewals = Renewals()
    leases = iter_sourced_values(renewals)
    renewals.now = 12
    leases.secure(lease())
    assert renewals.asked == []
    renewals.now = 13
    leases.secure(lease())
    assert renewals.asked == ["g1/1"]
    renewals.now = 27
    assert holds(leases, least=MIN_SHARE_FOR_WRITE)


def test_a_write_whose_renewal_takes_too_long_does_not_begin() -> None:
    renewals = Renewals(takes_s=15)
    leases = iter_sourced_values(renewals)
    renewals.now = 13
    with pytest.raises(LeaseLost, match=r"delivery g1 \(attempt 1\) has 15.0 s left by this machine's clock"):
        leases.secure(lease())


def test_a_thread_that_lost_a_delivery_does_not_give_away_its_next_attempt() -> None:
    leases = iter_sourced_values(Renewals(), lease(attempt=1), lease(attempt=2))
    leases.remove(lease(attempt=1))
    assert not holds(leases, of=lease(attempt=1))
    assert holds(leases, of=lease(attempt=2))


def test_what_was_given_back_while_it_was_renewed_stays_given_back() -> None:
    renewals = Renewals()
    leases = iter_sourced_values(renewals)
    renewals.meanwhile = lambda: leases.remove(lease())
    renewals.now = 3
    leases.renew_all()
    assert renewals.asked == ["g1/1"]
    assert not holds(leases)


def test_the_machines_clock_goes_on() -> None:
    before = machine_seconds()
    assert machine_seconds() >= before > 0
