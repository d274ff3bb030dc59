"""What is stored for a repository: its history across conversations, and its settings file."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.actions import StoredComment
from hls_handler.deliveries import Lease
from hls_handler.events import Issue, Label
from hls_handler.handlers.reader import Failure, HistoryUpdate, RunResult
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.store.repositories import StoredFile
from hls_handler.store.storage import Storage
from tests.handlers.world import ISSUE
from tests.queue.builders import Skew, accept, begin, open_history, queued

FAILED = Failure(
    workflow_id=5,
    run_id=70,
    attempt=1,
    job="test (3.12)",
    step="Run pytest",
    branch="main",
    head_sha="aaa",
)


def test_failures_of_a_workflow_are_returned_newest_first(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", number=None)
    store.repositories.save(lease, HistoryUpdate((FAILED,)))
    skew.advance(seconds=10)
    later = replace(FAILED, run_id=71, branch="mona:fix", head_sha="bbb")
    store.repositories.save(
        lease, HistoryUpdate((later, replace(FAILED, workflow_id=6, run_id=72)))
    )
    history = store.repositories.history(lease.repository_id, "hls")
    assert history.failures(5, days=30) == (later, FAILED)
    assert [failure.run_id for failure in history.failures(6, days=30)] == [72]


def test_failure_saved_twice_is_stored_once(store: Storage) -> None:
    lease = begin(store, "g1", number=None)
    store.repositories.save(lease, HistoryUpdate((FAILED,)))
    store.repositories.save(lease, HistoryUpdate((FAILED, replace(FAILED, step="Run ruff"))))
    found = store.repositories.history(lease.repository_id, "hls").failures(5, days=30)
    assert sorted(failure.step for failure in found) == ["Run pytest", "Run ruff"]


def test_failures_are_separate_by_repository(store: Storage) -> None:
    store.repositories.save(begin(store, "g1", number=None), HistoryUpdate((FAILED,)))
    other = begin(store, "g2", number=None, repository_id=2, repository="octo/other")
    assert store.repositories.history(other.repository_id, "hls").failures(5, days=30) == ()


def test_has_comment_depends_on_conversation_family_and_account(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    history = store.repositories.history(lease.repository_id, "hls")
    assert not history.has_comment(7, "onboarding")
    open_history(store, lease, "hls").store_comment("onboarding", StoredComment(900, "digest"))
    assert history.has_comment(7, "onboarding")
    assert not history.has_comment(8, "onboarding")
    assert not history.has_comment(7, "issues")
    assert not store.repositories.history(lease.repository_id, "other").has_comment(7, "onboarding")


def test_run_results_are_returned_by_run_and_attempt(store: Storage, skew: Skew) -> None:
    result = RunResult(
        5, "push", "main", run_id=70, run_number=41, attempt=1, passed=False, head_sha="aaa"
    )
    lease = begin(store, "g1", number=None)
    rerun = replace(result, attempt=2, passed=True)
    store.repositories.save(lease, HistoryUpdate(ends=(rerun,)))
    skew.advance(seconds=10)
    store.repositories.save(
        lease, HistoryUpdate(ends=(result, replace(result, run_id=71, run_number=42), rerun))
    )
    assert [
        end.order for end in store.repositories.history(lease.repository_id, "hls").ends(5)
    ] == [
        (42, 1),
        (41, 2),
        (41, 1),
    ]
    assert store.repositories.history(lease.repository_id, "hls").ends(6) == ()
    skew.advance(days=31)
    assert store.repositories.history(lease.repository_id, "hls").ends(5) == ()


def test_of_conversation_includes_deliveries_posted_there(store: Storage) -> None:
    store.checkpoints.save(begin(store, "g1", number=None), StatusChange({"posted_on": 13}))
    accept(
        store,
        queued("g2", number=12),
        queued("g3", number=13, repository="octo/docs", repository_id=2),
    )
    accept(store, queued("g4", number=13))
    assert [row.guid for row in store.deliveries.of_conversation("octo/widgets", 13)] == [
        "g1",
        "g4",
    ]


# Settings files, and the delivery that reports their problems


GOOD = StoredFile("c0ffee", "enabled: true\n", valid_version="c0ffee", valid_text="enabled: true\n")
MISSING = StoredFile(version=None, text=None)


def test_file_is_separate_by_repository_and_account(store: Storage) -> None:
    store.repository_files.save(begin(store, "g1"), 1, "octo/hello", "hls", GOOD)
    assert store.repository_files.find("hls", 2) == {}
    assert store.repository_files.find("another", 1) == {}


def test_find_by_name_ignores_case_and_follows_a_rename(store: Storage) -> None:
    lease = begin(store, "g1")
    store.repository_files.save(lease, 1, "Octo/Hello", "hls", GOOD)
    assert (store.repository_files.find_by_name("octo/HELLO") or MISSING).version == "c0ffee"
    store.repository_files.save(lease, 1, "octo/renamed", "hls", GOOD)
    assert store.repository_files.find_by_name("octo/hello") is None
    assert (store.repository_files.find_by_name("octo/renamed") or MISSING).version == "c0ffee"


def test_report_of_a_version_is_claimed_by_one_delivery(store: Storage) -> None:
    first, second = begin(store, "g1", number=1), begin(store, "g2", number=2)
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert not store.repository_files.claim_report(second, 1, "hls", "bad")
    assert store.repository_files.claim_report(first, 1, "hls", "bad")
    assert store.repository_files.claim_report(second, 1, "hls", "worse")
    assert store.repository_files.claim_report(second, 2, "hls", "bad")


def cart(number: int, *labels: str, body: str = "The cart is empty after login.") -> Issue:
    return replace(
        ISSUE, number=number, title="Empty cart", body=body, labels=tuple(map(Label, labels))
    )


def save_issues(store: Storage, lease: Lease, *issues: Issue) -> None:
    for one in issues:
        store.repositories.save(lease, HistoryUpdate(issue=one))


def find_similar(store: Storage, lease: Lease, number: int, *labels: str) -> list[int]:
    history = store.repositories.history(lease.repository_id, "hls")
    return [
        one.number
        for one in history.similar_issues(number, "Cart lost", "It is empty after login", labels)
    ]


def test_similar_issues_are_older_and_share_a_label_if_both_have_labels(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    others = [
        replace(ISSUE, number=number, title=f"Something {number}", body="Else.")
        for number in range(60, 70)
    ]
    save_issues(
        store,
        lease,
        cart(5, "bug"),
        cart(6),
        cart(7, "bug"),
        cart(8, "cli", "bug"),
        cart(9, "cli"),
        *others,
    )
    assert sorted(find_similar(store, lease, 50)) == [5, 6, 7, 8, 9]
    assert sorted(find_similar(store, lease, 50, "bug")) == [5, 6, 7, 8]
    assert sorted(find_similar(store, lease, 7, "bug")) == [5, 6]


def test_newer_issues_and_those_with_other_labels_hide_no_similar_one(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    cli, *copies = [
        cart(number, "cli", body="Lost: it is empty after login.") for number in range(10, 40)
    ]
    newer = [replace(one, number=one.number + 50, labels=(Label("bug"),)) for one in copies]
    save_issues(store, lease, *copies, *newer, replace(cli, number=5, labels=(Label("bug"),)))
    assert find_similar(store, lease, 50, "bug") == [5]


def test_similar_issues_are_of_the_same_repository(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    save_issues(store, lease, cart(5), replace(ISSUE, number=6))
    other = begin(store, "g2", number=7, repository_id=2, repository="octo/other")
    assert find_similar(store, lease, 50) == [5]
    assert find_similar(store, other, 50) == []
