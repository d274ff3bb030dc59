"""What we remember of a repository across its threads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.errors import LeaseLost
from hls_handler.handlers.reader import Failure, HistoryUpdate, RunResult
from hls_handler.storage import Storage
from tests.queue.builders import Skew, begin

FAILED = Failure(
    workflow_id=5, run_id=70, attempt=1, job="test (3.12)", step="Run pytest", branch="main", head_sha="aaa"
)


def test_failed_steps_are_remembered_for_their_workflow_the_newest_first(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=None)
    store.repositories.save(lease, HistoryUpdate((FAILED,)))
    skew.pass_by(seconds=10)
    later = replace(FAILED, run_id=71, branch="mona:fix", head_sha="bbb")
    store.repositories.save(
        lease,
        HistoryUpdate(
            (
                later,
                replace(FAILED, workflow_id=6, run_id=72),
            )
        ),
    )
    assert store.repositories.record(lease, "hls").failures(5, days=30) == (later, FAILED)
    assert [failure.run_id for failure in store.repositories.record(lease, "hls").failures(6, days=30)] == [72]


def test_a_step_that_is_noted_twice_is_one(store: Storage) -> None:
    lease = begin(store, "g1", number=None)
    store.repositories.save(lease, HistoryUpdate((FAILED,)))
    store.repositories.save(
        lease,
        HistoryUpdate(
            (
                FAILED,
                replace(FAILED, step="Run ruff"),
            )
        ),
    )
    store.repositories.save(lease, HistoryUpdate())
    assert {failure.step for failure in store.repositories.record(lease, "hls").failures(5, days=30)} == {
        "Run pytest",
        "Run ruff",
    }
    assert len(store.repositories.record(lease, "hls").failures(5, days=30)) == 2


def test_failures_are_forgotten_after_a_month(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=None)
    store.repositories.save(lease, HistoryUpdate((FAILED,)))
    skew.pass_by(days=29)
    assert store.repositories.record(lease, "hls").failures(5, days=28) == ()
    assert store.repositories.record(lease, "hls").failures(5, days=30) == (FAILED,)
    skew.pass_by(days=2)
    assert store.repositories.record(lease, "hls").failures(5, days=365) == ()


def test_one_repository_knows_nothing_of_another(store: Storage) -> None:
    store.repositories.save(begin(store, "g1", number=None), HistoryUpdate((FAILED,)))
    other = begin(store, "g2", number=None, repository_id=2, repository="octo/other")
    assert store.repositories.record(other, "hls").failures(5, days=30) == ()


def test_a_worker_that_lost_its_lease_notes_nothing(store: Storage, skew: Skew) -> None:
    zombie = begin(store, "g1", number=None)
    skew.pass_by(minutes=1)
    with pytest.raises(LeaseLost):
        store.repositories.save(zombie, HistoryUpdate((FAILED,)))


def test_a_thread_has_our_comment_once_we_wrote_it_as_this_account(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    assert not store.repositories.record(lease, "hls").has_comment(7, "onboarding")
    store.conversations.history(lease, "hls").store_comment("onboarding", 900, "digest")
    assert store.repositories.record(lease, "hls").has_comment(7, "onboarding")
    assert not store.repositories.record(lease, "hls").has_comment(8, "onboarding")
    assert not store.repositories.record(lease, "hls").has_comment(7, "issues")
    assert not store.repositories.record(lease, "other").has_comment(7, "onboarding")


def test_a_lease_may_be_about_another_thread_than_its_delivery(store: Storage) -> None:
    """A workflow's run is queued under no thread; what comes of it is remembered under its pull request's."""
    lease = begin(store, "g1", number=None).about(13)
    assert lease.conversation_key == "1#13"
    store.conversations.history(lease, "hls").store_comment("workflows", 901, "digest")
    assert store.repositories.record(lease, "hls").has_comment(13, "workflows")


END = RunResult(5, "push", "main", run_id=70, run_number=41, attempt=1, passed=False, head_sha="aaa")


def test_ends_of_runs_are_remembered_the_latest_first_whenever_they_were_told(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=None)
    again = replace(END, attempt=2, passed=True)
    store.repositories.save(lease, HistoryUpdate(ends=(again,)))
    skew.pass_by(seconds=10)
    store.repositories.save(lease, HistoryUpdate(ends=(END, replace(END, run_id=71, run_number=42), again)))
    assert [end.order for end in store.repositories.record(lease, "hls").ends(5)] == [(42, 1), (41, 2), (41, 1)]
    assert store.repositories.record(lease, "hls").ends(6) == ()
    skew.pass_by(days=31)
    assert store.repositories.record(lease, "hls").ends(5) == ()


def test_who_asks_about_a_thread_is_told_what_was_said_on_it_about_other_things(store: Storage) -> None:
    store.queue.set_posted_on(begin(store, "g1", number=None), 13)
    begin(store, "g2", number=12)
    assert [row.guid for row in store.deliveries.of_conversation("octo/widgets", 13)] == ["g1"]
    assert [row.number for row in store.deliveries.of_conversation("octo/widgets", 13)] == [None]
