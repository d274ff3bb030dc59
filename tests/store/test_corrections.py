"""Label corrections: recorded once, counted for the prompt, visible only to their repository."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.analysis import IssueResponse, Reply, Usage
from hls_handler.deliveries import Lease
from hls_handler.github.labels import LabelOrigin
from hls_handler.handlers.reader import CorrectedLabel
from hls_handler.store.corrections import (
    AppliedLabel,
    CorrectionResult,
    FieldFeedback,
    ShownLabels,
    feedback_in,
)
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, begin, finish, ignored, open_history, record_reply

PROMPT = "issues/analyze@3f9c2a"
GROUPS = {
    "bug": "kind",
    "question": "kind",
    "priority-high": "priority",
    "priority-low": "priority",
}
ORIGINS = {"bug": LabelOrigin("kind", PROMPT), "priority-high": LabelOrigin("priority", PROMPT)}
ANSWER = IssueResponse(worth_saying=True, sources=[], answer="A crash.", certain=False)
HIGH = AppliedLabel("priority", "priority-high", PROMPT, None)


def set_labels(store: Storage, lease: Lease, *names: str) -> None:
    """Set labels that replies requested, as `github.writer` does."""
    history = open_history(store, lease, "hls")
    history.change_labels(names, "intended", ORIGINS)
    history.change_labels(names, "set")


def record_change(
    store: Storage,
    lease: Lease,
    *shown: str,
    field: str = "priority",
    title: str = "Crash",
    pull_request: bool = False,
    identity: str = "hls",
) -> CorrectionResult:
    """Record a person's change of a label of `field`, after which the conversation has the labels
    `shown`.
    """
    labels = ShownLabels(shown, title, pull_request, GROUPS)
    return store.corrections.record_change(lease, identity, field, labels, at=lease.received_at)


def record_current(store: Storage, lease: Lease, *shown: str) -> CorrectionResult:
    return store.corrections.record_current(
        lease, "hls", ShownLabels(shown, "Crash", False, GROUPS)
    )


def set_bug_and_priority(store: Storage, skew: Skew, number: int = 7) -> None:
    """Finish a delivery that set the labels bug and priority-high."""
    lease = begin(store, f"opened-{number}", number=number)
    set_labels(store, lease, "bug", "priority-high")
    finish(store, lease)
    skew.advance(seconds=1)


def begin_later(store: Storage, guid: str = "g2", number: int = 7) -> Lease:
    return begin(store, guid, number=number)


def feedback(store: Storage) -> dict[str, dict[str, FieldFeedback]]:
    return feedback_in(store.statistics.counters())


def test_requested_labels_are_counted_when_they_are_set(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    history = open_history(store, lease, "hls")
    history.change_labels(["bug", "priority-high", "size/small"], "intended", ORIGINS)
    assert feedback(store) == {}
    history.change_labels(["bug"], "set")
    assert feedback(store) == {PROMPT: {"kind": FieldFeedback(1, 0)}}
    history.change_labels(["bug", "priority-high", "size/small"], "set")
    assert feedback(store) == {
        PROMPT: {"kind": FieldFeedback(1, 0), "priority": FieldFeedback(1, 0)}
    }


def test_correction_recorded_twice_counts_once(store: Storage, skew: Skew) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    record_change(store, lease, "bug")
    assert record_current(store, lease, "bug") == CorrectionResult(2, ())
    assert record_change(store, lease, "bug") == CorrectionResult(1, ())
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)


def test_correction_remains_after_the_bot_removes_its_label(store: Storage, skew: Skew) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    record_change(store, lease, "bug", "priority-high", "priority-low")
    open_history(store, lease, "hls").change_labels(["priority-high"], None)
    assert record_current(store, lease, "bug", "priority-low") == CorrectionResult(2, ())
    assert record_current(store, lease, "bug", "priority-high").changed == (HIGH,)


def test_removal_by_the_bot_is_no_correction(store: Storage, skew: Skew) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    history = open_history(store, lease, "hls")
    history.change_labels(["priority-high"], "intended")
    assert record_current(store, lease, "bug") == CorrectionResult(1, ())
    history.change_labels(["priority-high"], None)
    assert record_current(store, lease, "bug") == CorrectionResult(1, ())
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 0)


def test_record_current_ignores_labels_after_a_change_by_a_bot(store: Storage, skew: Skew) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    accept(store, ignored("bot", number=7, action="unlabeled", reason_kind="other bot"))
    assert record_current(store, lease) == CorrectionResult(0, ())
    assert record_change(store, lease, "bug") == CorrectionResult(
        1, (replace(HIGH, corrected_to=""),)
    )


def test_corrected_delivery_is_the_one_whose_reply_set_the_label(
    store: Storage, skew: Skew
) -> None:
    for guid in ("first", "second"):
        lease = begin(store, guid, number=7)
        record_reply(store, lease, Reply(PROMPT, "issue_response", ANSWER, Usage("m")))
        skew.advance(seconds=1)
        if guid == "first":
            set_labels(store, lease, "bug", "priority-high")
        finish(store, lease)
        skew.advance(seconds=1)
    record_change(store, begin_later(store, "changed"), "bug")
    (corrected,) = store.corrections.newest_of_prompt("issues/analyze", limit=2)
    assert (corrected.row.guid, corrected.labels) == (
        "first",
        (replace(HIGH, corrected_to=""),),
    )


def test_only_the_newest_corrected_deliveries_are_returned(store: Storage, skew: Skew) -> None:
    for number in (1, 2, 3):
        lease = begin(store, f"opened-{number}", number=number)
        record_reply(store, lease, Reply(PROMPT, "issue_response", ANSWER, Usage("m")))
        set_labels(store, lease, "priority-high")
        finish(store, lease)
        skew.advance(seconds=1)
        record_change(store, begin_later(store, f"changed-{number}", number))
        skew.advance(seconds=1)
    newest = store.corrections.newest_of_prompt("issues/analyze", limit=2)
    assert [corrected.row.guid for corrected in newest] == ["opened-3", "opened-2"]


def test_corrections_returns_one_for_each_issue_newest_first(store: Storage, skew: Skew) -> None:
    for number in (1, 2, 3):
        set_bug_and_priority(store, skew, number)
        lease = begin_later(store, f"changed-{number}", number)
        record_change(store, lease, "bug", title=f"Issue {number}")
        finish(store, lease)
        skew.advance(minutes=1)
    lease = begin_later(store, "again", 1)
    record_change(store, lease, "question", field="kind", title="Issue 1, renamed")
    assert store.repositories.history(lease.repository_id, "hls").issue(
        1, "issues", most_corrections=6
    )[1] == (
        CorrectedLabel("kind", "bug", "question", "Issue 1, renamed"),
        CorrectedLabel("priority", "priority-high", "", "Issue 3"),
        CorrectedLabel("priority", "priority-high", "", "Issue 2"),
    )
    assert (
        len(
            store.repositories.history(lease.repository_id, "hls").issue(
                1, "issues", most_corrections=2
            )[1]
        )
        == 2
    )


def test_rule_11_corrections_are_separate_by_repository_and_account(
    store: Storage, skew: Skew
) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    record_change(store, lease, "bug")
    other = begin(store, "g3", number=7, repository_id=2, repository="octo/other")
    assert (
        store.repositories.history(other.repository_id, "hls").issue(
            1, "issues", most_corrections=6
        )[1]
        == ()
    )
    assert (
        store.repositories.history(lease.repository_id, "somebody").issue(
            1, "issues", most_corrections=6
        )[1]
        == ()
    )
    assert record_change(store, lease, "bug", identity="somebody") == CorrectionResult(0, ())


def test_corrections_of_pull_requests_are_counted_but_not_returned(
    store: Storage, skew: Skew
) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    record_change(store, lease, "bug", pull_request=True)
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)
    assert (
        store.repositories.history(lease.repository_id, "hls").issue(
            1, "issues", most_corrections=6
        )[1]
        == ()
    )


def test_rule_10_title_is_truncated_and_redacted(store: Storage, skew: Skew) -> None:
    set_bug_and_priority(store, skew)
    lease = begin_later(store)
    token = "ghp_" + "a1" * 18
    record_change(store, lease, "bug", title=f"Login fails with {token} {'!' * 200}")
    (correction,) = store.repositories.history(lease.repository_id, "hls").issue(
        1, "issues", most_corrections=6
    )[1]
    assert token not in correction.title
    assert correction.title.startswith("Login fails with ")
    assert len(correction.title) == 120
