"""What people made of our labels: noted once, counted for the prompt, shown to the repository alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hls_handler.deliveries import Lease
from hls_handler.errors import LeaseLost
from hls_handler.handlers.labels import AppliedLabel, LabelOrigin
from hls_handler.handlers.reader import Correction
from hls_handler.history.corrections import CorrectionResult, FieldFeedback, feedback_in
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, claim, ignored, queued

PROMPT = "issues/analyze@3f9c2a"
FIELDS = {"bug": "kind", "question": "kind", "priority-high": "priority", "priority-low": "priority"}
ORIGINS = {"bug": LabelOrigin("kind", PROMPT), "priority-high": LabelOrigin("priority", PROMPT)}
HIGH = AppliedLabel("priority", "priority-high", PROMPT, None)


def label(
    store: Storage, lease: Lease, *names: str, origins: Mapping[str, LabelOrigin] = ORIGINS, identity: str = "hls"
) -> None:
    """Set labels as replies ask for them, as `clients.labels` does it."""
    memory = store.conversations.history(lease, identity)
    memory.record_label_intents(names, origins)
    memory.mark_labels_set(names)


def hear(
    store: Storage,
    lease: Lease,
    *shown: str,
    field: str = "priority",
    title: str = "Crash",
    pull_request: bool = False,
    identity: str = "hls",
) -> CorrectionResult:
    """A person's change of a label of the field, after which the thread has these."""
    feedback = store.corrections.of(lease, identity)
    return feedback.record_change(
        field, shown, at=lease.received_at, title=title, pull_request=pull_request, fields=FIELDS
    )


def look(store: Storage, lease: Lease, *shown: str) -> CorrectionResult:
    return store.corrections.of(lease, "hls").record_current(shown, title="Crash", pull_request=False, fields=FIELDS)


def labelled(store: Storage, skew: Skew, number: int = 7, **other: object) -> None:
    """A thread on which bug and priority-high are ours, and whose delivery is done."""
    lease = begin(store, f"opened-{number}", number=number, **other)
    label(store, lease, "bug", "priority-high")
    store.queue.finish(lease, "done", reason=None, took_s=1)
    skew.pass_by(seconds=1)


def later(store: Storage, guid: str = "g2", number: int = 7, **other: object) -> Lease:
    return begin(store, guid, number=number, **other)


def feedback(store: Storage) -> dict[str, dict[str, FieldFeedback]]:
    return feedback_in(store.statistics.counters())


