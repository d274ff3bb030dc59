"""Accepting deliveries: each GUID and each body is processed once, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hls_handler.deliveries import Accepted, Checkpoint, NewDelivery
from hls_handler.store.calls import QuestionTexts
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    SAME_BODY,
    Skew,
    accept,
    begin,
    claim,
    finish,
    ignored,
    nothing_is_due,
    push,
    queued,
    reschedule,
    row_of,
    start_call,
    state_of,
)


def test_accept_stores_all_fields_and_the_body(store: Storage) -> None:
    special = 'ä\U0001f600"{},\\ NULL'
    accept(
        store,
        queued("g2", repository_id=2**62, head_sha=special),
        queued("g1", number=7, head_sha="abc", priority=2),
    )
    assert (row_of(store, "g2").repository_id, row_of(store, "g2").head_sha) == (2**62, special)
    row = row_of(store, "g1")
    assert (row.event, row.action, row.repository_id, row.repository) == (
        "issues",
        "opened",
        1,
        "octo/widgets",
    )
    assert (row.number, row.head_sha, row.priority) == (7, "abc", 2)
    assert (row.request_id, row.attempt, row.failures, row.finished_at) == (
        "request-g1",
        0,
        0,
        None,
    )
    assert store.deliveries.body("g1") == b'{"delivery": "g1"}'
    assert store.now() - row.received_at < timedelta(minutes=1)


def test_batch_returns_results_in_its_order(store: Storage) -> None:
    accept(store, queued("g2"))
    answers = accept(
        store, queued("g1"), queued("g2"), ignored("g3"), queued("g4", body=b'{"delivery": "g1"}')
    )
    assert answers == [
        Accepted("queued", "queued", "g1"),
        Accepted("duplicate", "queued", "g2"),
        Accepted("ignored", "ignored", "g3", "not enabled in settings.yaml:3"),
        Accepted("replay", "queued", "g1"),
    ]


def test_redelivered_dead_letter_runs_again_with_its_checkpoints(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    store.checkpoints.save(lease, Checkpoint("ask", 0, 1, '{"kind": "bug"}'))
    reschedule(store, lease, failed=True, counts=True)
    finish(store, claim(store), "dead")
    assert accept(store, queued("g1", number=7, request_id="again")) == [
        Accepted("queued", "queued", "g1")
    ]
    again = claim(store)
    assert (again.guid, again.request_id, again.attempt) == ("g1", "again", 3)
    assert (again.attempts, again.failures, again.crashes, again.first_failure_at) == (
        0,
        0,
        0,
        None,
    )
    assert store.checkpoints.load(again.guid) == {
        ("ask", 0): Checkpoint("ask", 0, 1, '{"kind": "bug"}')
    }


@pytest.mark.parametrize(
    "other",
    [
        {"body": b"{}"},
        {"repository_id": 2, "repository": "evil/pub"},
        {"number": 8},
        {"event": "pull_request"},
    ],
    ids=["body", "repository", "number", "event"],
)
def test_rule_2_other_delivery_with_the_guid_does_not_replace_a_dead_letter(
    store: Storage, other: dict[str, Any]
) -> None:
    accept(store, queued("g1", number=7))
    finish(store, claim(store), "dead")
    assert accept(store, queued("g1", **({"number": 7} | other))) == [
        Accepted("duplicate", "dead", "g1")
    ]
    stored = row_of(store, "g1")
    assert (stored.state, stored.repository, stored.number) == ("dead", "octo/widgets", 7)


def test_redelivered_ignored_delivery_can_be_queued(store: Storage) -> None:
    accept(store, ignored("g1"))
    assert accept(store, queued("g1", body=b"{}")) == [Accepted("queued", "queued", "g1")]
    row = row_of(store, "g1")
    assert (row.state, row.reason, row.reason_kind, row.finished_at) == ("queued", None, None, None)
    assert claim(store).body == b"{}"


def test_dead_letter_that_is_ignored_now_loses_its_questions_with_its_body(store: Storage) -> None:
    lease = begin(store, "g1")
    start_call(store, lease, question=QuestionTexts(b"1", "You review.", "{}", "It crashes."))
    finish(store, lease, "dead")
    assert store.questions.find("g1", b"1") is not None
    assert accept(store, ignored("g1"))[0].outcome == "ignored"
    assert nothing_is_due(store)
    assert (store.deliveries.body("g1"), store.questions.find("g1", b"1")) == (None, None)


def test_ignored_delivery_is_stored_without_body_and_digest(store: Storage) -> None:
    accept(store, ignored("g1", digest=b"d" * 32, **SAME_BODY))
    assert store.deliveries.body("g1") is None
    assert accept(store, queued("g2", digest=b"d" * 32, **SAME_BODY))[0].outcome == "queued"


def test_replay_is_detected_only_within_the_replay_window(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1", **SAME_BODY))
    skew.advance(hours=71)
    assert accept(store, queued("g2", **SAME_BODY))[0].outcome == "replay"
    skew.advance(hours=2)
    assert accept(store, queued("g3", **SAME_BODY))[0].outcome == "queued"


def test_replay_window_of_zero_detects_no_replay(store: Storage) -> None:
    batches = [[queued("g1", **SAME_BODY), queued("g2", **SAME_BODY)], [queued("g3", **SAME_BODY)]]
    outcomes = [
        answer.outcome
        for batch in batches
        for answer in store.queue.accept(batch, finds_replays=False)
    ]
    assert outcomes == ["queued", "queued", "queued"]


def test_redelivered_dead_letter_restarts_the_replay_window(store: Storage, skew: Skew) -> None:
    finish(store, begin(store, "g1", **SAME_BODY), "dead")
    skew.advance(hours=100)
    assert accept(store, queued("g1", **SAME_BODY))[0].outcome == "queued"
    assert accept(store, queued("g2", **SAME_BODY))[0].outcome == "replay"


PUSH = push("new", "bbb")
PUSH_READ_LATE = push("new", "bbb", request_id="caught-up:2")
CLOSING = queued("new", number=7, action="closed", supersedes="all")
CLOSING_READ_LATE = queued(
    "new", number=7, action="closed", supersedes="all", request_id="caught-up:2"
)
REQUESTED_REVIEW = push("new", "aaa", supersedes="pushes", request_id="requested:1")
CONCLUSION = push("new", "aaa", supersedes="conclusions", request_id="requested:conclude:2")
COMMENT = queued("old", number=7, event="issue_comment", head_sha="aaa")


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        (push("old", "aaa"), PUSH, "superseded"),
        (push("old", "aaa", action="edited", supersedes="nothing"), PUSH, "superseded"),
        (push("old", "bbb"), PUSH, "queued"),
        (push("old", "aaa", number=8), PUSH, "queued"),
        (COMMENT, PUSH, "queued"),
        (push("old", "aaa", request_id="caught-up:1"), PUSH, "superseded"),
        (push("old", "aaa", request_id="caught-up:1"), PUSH_READ_LATE, "superseded"),
        (push("old", "ccc"), PUSH_READ_LATE, "queued"),
        (COMMENT, CLOSING, "superseded"),
        (queued("old", number=7, is_command=True), CLOSING, "queued"),
        (queued("old", number=7, request_id="caught-up:1"), CLOSING_READ_LATE, "superseded"),
        (queued("old", number=7, action="reopened"), CLOSING_READ_LATE, "queued"),
        (queued("old", number=7, action="reopened"), CLOSING, "queued"),
        (push("old", "aaa"), REQUESTED_REVIEW, "superseded"),
        (COMMENT, REQUESTED_REVIEW, "queued"),
        (push("old", "aaa", request_id="requested:conclude:1"), CONCLUSION, "superseded"),
        (push("old", "aaa"), CONCLUSION, "queued"),
    ],
)
def test_newer_event_supersedes_queued_deliveries_that_it_makes_unnecessary(
    store: Storage, old: NewDelivery, new: NewDelivery, state: str
) -> None:
    accept(store, old)
    accept(store, new)
    assert state_of(store, "old") == state


def test_superseded_delivery_names_the_newer_one_and_is_counted(store: Storage) -> None:
    accept(store, push("old", "aaa"))
    accept(store, PUSH)
    row, counters = row_of(store, "old"), store.statistics.counters()
    assert (
        row.reason == "a newer commit, bbb, was pushed before this delivery started (delivery new)"
    )
    assert row.finished_at is not None
    assert counters["outcome", "superseded"] == 1


def test_push_supersedes_earlier_pushes_of_its_batch(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "bbb"), push("g3", "aaa"))
    assert [state_of(store, guid) for guid in ("g1", "g2", "g3")] == [
        "superseded",
        "superseded",
        "queued",
    ]


def test_redelivered_older_push_does_not_supersede_newer_delivery(store: Storage) -> None:
    accept(store, push("g1", "aaa"))
    finish(store, claim(store), "dead")
    accept(store, push("g2", "bbb"))
    accept(store, push("g1", "aaa"))
    assert [state_of(store, guid) for guid in ("g1", "g2")] == ["queued", "queued"]


def test_duplicate_supersedes_nothing(store: Storage) -> None:
    accept(store, push("g1", "bbb", supersedes="nothing"), push("g2", "aaa", supersedes="nothing"))
    accept(store, push("g2", "aaa"))
    assert state_of(store, "g1") == "queued"


def test_characters_that_cannot_be_stored_are_replaced(store: Storage) -> None:
    accept(store, queued("g1", action="nul\x00 half\ud800", repository="octo/w"))
    row = row_of(store, "g1")
    assert row.action == "nul\ufffd half?"


def test_results_of_accept_are_counted(store: Storage) -> None:
    accept(
        store,
        queued("g1"),
        queued("g1"),
        ignored("g2", action=None),
        queued("g3", body=b'{"delivery": "g1"}'),
    )
    assert store.statistics.counters() == {
        ("webhooks", ""): 4,
        ("event", "issues.opened"): 3,
        ("event", "issues"): 1,
        ("stored", ""): 2,
        ("outcome", "duplicate"): 1,
        ("outcome", "replay"): 1,
        ("outcome", "ignored"): 1,
        ("ignored", "event not enabled"): 1,
    }
