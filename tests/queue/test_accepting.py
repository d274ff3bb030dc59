"""Accepting: each GUID and each body once, and nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from hls_handler.deliveries import Accepted, Checkpoint, NewDelivery
from hls_handler.errors import PayloadError
from hls_handler.storage import Storage
from tests.queue.builders import ALIKE, Skew, accept, begin, bury, claim, claim_nothing, ignored, push, queued, state_of


def test_an_accepted_delivery_is_kept_as_it_came(store: Storage) -> None:
    new = queued("g1", number=7, sender="mona", installation=9, head_sha="abc", priority=2)
    assert accept(store, new) == [Accepted("queued", "queued", "g1")]
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.event, row.action, row.repository_id, row.repository) == ("issues", "opened", 1, "octo/widgets")
    assert (row.number, row.sender, row.installation, row.head_sha, row.priority) == (7, "mona", 9, "abc", 2)
    assert (row.request_id, row.attempt, row.failures, row.finished_at) == ("request-g1", 0, 0, None)
    assert store.deliveries.body("g1") == b'{"delivery": "g1"}'
    assert store.now() - row.received_at < timedelta(minutes=1)


def test_a_batch_is_answered_in_its_order(store: Storage) -> None:
    accept(store, queued("g2"))
    answers = accept(store, queued("g1"), queued("g2"), ignored("g3"), queued("g4", body=b'{"delivery": "g1"}'))
    assert answers == [
        Accepted("queued", "queued", "g1"),
        Accepted("duplicate", "queued", "g2"),
        Accepted("ignored", "ignored", "g3", "not enabled in settings.yaml:3"),
        Accepted("replay", "queued", "g1"),
    ]


def test_a_redelivery_is_told_how_far_the_first_one_got(store: Storage) -> None:
    lease = begin(store, "g1")
    assert accept(store, queued("g1")) == [Accepted("duplicate", "running", "g1")]
    store.queue.finish(lease, "done", reason=None, took_s=1)
    assert accept(store, queued("g1")) == [Accepted("duplicate", "done", "g1")]


def test_a_guid_twice_in_one_batch_is_stored_once(store: Storage) -> None:
    first, second = accept(store, queued("g1"), queued("g1"))
    assert (first.outcome, second.outcome) == ("queued", "duplicate")
    assert [row.guid for row in store.deliveries.newest()] == ["g1"]


def test_a_redelivered_dead_one_runs_again_and_keeps_its_steps(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    store.checkpoints.save(lease, Checkpoint("ask", 0, 1, '{"kind": "bug"}'))
    store.queue.reschedule(lease, at=store.now(), reason="422", failed=True, counts=True)
    store.queue.dead_letter(claim(store), reason="issue is locked")
    assert accept(store, queued("g1", number=7, request_id="again")) == [Accepted("queued", "queued", "g1")]
    again = claim(store)
    assert (again.guid, again.request_id, again.attempt) == ("g1", "again", 3)
    assert (again.attempts, again.failures, again.crashes, again.first_failure_at) == (0, 0, 0, None)
    assert store.checkpoints.load(again) == {("ask", 0): Checkpoint("ask", 0, 1, '{"kind": "bug"}')}


@pytest.mark.parametrize(
    "other",
    [{"body": b"{}"}, {"repository_id": 2, "repository": "evil/pub"}, {"number": 8}, {"event": "pull_request"}],
    ids=["body", "repository", "number", "event"],
)
def test_rule_2_a_dead_one_is_not_replaced_by_another_under_its_guid(store: Storage, other: dict[str, Any]) -> None:
    accept(store, queued("g1", number=7))
    store.queue.dead_letter(claim(store), reason="failed")
    assert accept(store, queued("g1", **({"number": 7} | other))) == [Accepted("duplicate", "dead", "g1")]
    kept = store.deliveries.find("g1")
    assert kept is not None
    assert (kept.state, kept.repository, kept.number) == ("dead", "octo/widgets", 7)


def test_rule_2_an_ignored_one_is_not_replaced_by_another_under_its_guid(store: Storage) -> None:
    accept(store, ignored("g1", number=7))
    assert accept(store, queued("g1", number=7, repository_id=2)) == [Accepted("duplicate", "ignored", "g1")]


def test_a_redelivered_ignored_one_is_routed_again(store: Storage) -> None:
    accept(store, ignored("g1"))
    assert accept(store, queued("g1", body=b"{}")) == [Accepted("queued", "queued", "g1")]
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.state, row.reason, row.reason_kind, row.finished_at) == ("queued", None, None, None)
    assert claim(store).body == b"{}"


def test_a_redelivered_ignored_one_may_be_ignored_for_another_reason(store: Storage) -> None:
    accept(store, ignored("g1"))
    answer = accept(store, ignored("g1", reason="a draft", reason_kind="draft"))
    assert answer == [Accepted("ignored", "ignored", "g1", "a draft")]
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.reason == "a draft"


def test_an_ignored_one_routed_again_in_the_same_batch_is_stored_as_it_came_last(store: Storage) -> None:
    assert [a.outcome for a in accept(store, ignored("g1"), queued("g1"))] == ["ignored", "queued"]
    assert state_of(store, "g1") == "queued"


def test_a_redelivered_dead_one_may_now_be_ignored(store: Storage) -> None:
    bury(store, "g1")
    assert accept(store, ignored("g1"))[0].outcome == "ignored"
    assert claim_nothing(store)
    assert store.deliveries.body("g1") is None


def test_an_ignored_one_is_kept_without_its_body(store: Storage) -> None:
    accept(store, ignored("g1", digest=b"d" * 32, **ALIKE))
    assert store.deliveries.body("g1") is None
    assert accept(store, queued("g2", digest=b"d" * 32, **ALIKE))[0].outcome == "queued"


@pytest.mark.parametrize("ending", ["queued", "running", "done", "dead", "superseded"])
def test_a_body_under_another_id_is_a_replay_whatever_became_of_the_first(store: Storage, ending: str) -> None:
    accept(store, push("g1", "aaa", **ALIKE))
    if ending == "superseded":
        accept(store, push("g3", "bbb"))
    elif ending != "queued":
        lease = claim(store)
        if ending == "done":
            store.queue.finish(lease, "done", reason=None, took_s=1)
        elif ending == "dead":
            store.queue.dead_letter(lease, reason="locked")
    answers = accept(store, queued("g2", **ALIKE))
    assert [(a.outcome, a.state, a.guid) for a in answers] == [("replay", ending, "g1")]
    assert store.deliveries.find("g2") is None


def test_a_replay_within_the_window_is_known_and_after_it_is_not(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1", **ALIKE))
    skew.pass_by(hours=71)
    assert accept(store, queued("g2", **ALIKE))[0].outcome == "replay"
    skew.pass_by(hours=2)
    assert accept(store, queued("g3", **ALIKE))[0].outcome == "queued"


@pytest.mark.parametrize("names", [{"number": None}, {"repository": None}, {"repository": None, "number": None}])
def test_a_body_that_names_no_thread_or_no_repository_is_known_again(store: Storage, names: Mapping[str, None]) -> None:
    accept(store, queued("other"), queued("g1", **{**ALIKE, **names}))
    answers = accept(store, queued("g2", **{**ALIKE, **names}), queued("g3"))
    assert [(a.outcome, a.guid) for a in answers] == [("replay", "g1"), ("queued", "g3")]


@pytest.mark.parametrize("repository", ["nul\x00", "half\ud800"])
def test_a_repository_whose_name_no_database_holds_spoils_neither_batch_nor_replay(
    store: Storage, repository: str
) -> None:
    names = {**ALIKE, "repository": repository}
    answers = accept(store, queued("g1", **names)) + accept(store, queued("g2", **names), queued("g3"))
    assert [(a.outcome, a.guid) for a in answers] == [("queued", "g1"), ("replay", "g1"), ("queued", "g3")]


def test_without_a_window_no_body_is_a_replay(store: Storage) -> None:
    batches = [[queued("g1", **ALIKE), queued("g2", **ALIKE)], [queued("g3", **ALIKE)]]
    outcomes = [answer.outcome for batch in batches for answer in store.queue.accept(batch, replay_window_h=0)]
    assert outcomes == ["queued", "queued", "queued"]


def test_a_redelivered_dead_one_opens_the_replay_window_anew(store: Storage, skew: Skew) -> None:
    store.queue.dead_letter(begin(store, "g1", **ALIKE), reason="issue is locked")
    skew.pass_by(hours=100)
    assert accept(store, queued("g1", **ALIKE))[0].outcome == "queued"
    assert accept(store, queued("g2", **ALIKE))[0].outcome == "replay"


def test_a_newer_push_supersedes_queued_work_on_older_commits(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "aaa", action="edited", supersedes="nothing"))
    accept(store, push("g3", "bbb"))
    assert {guid: state_of(store, guid) for guid in ("g1", "g2", "g3")} == {
        "g1": "superseded",
        "g2": "superseded",
        "g3": "queued",
    }
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.reason == "a newer commit, bbb, was pushed before this one's turn came (delivery g3)"
    assert row.finished_at is not None


def test_a_push_supersedes_within_its_own_batch_what_came_before_it(store: Storage) -> None:
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
def test_a_push_leaves_other_queued_work_alone(store: Storage, other: NewDelivery) -> None:
    accept(store, other)
    accept(store, push("new", "bbb"))
    assert state_of(store, "old") == "queued"


def test_a_push_leaves_running_work_to_find_out_by_itself(store: Storage) -> None:
    accept(store, push("g1", "aaa"))
    lease = claim(store)
    accept(store, push("g2", "bbb"))
    assert state_of(store, "g1") == "running"
    assert store.queue.find_newer(lease, "pull_requests/analyze").head_sha == "bbb"


def test_a_redelivered_older_push_does_not_supersede_newer_work(store: Storage) -> None:
    accept(store, push("g1", "aaa"))
    store.queue.dead_letter(claim(store), reason="locked")
    accept(store, push("g2", "bbb"))
    accept(store, push("g1", "aaa"))
    assert [state_of(store, guid) for guid in ("g1", "g2")] == ["queued", "queued"]


def test_a_closed_thread_ends_all_its_queued_work(store: Storage) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7, event="issue_comment"), queued("g3", number=8))
    accept(store, ignored("g4", number=7, action="closed", supersedes="thread"))
    assert [state_of(store, guid) for guid in ("g1", "g2", "g3")] == ["superseded", "superseded", "queued"]
    row = store.deliveries.find("g1")
    assert row is not None
    assert row.reason == "issues.closed ended the work on this thread (delivery g4)"


def test_a_closing_that_came_again_does_not_take_the_place_of_a_newer_one(store: Storage) -> None:
    closing = ignored("g1", number=7, action="closed", supersedes="thread")
    accept(store, closing, push("g2", "aaa"))
    accept(store, ignored("g3", number=7, action="closed", supersedes="thread"), closing)
    assert state_of(store, "g2") == "superseded"


def test_a_duplicate_supersedes_nothing(store: Storage) -> None:
    accept(store, push("g1", "bbb", supersedes="nothing"), push("g2", "aaa", supersedes="nothing"))
    accept(store, push("g2", "aaa"))
    assert state_of(store, "g1") == "queued"


@pytest.mark.parametrize("field", ["repository_id", "installation", "number"])
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_that_no_database_holds_is_refused_before_anything_is_stored(
    store: Storage, field: str, number: int
) -> None:
    with pytest.raises(PayloadError, match="does not fit"):
        accept(store, queued("g1"), queued("g2", **{field: number}))
    assert store.deliveries.newest() == []


def test_text_that_no_database_holds_is_stored_with_marks_in_its_place(store: Storage) -> None:
    accept(store, queued("g1", sender="nul\x00", action="half\ud800", repository="octo/w"))
    row = store.deliveries.find("g1")
    assert row is not None
    assert (row.sender, row.action) == ("nul\ufffd", "half?")


def test_what_happens_at_the_door_is_counted(store: Storage) -> None:
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


def test_superseded_work_is_counted_where_it_ends(store: Storage) -> None:
    accept(store, push("g1", "aaa"), push("g2", "aaa", supersedes="nothing"))
    accept(store, push("g3", "bbb"))
    counters = store.statistics.counters()
    assert counters["outcome", "superseded"] == 2
    assert counters["repository_outcome", "octo/widgets:superseded"] == 2


def test_other_counts_go_into_the_same_transaction(store: Storage) -> None:
    counts = {("webhooks", ""): 2, ("outcome", "pong"): 2}
    store.queue.accept([queued("g1", repository=None)], replay_window_h=72, counts=counts)
    assert store.statistics.counters() == {("webhooks", ""): 3, ("event", "issues.opened"): 1, ("outcome", "pong"): 2}


def test_a_delivery_without_a_thread_waits_for_nobody(store: Storage) -> None:
    accept(store, queued("g1", number=None), queued("g2", repository_id=None, number=None), queued("g3", number=None))
    assert [claim(store).guid for _ in range(3)] == ["g1", "g2", "g3"]
