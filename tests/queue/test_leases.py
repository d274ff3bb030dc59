"""Leases that this process holds, with their end by the local clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hls_handler.db.values import EPOCH
from hls_handler.deliveries import Lease
from hls_handler.errors import HlsError, LeaseLost, StoreUnavailable
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE, HeldLeases


@dataclass
class FakeRenewals:
    """Fake of `queue.renew`; each call takes `duration_s` of local time, then raises `error` if
    set.
    """

    now: float = 0.0
    duration_s: float = 0.0
    error: HlsError | None = None
    meanwhile: Callable[[], object] = int
    renewed: list[str] = field(default_factory=list)

    def renew(self, lease: Lease, *, lease_s: float) -> Lease:
        self.renewed.append(f"{lease.guid}/{lease.attempt}")
        self.now += self.duration_s
        self.meanwhile()
        if self.error is not None:
            raise self.error
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


def held_leases(renewals: FakeRenewals, *leases: Lease) -> HeldLeases:
    one = HeldLeases(
        lambda lease, seconds: renewals.renew(lease, lease_s=seconds),
        clock=lambda: renewals.now,
    )
    for each in leases or (lease(),):
        one.add(each, asked_at=one.now())
    return one


def holds(leases: HeldLeases, *, least: float = 0.0, of: Lease | None = None) -> bool:
    try:
        leases.require(of or lease(), least=least)
    except LeaseLost:
        return False
    return True


@pytest.mark.parametrize(
    ("elapsed_s", "is_held", "may_write"),
    [(0, True, True), (14, True, True), (15, True, False), (30, False, False)],
)
def test_lease_ends_by_the_local_clock(elapsed_s: float, is_held: bool, may_write: bool) -> None:
    renewals = FakeRenewals()
    leases = held_leases(renewals)
    renewals.now = elapsed_s
    assert (holds(leases), holds(leases, least=MIN_SHARE_FOR_WRITE)) == (is_held, may_write)
    assert renewals.renewed == []


def test_renewed_lease_counts_from_before_the_request() -> None:
    renewals = FakeRenewals(duration_s=20)
    leases = held_leases(renewals)
    renewals.now = 3
    leases.renew_all()
    renewals.now = 32
    assert holds(leases)
    renewals.now = 33
    assert not holds(leases)


def test_fresh_lease_is_not_renewed() -> None:
    renewals = FakeRenewals()
    leases = held_leases(renewals, lease("old"))
    renewals.now = 1.9
    leases.add(lease("new"), asked_at=renewals.now)
    leases.renew_all()
    assert renewals.renewed == []
    renewals.now = 3
    leases.renew_all()
    assert renewals.renewed == ["old/1"]
    renewals.now = 30
    leases.renew_all()
    assert renewals.renewed == ["old/1", "old/1", "new/1"]


def test_lease_that_cannot_be_renewed_expires() -> None:
    renewals = FakeRenewals(error=StoreUnavailable("the server is gone"))
    leases = held_leases(renewals)
    renewals.now = 29
    assert leases.renew_all() == 2
    assert holds(leases)
    renewals.now = 30
    assert not holds(leases)


def test_lease_taken_over_by_another_worker_ends_at_once() -> None:
    renewals = FakeRenewals(error=LeaseLost("taken over"))
    leases = held_leases(renewals)
    renewals.now = 3
    assert leases.renew_all() == 10
    assert not holds(leases)
    assert leases.renew_all() == 10
    assert renewals.renewed == ["g1/1"]


def test_secure_renews_only_a_lease_that_ends_soon() -> None:
    renewals = FakeRenewals()
    leases = held_leases(renewals)
    renewals.now = 12
    leases.secure(lease())
    assert renewals.renewed == []
    renewals.now = 13
    leases.secure(lease())
    assert renewals.renewed == ["g1/1"]
    renewals.now = 27
    assert holds(leases, least=MIN_SHARE_FOR_WRITE)


def test_secure_raises_if_the_renewal_takes_too_long() -> None:
    renewals = FakeRenewals(duration_s=15)
    leases = held_leases(renewals)
    renewals.now = 13
    with pytest.raises(
        LeaseLost, match=r"delivery g1 \(attempt 1\) has 15.0 s left by this machine's clock"
    ):
        leases.secure(lease())


def test_removing_an_attempt_keeps_the_next_attempt_held() -> None:
    leases = held_leases(FakeRenewals(), lease(attempt=1), lease(attempt=2))
    leases.remove(lease(attempt=1))
    assert not holds(leases, of=lease(attempt=1))
    assert holds(leases, of=lease(attempt=2))


def test_lease_removed_during_its_renewal_stays_removed() -> None:
    renewals = FakeRenewals()
    leases = held_leases(renewals)
    renewals.meanwhile = lambda: leases.remove(lease())
    renewals.now = 3
    leases.renew_all()
    assert renewals.renewed == ["g1/1"]
    assert not holds(leases)
