"""Stored checks on commits: each belongs to one delivery, and one process ends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hls_handler.actions import CommitCheck, Conclusion
from hls_handler.background.health_checks import ClockSteps
from hls_handler.deliveries import End, Lease
from hls_handler.errors import Postponed
from hls_handler.store.commit_checks import CheckChange, UnendedCheck
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, begin, claim, state_of

SHA, OTHER_SHA = "a" * 40, "b" * 40


def begin_check(store: Storage, lease: Lease) -> None:
    store.commit_checks.begin(lease, SHA)
    store.checkpoints.save(lease, CheckChange(SHA, 7, is_ended=False))


def die(store: Storage, lease: Lease) -> None:
    store.queue.finish(lease, End("dead", "Claude refused"))


def claim_check(store: Storage) -> UnendedCheck | None:
    return store.commit_checks.claim_unended(lease_s=60, slowest_write_s=60)


def test_only_checks_of_finished_deliveries_are_to_be_ended(store: Storage) -> None:
    running, dead, done = (begin(store, guid) for guid in ("g1", "g2", "g3"))
    for lease in (running, dead, done):
        begin_check(store, lease)
    die(store, dead)
    ended = (CheckChange(SHA, 7, is_ended=True),)
    store.queue.finish(done, End("done", "posted"), took_s=1.0, changes=ended)
    found = claim_check(store)
    assert found is not None
    assert (found.guid, found.repository, found.state, found.reason) == (
        "g2",
        "octo/widgets",
        "dead",
        "Claude refused",
    )
    assert found.check == CommitCheck(SHA, "g2", 7, is_shown=True, is_new=False)
    assert claim_check(store) is None
    store.commit_checks.mark_ended(found, "cancelled: x")
    assert state_of(store, "g1") == "running"


def test_check_can_be_claimed_again_after_a_minute(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    begin_check(store, lease)
    die(store, lease)
    assert claim_check(store) is not None
    skew.advance(seconds=59)
    assert claim_check(store) is None
    skew.advance(seconds=2)
    found = claim_check(store)
    assert found is not None
    store.commit_checks.mark_ended(found, "cancelled: x")
    skew.advance(seconds=61)
    assert claim_check(store) is None


def test_check_claimed_before_the_clock_was_set_back_can_be_claimed_again(
    store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g1")
    begin_check(store, lease)
    die(store, lease)
    steps = ClockSteps(store.database, store.queue)
    skew.advance(hours=1)
    steps.check()
    assert claim_check(store) is not None  # the process that ends it is killed
    skew.advance(hours=-1)
    steps.check()
    assert claim_check(store) is None
    skew.advance(seconds=61)
    assert claim_check(store) is not None


def test_each_check_is_claimed_by_one_process(store: Storage, skew: Skew) -> None:
    for number in range(12):
        lease = begin(store, f"g{number}")
        store.commit_checks.begin(lease, f"{number:040}")
        die(store, lease)
    skew.advance(seconds=61)
    with ThreadPoolExecutor(4) as pool:
        found = [
            one for one in pool.map(lambda _: claim_check(store), range(40)) if one is not None
        ]
    assert len({one.guid for one in found}) == len(found) == 12


def test_unconfirmed_check_is_left_until_its_write_cannot_take_effect_any_more(
    store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g1")
    store.commit_checks.begin(lease, SHA)
    skew.advance(seconds=29)
    store.commit_checks.begin(lease, SHA)  # the first request failed, and is sent again
    die(store, lease)
    skew.advance(seconds=40)  # the database's clock goes on, too
    assert claim_check(store) is None
    skew.advance(seconds=21)
    assert claim_check(store) is not None


def test_check_of_a_running_delivery_is_not_taken_over(store: Storage) -> None:
    begin_check(store, begin(store, "g1"))
    assert store.commit_checks.begin(begin(store, "g2"), SHA) == CommitCheck(SHA, "g2")


@pytest.mark.parametrize("is_same", [True, False], ids=["the delivery itself", "another delivery"])
def test_check_that_a_process_is_ending_is_waited_for(
    store: Storage, skew: Skew, is_same: bool
) -> None:
    lease = begin(store, "g1")
    begin_check(store, lease)
    die(store, lease)
    assert claim_check(store) is not None
    if is_same:
        store.queue.retry("g1")
    again = claim(store) if is_same else begin(store, "g2")
    with pytest.raises(Postponed, match="another process is ending the check") as waiting:
        store.commit_checks.begin(again, SHA)
    assert timedelta(seconds=50) < waiting.value.at - store.now() <= timedelta(seconds=60)


def test_repeated_delivery_begins_another_check_after_the_end_of_the_first(store: Storage) -> None:
    lease = begin(store, "g1")
    begin_check(store, lease)
    die(store, lease)
    found = claim_check(store)
    assert found is not None
    store.commit_checks.mark_ended(found, "cancelled: x")
    store.queue.retry("g1")
    assert store.commit_checks.begin(claim(store), SHA) == CommitCheck(SHA, "g1:2")


def test_planned_check_is_new_and_is_ended_only_for_a_dead_letter(store: Storage) -> None:
    dead, done = begin(store, "g1"), begin(store, "g2")
    for lease in (dead, done):
        store.commit_checks.plan(lease, SHA)
    die(store, dead)
    store.queue.finish(done, End("done", "posted"), took_s=1.0)
    found = claim_check(store)
    assert found is not None
    assert (found.guid, claim_check(store)) == ("g1", None)
    store.commit_checks.mark_ended(found, "neutral: x")
    lease = begin(store, "g3")
    store.commit_checks.plan(lease, SHA)
    store.commit_checks.plan(lease, OTHER_SHA)
    assert store.commit_checks.begin(lease, SHA) == CommitCheck(SHA, "g3", is_new=True)
    assert store.commit_checks.begin(lease, SHA) == CommitCheck(SHA, "g3", is_new=False)


def test_next_delivery_replaces_the_planned_check_of_a_dead_letter(store: Storage) -> None:
    lease = begin(store, "g1")
    store.commit_checks.plan(lease, SHA)
    die(store, lease)
    assert store.commit_checks.begin(begin(store, "g2"), SHA) == CommitCheck(SHA, "g2", is_new=True)
    assert claim_check(store) is None


def test_newest_result_of_each_other_pull_request_on_a_commit_is_found(store: Storage) -> None:
    ended: tuple[tuple[str, int, Conclusion], ...] = (
        ("g1", 7, "success"),
        ("g2", 8, "neutral"),
        ("g3", 8, "failure"),
    )
    for guid, number, conclusion in ended:
        lease = begin(store, guid, number=number)
        store.commit_checks.begin(lease, SHA)
        end = CheckChange(SHA, 7, is_ended=True, conclusion=conclusion)
        store.queue.finish(lease, End("done", "posted"), took_s=1.0, changes=(end,))
    store.commit_checks.begin(begin(store, "g4", number=9), SHA)
    found = store.commit_checks.list_others(lease.repository_id, SHA, 7)
    assert [(other.number, other.conclusion) for other in found] == [(8, "failure"), (9, None)]
    assert store.commit_checks.list_others(lease.repository_id, OTHER_SHA, 7) == ()


def test_result_that_is_shown_anew_gets_another_check_run(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    begin_check(store, lease)
    end = CheckChange(SHA, 7, is_ended=True, conclusion="success")
    store.queue.finish(lease, End("done", "posted"), took_s=1.0, changes=(end,))
    assert claim_check(store) is None
    leaving = begin(store, "g2", number=8)
    (other,) = store.commit_checks.list_others(leaving.repository_id, SHA, 8)
    store.commit_checks.reopen(leaving, SHA, other)
    found = store.commit_checks.claim_unended(lease_s=60, slowest_write_s=0)
    assert found is not None
    assert (found.guid, found.number, found.conclusion) == ("g1", 7, "success")
    assert found.check == CommitCheck(SHA, "g2:left", None, is_shown=False, is_new=False)