def test_labels_that_replies_asked_for_are_counted_once_they_are_set(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    memory = store.conversations.history(lease, "hls")
    memory.record_label_intents(["bug", "priority-high", "size/small"], ORIGINS)
    assert feedback(store) == {}
    memory.mark_labels_set(["bug", "priority-high", "size/small"])
    memory.mark_labels_set(["bug"])
    assert feedback(store) == {PROMPT: {"kind": FieldFeedback(1, 0), "priority": FieldFeedback(1, 0)}}


def test_a_label_whose_removal_came_to_nothing_is_not_counted_as_set_again(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    label(store, lease, "bug")
    store.conversations.history(lease, "hls").record_label_intents(["bug"])
    store.conversations.history(lease, "hls").mark_labels_set(["bug"])
    assert feedback(store) == {PROMPT: {"kind": FieldFeedback(1, 0)}}


def test_a_label_that_a_person_changes_is_a_correction(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    noted = hear(store, later(store), "bug", "priority-low")
    assert noted == CorrectionResult(1, (replace(HIGH, became="priority-low"),))
    assert feedback(store)[PROMPT] == {"kind": FieldFeedback(1, 0), "priority": FieldFeedback(1, 1)}


def test_a_correction_that_is_noticed_in_both_ways_is_one(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug")
    assert look(store, lease, "bug") == CorrectionResult(2, ())
    assert hear(store, lease, "bug") == CorrectionResult(1, ())
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)


def test_what_is_seen_on_the_thread_is_noted_for_all_fields(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    assert look(store, later(store), "question") == CorrectionResult(
        2, (AppliedLabel("kind", "bug", PROMPT, "question"), replace(HIGH, became=""))
    )


def test_another_label_in_place_of_the_first_does_not_count_twice(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug")
    hear(store, lease, "bug", "priority-low")
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)
    assert store.repositories.record(lease, "hls").corrections(most=6) == (
        Correction("priority", "priority-high", "priority-low", "Crash"),
    )


def test_whoever_takes_back_a_change_has_corrected_nothing(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug", "priority-low")
    assert hear(store, lease, "bug", "priority-high") == CorrectionResult(1, (HIGH,))
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 0)
    assert store.repositories.record(lease, "hls").corrections(most=6) == ()
    hear(store, lease, "bug")
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)


def test_a_correction_stays_when_we_take_our_label_away_after_it(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug", "priority-high", "priority-low")
    store.conversations.history(lease, "hls").delete_labels(["priority-high"])
    assert look(store, lease, "bug", "priority-low") == CorrectionResult(2, ())
    assert look(store, lease, "bug", "priority-high").changed == (HIGH,)


def test_our_own_removal_is_no_correction(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    memory = store.conversations.history(lease, "hls")
    memory.record_label_intents(["priority-high"])
    assert look(store, lease, "bug") == CorrectionResult(1, ())
    memory.delete_labels(["priority-high"])
    assert look(store, lease, "bug") == CorrectionResult(1, ())
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 0)


def test_what_happened_before_we_set_the_label_is_not_about_it(store: Storage, skew: Skew) -> None:
    opened = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    skew.pass_by(seconds=1)
    label(store, opened, "priority-high")
    store.queue.finish(opened, "done", reason=None, took_s=1)
    assert hear(store, claim(store)) == CorrectionResult(0, ())


def test_a_label_of_ours_that_is_older_than_a_month_is_not_judged_any_more(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    skew.pass_by(days=29)
    lease = later(store, "g2")
    hear(store, lease, "bug")
    store.queue.finish(lease, "done", reason=None, took_s=1)
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)
    skew.pass_by(days=1)
    assert hear(store, later(store, "g3"), "bug", "priority-high") == CorrectionResult(0, ())
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)


def test_labels_of_facts_and_those_from_before_we_kept_whose_they_are_are_not_judged(
    store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g1", number=7)
    label(store, lease, "bug", "priority-high", origins={})
    skew.pass_by(seconds=1)
    assert look(store, lease) == CorrectionResult(0, ())
    assert feedback(store) == {}


def test_what_a_bot_has_done_to_labels_is_not_taken_for_a_persons_doing(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    accept(store, ignored("bot", number=7, action="unlabeled", reason_kind="other bot"))
    assert look(store, lease) == CorrectionResult(0, ())
    assert hear(store, lease, "bug") == CorrectionResult(1, (replace(HIGH, became=""),))


@pytest.mark.parametrize(
    "other",
    [{"number": 8}, {"repository_id": 2}, {"action": "edited"}, {"reason_kind": "own account"}],
    ids=["of another thread", "of another repository", "another action", "somebody else"],
)
def test_what_a_bot_did_elsewhere_does_not_matter(store: Storage, skew: Skew, other: dict[str, object]) -> None:
    labelled(store, skew)
    lease = later(store)
    plain = {"number": 7, "action": "unlabeled", "reason_kind": "other bot"}
    accept(store, ignored("bot", **(plain | other)))
    assert look(store, lease, "bug").changed == (replace(HIGH, became=""),)


def test_the_last_corrections_are_told_one_for_each_issue_the_newest_first(store: Storage, skew: Skew) -> None:
    for number in (1, 2, 3):
        labelled(store, skew, number)
        lease = later(store, f"changed-{number}", number)
        hear(store, lease, "bug", title=f"Issue {number}")
        store.queue.finish(lease, "done", reason=None, took_s=1)
        skew.pass_by(minutes=1)
    lease = later(store, "again", 1)
    hear(store, lease, "question", field="kind", title="Issue 1, renamed")
    assert store.repositories.record(lease, "hls").corrections(most=6) == (
        Correction("kind", "bug", "question", "Issue 1, renamed"),
        Correction("priority", "priority-high", "", "Issue 3"),
        Correction("priority", "priority-high", "", "Issue 2"),
    )
    assert len(store.repositories.record(lease, "hls").corrections(most=2)) == 2


def test_rule_11_one_repository_sees_nothing_of_another_nor_one_account_of_another(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug")
    other = begin(store, "g3", number=7, repository_id=2, repository="octo/other")
    assert store.repositories.record(other, "hls").corrections(most=6) == ()
    assert store.repositories.record(lease, "somebody").corrections(most=6) == ()
    assert hear(store, lease, "bug", identity="somebody") == CorrectionResult(0, ())


def test_pull_requests_are_counted_but_are_no_examples_for_issues(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    hear(store, lease, "bug", pull_request=True)
    assert feedback(store)[PROMPT]["priority"] == FieldFeedback(1, 1)
    assert store.repositories.record(lease, "hls").corrections(most=6) == ()


def test_rule_10_a_title_is_kept_short_and_without_what_looks_like_a_credential(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    lease = later(store)
    token = "ghp_" + "a1" * 18
    hear(store, lease, "bug", title=f"Login fails with {token} {'!' * 200}")
    (correction,) = store.repositories.record(lease, "hls").corrections(most=6)
    assert token not in correction.title
    assert correction.title.startswith("Login fails with ")
    assert len(correction.title) == 120


def test_a_worker_that_lost_its_lease_notes_nothing(store: Storage, skew: Skew) -> None:
    labelled(store, skew)
    zombie = later(store)
    skew.pass_by(minutes=1)
    with pytest.raises(LeaseLost):
        hear(store, zombie, "bug")
    with pytest.raises(LeaseLost):
        look(store, zombie, "bug")
