"""Accepting deliveries: each GUID and each body is processed once, and nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from hls_handler.deliveries import Accepted, Checkpoint, NewDelivery
from hls_handler.storage import Storage
from tests.queue.builders import (
    SAME_BODY,
    Skew,
    accept,
    begin,
    claim,
    dead_letter,
    find_newer,
    ignored,
    newest,
    nothing_is_due,
    push,
    queued,
    state_of,
)


def test_accept_stores_all_fields_and_the_body(store: Storage) -> None:
    new = queued("g1", number=7, head_sha="abc", priority=2)
    assert accept(store, new) == [Accepted("queued", "queued", "g1")]
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.event, row.action, row.repository_id, row.repository) == ("issues", "opened", 1, "octo/widgets")
    assert (row.number, row.head_sha, row.priority) == (7, "abc", 2)
    assert (row.request_id, row.attempt, row.failures, row.finished_at) == ("request-g1", 0, 0, None)
    assert store.deliveries.body("g1") == b'{"delivery": "g1"}'
    assert store.now() - row.received_at < timedelta(minutes=1)


def test_batch_stores_large_numbers_and_special_characters(store: Storage) -> None:
    special = 'ä\U0001f600"{},\\ NULL'
    accept(store, queued("g1", head_sha="abc"), queued("g2", repository_id=2**62, head_sha=special))
    rows = [store.deliveries.find(guid) for guid in ("g1", "g2")]
    assert [(row.repository_id, row.head_sha) for row in rows if row] == [(1, "abc"), (2**62, special)]


def test_batch_returns_results_in_its_order(store: Storage) -> None:
    accept(store, queued("g2"))
    answers = accept(store, queued("g1"), queued("g2"), ignored("g3"), queued("g4", body=b'{"delivery": "g1"}'))
    assert answers == [
        Accepted("queued", "queued", "g1"),
        Accepted("duplicate", "queued", "g2"),
        Accepted("ignored", "ignored", "g3", "not enabled in settings.yaml:3"),
        Accepted("replay", "queued", "g1"),
    ]


def test_duplicate_returns_the_state_of_the_first_delivery(store: Storage) -> None:
    lease = begin(store, "g1")
    assert accept(store, queued("g1")) == [Accepted("duplicate", "running", "g1")]
    store.queue.finish(lease, "done", reason=None, took_s=1)
    assert accept(store, queued("g1")) == [Accepted("duplicate", "done", "g1")]


def test_guid_twice_in_one_batch_is_stored_once(store: Storage) -> None:
    first, second = accept(store, queued("g1"), queued("g1"))
    assert (first.outcome, second.outcome) == ("queued", "duplicate")
    assert [row.guid for row in newest(store)] == ["g1"]


def test_redelivered_dead_letter_runs_again_with_its_checkpoints(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    store.checkpoints.save(lease, Checkpoint("ask", 0, 1, '{"kind": "bug"}'))
    store.queue.reschedule(lease, at=store.now(), reason="422", failed=True, counts=True)
    store.queue.dead_letter(claim(store), reason="issue is locked")
    assert accept(store, queued("g1", number=7, request_id="again")) == [Accepted("queued", "queued", "g1")]
    again = claim(store)
    assert (again.guid, again.request_id, again.attempt) == ("g1", "again", 3)
    assert (again.attempts, again.failures, again.crashes, again.first_failure_at) == (0, 0, 0, None)
    assert store.checkpoints.load(again.guid) == {("ask", 0): Checkpoint("ask", 0, 1, '{"kind": "bug"}')}


@pytest.mark.parametrize(
    "other",
    [{"body": b"{}"}, {"repository_id": 2, "repository": "evil/pub"}, {"number": 8}, {"event": "pull_request"}],
    ids=["body", "repository", "number", "event"],
)
def test_rule_2_other_delivery_with_the_guid_does_not_replace_a_dead_letter(
    store: Storage, other: dict[str, Any]
) -> None:
    accept(store, queued("g1", number=7))
    store.queue.dead_letter(claim(store), reason="failed")
    assert accept(store, queued("g1", **({"number": 7} | other))) == [Accepted("duplicate", "dead", "g1")]
    stored = store.deliveries.find("g1")
    assert stored is not None
    assert (stored.state, stored.repository, stored.number) == ("dead", "octo/widgets", 7)


def test_rule_2_other_delivery_with_the_guid_does_not_replace_an_ignored_one(store: Storage) -> None:
    accept(store, ignored("g1", number=7))
    assert accept(store, queued("g1", number=7, repository_id=2)) == [Accepted("duplicate", "ignored", "g1")]


def test_redelivered_ignored_delivery_can_be_queued(store: Storage) -> None:
    accept(store, ignored("g1"))
    assert accept(store, queued("g1", body=b"{}")) == [Accepted("queued", "queued", "g1")]
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.state, row.reason, row.reason_kind, row.finished_at) == ("queued", None, None, None)
    assert claim(store).body == b"{}"


def test_redelivered_dead_letter_can_be_ignored(store: Storage) -> None:
    dead_letter(store, "g1")
    assert accept(store, ignored("g1"))[0].outcome == "ignored"
    assert nothing_is_due(store)
    assert store.deliveries.body("g1") is None


def test_ignored_delivery_is_stored_without_body_and_digest(store: Storage) -> None:
    accept(store, ignored("g1", digest=b"d" * 32, **SAME_BODY))
    assert store.deliveries.body("g1") is None
    assert accept(store, queued("g2", digest=b"d" * 32, **SAME_BODY))[0].outcome == "queued"


@pytest.mark.parametrize("state", ["queued", "running", "done", "dead", "superseded"])
def test_same_body_with_another_guid_is_a_replay_in_every_state(store: Storage, state: str) -> None:
    accept(store, push("g1", "aaa", **SAME_BODY))
    if state == "superseded":
        accept(store, push("g3", "bbb"))
    elif state != "queued":
        lease = claim(store)
        if state == "done":
            store.queue.finish(lease, "done", reason=None, took_s=1)
        elif state == "dead":
            store.queue.dead_letter(lease, reason="locked")
    answers = accept(store, queued("g2", **SAME_BODY))
    assert [(a.outcome, a.state, a.guid) for a in answers] == [("replay", state, "g1")]
    assert store.deliveries.find("g2") is None


def test_replay_is_detected_only_within_the_replay_window(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1", **SAME_BODY))
    skew.advance(hours=71)
    assert accept(store, queued("g2", **SAME_BODY))[0].outcome == "replay"
    skew.advance(hours=2)
    assert accept(store, queued("g3", **SAME_BODY))[0].outcome == "queued"


@pytest.mark.parametrize("names", [{"number": None}, {"repository": None}, {"repository": None, "number": None}])
def test_replay_is_detected_without_a_conversation_or_repository(store: Storage, names: Mapping[str, None]) -> None:
    accept(store, queued("other"), queued("g1", **{**SAME_BODY, **names}))
    answers = accept(store, queued("g2", **{**SAME_BODY, **names}), queued("g3"))
    assert [(a.outcome, a.guid) for a in answers] == [("replay", "g1"), ("queued", "g3")]


@pytest.mark.parametrize("repository", ["nul\x00", "half\ud800"])
def test_repository_name_that_cannot_be_stored_fails_neither_batch_nor_replay_check(
    store: Storage, repository: str
) -> None:
    names = {**SAME_BODY, "repository": repository}
    answers = accept(store, queued("g1", **names)) + accept(store, queued("g2", **names), queued("g3"))
    assert [(a.outcome, a.guid) for a in answers] == [("queued", "g1"), ("replay", "g1"), ("queued", "g3")]


def test_replay_window_of_zero_detects_no_replay(store: Storage) -> None:
    batches = [[queued("g1", **SAME_BODY), queued("g2", **SAME_BODY)], [queued("g3", **SAME_BODY)]]
    outcomes = [answer.outcome for batch in batches for answer in store.queue.accept(batch, replay_window_h=0)]
    assert outcomes == ["queued", "queued", "queued"]


def test_redelivered_dead_letter_restarts_the_replay_window(store: Storage, skew: Skew) -> None:
    store.queue.dead_letter(begin(store, "g1", **SAME_BODY), reason="issue is locked")
    skew.advance(hours=100)
    assert accept(store, queued("g1", **SAME_BODY))[0].outcome == "queued"
    assert accept(store, queued("g2", **SAME_BODY))[0].outcome == "replay"


def test_newer_push_supersedes_queued_deliveries_of_older_commits(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "aaa", action="edited", supersedes="nothing"))
    accept(store, push("g3", "bbb"))
    assert {guid: state_of(store, guid) for guid in ("g1", "g2", "g3")} == {
        "g1": "superseded",
        "g2": "superseded",
        "g3": "queued",
    }
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.reason == "a newer commit, bbb, was pushed before this delivery started (delivery g3)"
    assert row.finished_at is not None


def test_push_supersedes_earlier_pushes_of_its_batch(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "bbb"), push("g3", "aaa"))
    assert [state_of(store, guid) for guid in ("g1", "g2", "g3")] == ["superseded", "superseded", "queued"]


@pytest.mark.parametrize(
    "other",
    [
        push("old", "bbb"),
        push("old", "aaa", number=8),
        push("old", "aaa", repository_id=2),
        queued("old", number=7, event="issue_comment", head_sha="aaa"),
        queued("old", number=7, event="pull_request", head_sha=None),
    ],
    ids=["same commit", "other pull request", "other repository", "other event", "no commit known"],
)
def test_push_does_not_supersede_other_queued_deliveries(store: Storage, other: NewDelivery) -> None:
    accept(store, other)
    accept(store, push("new", "bbb"))
    assert state_of(store, "old") == "queued"


def test_push_does_not_change_a_running_delivery(store: Storage) -> None:
    accept(store, push("g1", "aaa"))
    lease = claim(store)
    accept(store, push("g2", "bbb"))
    assert state_of(store, "g1") == "running"
    assert find_newer(store, lease, "pull_requests/analyze").head_sha == "bbb"


def test_push_that_catch_up_read_late_supersedes_only_what_catch_up_read_before(store: Storage) -> None:
    accept(store, push("received", "ccc"))
    accept(store, push("missed-1", "aaa", request_id="caught-up:1"))
    accept(store, push("missed-2", "bbb", request_id="caught-up:2"))
    assert [state_of(store, guid) for guid in ("received", "missed-1", "missed-2")] == [
        "queued",
        "superseded",
        "queued",
    ]


def test_closing_that_catch_up_read_late_supersedes_only_what_catch_up_read_before(store: Storage) -> None:
    accept(store, queued("reopened", number=7, action="reopened"))
    accept(store, queued("missed-1", number=7, request_id="caught-up:1"))
    accept(store, queued("missed-2", number=7, request_id="caught-up:2", action="closed", supersedes="all"))
    assert [state_of(store, guid) for guid in ("reopened", "missed-1")] == ["queued", "superseded"]


def test_redelivered_older_push_does_not_supersede_newer_delivery(store: Storage) -> None:
    accept(store, push("g1", "aaa"))
    store.queue.dead_letter(claim(store), reason="locked")
    accept(store, push("g2", "bbb"))
    accept(store, push("g1", "aaa"))
    assert [state_of(store, guid) for guid in ("g1", "g2")] == ["queued", "queued"]


def test_received_push_supersedes_what_catch_up_read(store: Storage) -> None:
    accept(store, push("missed", "aaa", request_id="caught-up:1"))
    accept(store, push("received", "bbb"))
    assert state_of(store, "missed") == "superseded"


def test_closing_a_conversation_supersedes_its_queued_deliveries(store: Storage) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7, event="issue_comment"), queued("g3", number=8))
    accept(store, ignored("g4", number=7, action="closed", supersedes="all"))
    assert [state_of(store, guid) for guid in ("g1", "g2", "g3")] == ["superseded", "superseded", "queued"]
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.reason == "issues.closed ended the work on this conversation (delivery g4)"


def test_redelivered_closing_does_not_undo_a_newer_closing(store: Storage) -> None:
    closing = ignored("g1", number=7, action="closed", supersedes="all")
    accept(store, closing, push("g2", "aaa"))
    accept(store, ignored("g3", number=7, action="closed", supersedes="all"), closing)
    assert state_of(store, "g2") == "superseded"


def test_duplicate_supersedes_nothing(store: Storage) -> None:
    accept(store, push("g1", "bbb", supersedes="nothing"), push("g2", "aaa", supersedes="nothing"))
    accept(store, push("g2", "aaa"))
    assert state_of(store, "g1") == "queued"


def test_characters_that_cannot_be_stored_are_replaced(store: Storage) -> None:
    accept(store, queued("g1", action="nul\x00 half\ud800", repository="octo/w"))
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.action == "nul\ufffd half?"


def test_results_of_accept_are_counted(store: Storage) -> None:
    accept(store, queued("g1"), queued("g1"), ignored("g2", action=None), queued("g3", body=b'{"delivery": "g1"}'))
    assert store.statistics.counters() == {
        ("webhooks", ""): 4,
        ("event", "issues.opened"): 3,
        ("event", "issues"): 1,
        ("repository", "octo/widgets"): 4,
        ("outcome", "duplicate"): 1,
        ("outcome", "replay"): 1,
        ("outcome", "ignored"): 1,
        ("repository_outcome", "octo/widgets:ignored"): 1,
        ("ignored", "event not enabled"): 1,
    }


def test_superseded_deliveries_are_counted(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "aaa", supersedes="nothing"))
    accept(store, push("g3", "bbb"))
    counters = store.statistics.counters()
    assert counters["outcome", "superseded"] == 2
    assert counters["repository_outcome", "octo/widgets:superseded"] == 2


def test_further_counts_are_stored_with_the_batch(store: Storage) -> None:
    counts = {("webhooks", ""): 2, ("outcome", "pong"): 2}
    store.queue.accept([queued("g1", repository=None)], replay_window_h=72, counts=counts)
    assert store.statistics.counters() == {("webhooks", ""): 3, ("event", "issues.opened"): 1, ("outcome", "pong"): 2}
