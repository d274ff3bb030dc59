"""Posting: locks, checks before the first write, and retries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hls_handler.actions import EnsureComment, Outcome
from hls_handler.deliveries import Finished
from hls_handler.engine.posting import OUTCOME, post
from hls_handler.errors import DependencyDown, HlsError, Permanent, Retryable, Superseded
from hls_handler.handlers.job import Conversation
from hls_handler.queue.locks import LocksReleased
from tests.engine.fakes import CLAUDE_DOWN, GITHUB_DOWN, ISSUE
from tests.engine.world import BUG, GUID, MakeWorld
from tests.handlers.world import file, finding, pull_request_analysis

LOCK = "186853002#1/issues"
DONE = "added bug, priority-low, difficulty-easy; commented"


def test_comment_waits_for_its_lock(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept(guid="holder", number=7)
    holder = world.claim()
    assert holder is not None
    world.store.locks.acquire(holder, LOCK, ttl_s=20)
    world.accept()
    assert world.run() is None
    assert world.row().reason == "waits for delivery holder, which holds the lock 186853002#1/issues"
    assert world.github.comments == {}
    world.store.checkpoints.save(holder, LocksReleased())
    world.advance(2)
    assert world.run() is not None
    assert list(world.github.comments) == [1]


@pytest.mark.parametrize(("on_github", "may_exist"), [(0, False), (1, False), (2, True), (None, True)])
def test_comment_is_searched_unless_all_comments_are_known(
    make_world: MakeWorld, on_github: int | None, may_exist: bool
) -> None:
    world = make_world()
    world.accept()
    world.run()  # stores one comment
    world.github.issues[1] = replace(ISSUE, comments=on_github)
    world.accept(guid="second")
    world.run()
    assert world.github.may_exist == [True, may_exist]


def test_retry_searches_the_comment_that_an_earlier_attempt_may_have_written(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.run()
    world.github.issues[1] = replace(ISSUE, comments=1)  # the second, because a person deleted the first
    world.github.comments.clear()
    world.github.lost_responses = [GITHUB_DOWN]
    world.accept(guid="second")
    assert world.run() is None
    world.advance(60)
    world.run()
    assert world.github.may_exist == [True, False, True]


def test_retry_of_a_failed_posting_asks_nothing_and_repeats_no_action(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.lost_responses = [GITHUB_DOWN]
    assert world.run() is None
    row = world.row()
    assert (row.analysis_status, row.posting_status, row.posting_error is None) == ("done", "failed", False)
    world.advance(60)
    assert world.run() == Finished(GUID, "done", DONE)
    assert (world.row().posting_status, world.row().posting_error) == ("done", None)
    assert len(world.claude.asked) == 1
    assert [call for call in world.github.calls if call.startswith("write")] == ["write labels", "write comment"]


def test_stored_outcome_of_another_action_is_not_used(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    job = world.job()
    label_outcome = OUTCOME.encode(Outcome("labels", "changed", "added bug", added=("bug",)), index=0, took_s=0)
    world.store.checkpoints.save(job.lease, label_outcome)
    action = EnsureComment(family="issues", body="Thanks.", create=True)
    job = replace(job, steps=world.store.checkpoints.load(GUID))
    (outcome,) = post(job, Conversation(1, is_pull_request=False), (action,), require_needed=lambda: None)
    assert (outcome.action, outcome.kind) == ("comment", "created")
    assert world.github.comments == {1: "Thanks."}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Permanent("POST /repos/o/r/issues/2/labels: 403 Forbidden"), "dead"),
        (Retryable("POST /repos/o/r/issues/2/labels: 422 Validation Failed"), "done"),
    ],
)
def test_refused_action_costs_no_other_action(make_world: MakeWorld, error: HlsError, state: str) -> None:
    world = make_world(pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")]))
    world.github.failing_writes = [error]
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    finished = world.run()
    assert (len(world.github.inline_comments), len(world.github.comments), len(world.github.check_actions)) == (1, 1, 1)
    assert world.row().posting_error == str(error)
    world.advance(60)
    assert (finished or world.finish()).state == state
    assert [world.github.calls.count(f"write {what}") for what in ("comment", "review")] == [1, 1]


def test_findings_of_a_refused_review_are_in_the_summary(make_world: MakeWorld) -> None:
    world = make_world(pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b", body="Off by one.")]))
    world.github.on_call = lambda what: _refuse(what == "write review")
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    assert world.finish().state == "dead"
    assert "Off by one." in world.github.comments[2]
    assert len(world.github.check_actions) == 1


def _refuse(is_refused: bool) -> None:
    if is_refused:
        raise Permanent("POST /repos/o/r/pulls/2/reviews: 403 Forbidden")


def test_started_posting_is_finished_after_the_issue_was_closed(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.lost_responses = [GITHUB_DOWN]
    assert world.run() is None  # the label outcome is stored, that of the comment is not
    world.github.issues = {1: replace(ISSUE, state="closed")}
    world.advance(60)
    assert world.run() == Finished(GUID, "done", DONE)


NO_RESPONSE = DependencyDown("no answer: ReadTimeout", dependency="github", remedy="wait", may_have_succeeded=True)


def test_comment_without_response_is_not_read_before_slowest_write_s(make_world: MakeWorld) -> None:
    """Not even after `reschedule_waiting`."""
    world = make_world()
    world.accept()
    world.github.lost_responses = [NO_RESPONSE]
    assert world.run() is None
    calls_before = len(world.github.calls)
    world.advance(31)
    world.store.queue.reschedule_waiting()
    assert world.run() is None
    assert [call for call in world.github.calls[calls_before:] if "comment" in call] == []
    assert "github.slowest_write_s" in (world.row().reason or "")
    world.advance(30)
    assert world.run() == Finished(GUID, "done", DONE)
    assert world.github.calls.count("write comment") == 1


def test_github_is_not_read_before_posting_during_a_hold(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, BUG)
    world.accept()
    assert world.run() is None
    world.advance(60)
    until = world.store.now() + timedelta(hours=1)
    world.store.rate_limiter.hold("github", until)
    assert world.run() is None
    assert world.github.calls == ["issue 1"]  # by the first attempt
    assert (world.row().due_at, world.row().posting_status, len(world.claude.asked)) == (until, None, 2)
    world.advance(3601)
    assert world.run() is not None


def test_superseded_delivery_writes_nothing_after_waiting_for_the_lock(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()

    def require_needed() -> None:
        raise Superseded("a later run passed")

    action = EnsureComment(family="issues", body="Thanks.", create=True)
    with pytest.raises(Superseded, match="a later run passed"):
        post(
            world.job(),
            Conversation(1, is_pull_request=False),
            (action,),
            require_needed=require_needed,
        )
    assert world.github.comments == {}
    assert "write comment" not in world.github.calls
