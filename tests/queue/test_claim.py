"""Claiming: who works on what, in which order, and what becomes of the work of the dead."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, bury, claim, claim_nothing, push, queued, state_of


def test_a_lease_carries_what_a_worker_needs(store: Storage) -> None:
    lease = begin(store, "g1", number=7, head_sha="abc", body=b"as received \xff")
    assert (lease.guid, lease.attempt, lease.event, lease.action) == ("g1", 1, "issues", "opened")
    assert (lease.repository_id, lease.repository, lease.number, lease.head_sha) == (1, "octo/widgets", 7, "abc")
    assert (lease.attempts, lease.failures, lease.crashes, lease.first_failure_at) == (0, 0, 0, None)
    assert (lease.body, lease.request_id, lease.conversation_key) == (b"as received \xff", "request-g1", "1#7")
    assert timedelta(seconds=25) < lease.lease_until - store.now() <= timedelta(seconds=30)
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.state, row.worker, row.lease_until) == ("running", "worker", lease.lease_until)


def test_the_oldest_goes_first_and_a_higher_priority_before_it(store: Storage) -> None:
    accept(store, queued("g1"), queued("g2"), queued("g3", priority=1), queued("g4", priority=2))
    assert [claim(store).guid for _ in range(4)] == ["g4", "g3", "g1", "g2"]
    assert claim_nothing(store)


def test_whoever_waited_ten_minutes_is_overtaken_no_more_by_the_next_priority(store: Storage, skew: Skew) -> None:
    accept(store, queued("rest"))
    skew.pass_by(minutes=9)
    accept(store, queued("in time", priority=1))
    skew.pass_by(minutes=2)
    accept(store, queued("too late", priority=1), queued("two steps", priority=2))
    assert [claim(store).guid for _ in range(4)] == ["two steps", "in time", "rest", "too late"]


def test_what_an_operator_runs_again_goes_before_all_that_came_of_itself(store: Storage) -> None:
    bury(store, "g1")
    accept(store, queued("g2"), queued("g3", priority=1))
    store.queue.retry("g1")
    assert [claim(store).guid for _ in range(3)] == ["g1", "g3", "g2"]


def test_a_delivery_that_settles_is_not_due_before_its_time(store: Storage, skew: Skew) -> None:
    accept(store, push("g1", "aaa", settle_s=5.0), queued("g2"))
    assert claim(store).guid == "g2"
    assert claim_nothing(store)
    settling = store.deliveries.find("g1")
    assert settling is not None
    assert settling.reason == "waits 5 s for a newer push (limits.settle_s)"
    waiting = store.queue.seconds_until_due()
    assert waiting is not None
    assert 4 < waiting <= 5
    skew.pass_by(seconds=5)
    assert claim(store).guid == "g1"


def test_of_a_burst_of_pushes_only_the_last_is_begun_and_only_once_it_has_settled(store: Storage, skew: Skew) -> None:
    for sha in ("aaa", "bbb", "ccc"):
        accept(store, push(sha, sha, settle_s=5.0))
        assert claim_nothing(store)
        skew.pass_by(seconds=4)
    assert claim_nothing(store)
    skew.pass_by(seconds=1)
    assert (claim(store).guid, claim_nothing(store)) == ("ccc", True)
    assert [state_of(store, guid) for guid in ("aaa", "bbb", "ccc")] == ["superseded", "superseded", "running"]


def test_no_more_run_at_a_time_than_there_are_places(store: Storage, skew: Skew) -> None:
    accept(store, *(queued(f"g{n}") for n in range(4)))

    def claimed() -> Lease | None:
        return store.queue.claim(worker="worker", lease_s=30, max_crashes=10, concurrency=2)

    first, second = claimed(), claimed()
    assert first is not None
    assert second is not None
    assert claimed() is None
    waiting = store.queue.seconds_until_due(concurrency=2)
    assert waiting is not None
    assert 25 < waiting <= 30  # a place is free at the latest when a lease ends
    store.queue.finish(first, "done", reason=None, took_s=1)
    assert store.queue.seconds_until_due(concurrency=2) == 0.0
    third = claimed()
    assert third is not None
    assert (third.guid, claimed()) == ("g2", None)
    skew.pass_by(seconds=31)
    assert claimed() is not None  # the dead workers' places are free


def test_of_a_thread_one_runs_at_a_time_oldest_first_whatever_its_priority(store: Storage) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7, priority=9), queued("g3", number=8))
    first = claim(store)
    assert (first.guid, claim(store).guid) == ("g1", "g3")
    assert claim_nothing(store)
    store.queue.finish(first, "done", reason=None, took_s=1)
    assert claim(store).guid == "g2"


def test_a_delivery_that_waits_holds_back_its_own_thread_only(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7), queued("g3", number=8))
    store.queue.reschedule(lease, at=store.now() + timedelta(minutes=5), reason="503", failed=True, counts=False)
    assert claim(store).guid == "g3"
    assert claim_nothing(store)
    skew.pass_by(minutes=5)
    assert claim(store).guid == "g1"


def test_the_same_number_in_another_repository_is_another_thread(store: Storage) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7, repository_id=2))
    assert [claim(store).guid for _ in range(2)] == ["g1", "g2"]


def test_a_dead_or_finished_one_does_not_hold_back_its_thread(store: Storage) -> None:
    store.queue.dead_letter(begin(store, "g1", number=7), reason="locked")
    accept(store, queued("g2", number=7))
    assert claim(store).guid == "g2"


def test_the_database_itself_refuses_a_second_running_one_of_a_thread(url: str, store: Storage) -> None:
    begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    engine = create_engine(url)
    with pytest.raises(Exception, match=r"(?i)unique"), engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'running' WHERE guid = 'g2'"))
    engine.dispose()


def test_a_renewed_lease_lasts_longer(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    skew.pass_by(seconds=20)
    renewed = store.queue.renew(lease, lease_s=30)
    assert renewed.lease_until - lease.lease_until >= timedelta(seconds=20)
    skew.pass_by(seconds=20)
    assert claim_nothing(store)
    assert store.queue.renew(renewed, lease_s=30).attempt == 1


def test_a_lease_that_ran_out_is_taken_back_and_counts_as_a_crash(store: Storage, skew: Skew) -> None:
    zombie = begin(store, "g1")
    skew.pass_by(seconds=31)
    lease = claim(store, worker="other")
    assert (lease.guid, lease.attempt, lease.crashes) == ("g1", 2, 1)
    with pytest.raises(LeaseLost, match="delivery g1"):
        store.queue.renew(zombie, lease_s=30)


def test_a_lease_that_ran_out_is_lost_even_before_anybody_else_claims(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    skew.pass_by(seconds=31)
    with pytest.raises(LeaseLost):
        store.queue.renew(lease, lease_s=30)


def test_work_that_kills_its_workers_again_and_again_ends_dead(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1"))
    for crashes in range(3):
        assert claim(store, max_crashes=3).crashes == crashes
        skew.pass_by(seconds=31)
    assert store.queue.claim(worker="worker", lease_s=30, max_crashes=3) is None
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.state, row.crashes) == ("dead", 3)
    assert row.reason == "its worker died 3 times without getting a step further"
    assert store.statistics.counters()["outcome", "dead"] == 1
    assert store.statistics.counters()["repository_outcome", "octo/widgets:dead"] == 1


def test_a_crash_after_a_recorded_step_is_not_held_against_the_delivery(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1"))
    for step in range(5):
        lease = claim(store, max_crashes=2)
        assert lease.crashes == 0
        store.checkpoints.save(lease, Checkpoint("ask", step, 1, "{}"))
        skew.pass_by(seconds=31)
    assert claim(store, max_crashes=2).crashes == 0
    skew.pass_by(seconds=31)
    assert claim(store, max_crashes=2).crashes == 1


def test_releasing_all_leases_lets_others_begin_at_once_and_counts_a_crash(store: Storage) -> None:
    accept(store, queued("g1"), queued("g2"))
    before = [claim(store), claim(store)]
    assert store.queue.release_all_leases() == 2
    assert store.queue.release_all_leases() == 0
    with pytest.raises(LeaseLost):
        store.queue.renew(before[0], lease_s=30)
    after = [claim(store), claim(store)]
    assert sorted((lease.guid, lease.attempt, lease.crashes) for lease in after) == [("g1", 2, 1), ("g2", 2, 1)]


def test_seconds_until_due_of_an_empty_queue_is_none(store: Storage) -> None:
    assert store.queue.seconds_until_due() is None
    store.queue.finish(begin(store, "g1"), "done", reason=None, took_s=1)
    assert store.queue.seconds_until_due() is None


def test_seconds_until_due_is_zero_as_long_as_something_can_be_claimed(store: Storage) -> None:
    accept(store, queued("g1"))
    assert store.queue.seconds_until_due() == 0.0


def test_seconds_until_due_looks_past_what_waits_behind_its_thread(store: Storage, skew: Skew) -> None:
    first = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    waiting = store.queue.seconds_until_due()
    assert waiting is not None
    assert 25 < waiting <= 30  # only the running one's lease can end
    store.queue.reschedule(first, at=store.now() + timedelta(seconds=300), reason="503", failed=True, counts=False)
    waiting = store.queue.seconds_until_due()
    assert waiting is not None
    assert 295 < waiting <= 300  # g2 is due, but behind g1
    skew.pass_by(seconds=300)
    assert store.queue.seconds_until_due() == 0.0


def test_seconds_until_due_is_zero_when_a_lease_ran_out(store: Storage, skew: Skew) -> None:
    begin(store, "g1")
    skew.pass_by(seconds=31)
    assert store.queue.seconds_until_due() == 0.0
    assert state_of(store, "g1") == "running"
