"""Posting: locks, and what is looked at before the first write and not after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hls_handler.actions import EnsureComment, Outcome
from hls_handler.deliveries import Finished
from hls_handler.errors import DependencyDown, Superseded
from hls_handler.handlers.handler import Conversation
from hls_handler.work.memory import OUTCOME
from hls_handler.work.posting import post
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, ISSUE
from tests.work.world import BUG, GUID, MakeWorld

LOCK = "186853002#1/issues"
DONE = "added bug, priority-low, difficulty-easy; commented"


def test_a_comment_waits_for_whoever_holds_its_lock(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept(guid="holder", thread=7)
    holder = one.claim()
    assert holder is not None
    one.store.locks.acquire(holder, LOCK, ttl_s=20)
    one.accept()
    assert one.run() is None
    assert one.row().reason == "waits for delivery holder, which holds 186853002#1/issues"
    assert one.github.comments == {}
    one.store.checkpoints.save(holder, unlock=True)
    one.later(2)
    assert one.run() is not None
    assert list(one.github.comments) == [1]


def test_comments_of_different_threads_do_not_wait_for_each_other(make_world: MakeWorld) -> None:
    one = make_world()
    ends: list[Finished | None] = []

    def work_on_the_other(what: str) -> None:
        if what == "write comment":
            one.github.meanwhile = lambda _what: None  # once is enough
            ends.append(one.run())

    one.github.meanwhile = work_on_the_other
    one.accept()
    one.accept(guid="second", thread=7)
    assert one.run() == Finished(GUID, "done", "added bug, priority-low, difficulty-easy; edited our comment")
    assert ends == [Finished("second", "done", "added bug, priority-low, difficulty-easy; commented")]


def test_the_lock_is_given_back_at_the_end(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.run()
    one.accept(guid="second", thread=7)
    second = one.claim()
    assert second is not None
    one.store.locks.acquire(second, LOCK, ttl_s=20)  # raises Wait while the first holds it
    assert list(one.github.comments) == [1]


def test_a_posting_that_failed_is_done_once_it_has_succeeded(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.lost_answers = [GITHUB_DOWN]
    assert one.run() is None
    assert (one.row().posting_status, one.row().posting_error is None) == ("failed", False)
    one.later(60)
    assert one.run() == Finished(GUID, "done", DONE)
    assert (one.row().posting_status, one.row().posting_error) == ("done", None)


def test_an_outcome_that_is_remembered_of_another_action_is_not_taken_for_this_ones(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    job = one.job()
    labelled = OUTCOME.encode(Outcome("labels", "changed", "added bug", added=("bug",)), index=0, took_s=0)
    one.store.checkpoints.save(job.lease, labelled)
    thanks = EnsureComment(family="issues", body="Thanks.", create=True)
    job = replace(job, steps=one.store.checkpoints.load(GUID))
    (outcome,) = post(job, Conversation(1, is_pull_request=False), (thanks,), require_not_superseded=lambda: None)
    assert (outcome.action, outcome.kind) == ("comment", "created")
    assert one.github.comments == {1: "Thanks."}


def test_what_was_begun_is_ended_even_if_the_issue_is_closed_meanwhile(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.lost_answers = [GITHUB_DOWN]
    assert one.run() is None  # the labels are remembered as set, the comment is not
    one.github.issues = {1: replace(ISSUE, state="closed")}
    one.later(60)
    assert one.run() == Finished(GUID, "done", DONE)


def test_a_comment_whose_answer_was_lost_is_told_as_what_was_done(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.lost_answers = [GITHUB_DOWN]
    assert one.run() is None
    one.later(60)
    assert one.run() == Finished(GUID, "done", DONE)
    assert one.github.asked.count("write comment") == 1


SILENCE = DependencyDown("no answer: ReadTimeout", dependency="github", remedy="wait", may_have_succeeded=True)


def test_a_comment_that_had_no_answer_is_not_looked_for_before_it_must_be_there(make_world: MakeWorld) -> None:
    """Not even when all that waits is made due at once."""
    one = make_world()
    one.accept()
    one.github.lost_answers = [SILENCE]
    assert one.run() is None
    asked = len(one.github.asked)
    one.later(31)
    one.store.queue.reschedule_waiting()
    assert one.run() is None
    assert [call for call in one.github.asked[asked:] if "comment" in call] == []
    assert "github.slowest_write_s" in (one.row().reason or "")
    one.later(30)
    assert one.run() == Finished(GUID, "done", DONE)
    assert one.github.asked.count("write comment") == 1


def test_nothing_is_read_before_posting_while_github_is_left_alone(make_world: MakeWorld) -> None:
    one = make_world(CLAUDE_DOWN, BUG)
    one.accept()
    assert one.run() is None
    one.later(60)
    until = one.store.now() + timedelta(hours=1)
    one.store.rate_limiter.hold("github", until)
    assert one.run() is None
    assert one.github.asked == ["issue 1"]  # from before
    assert (one.row().due_at, one.row().posting_status, len(one.claude.asked)) == (until, None, 2)
    one.later(3601)
    assert one.run() is not None


def test_who_was_overtaken_while_waiting_for_the_comments_lock_writes_nothing(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()

    def require_not_superseded() -> None:
        raise Superseded("a later run passed")

    thanks = EnsureComment(family="issues", body="Thanks.", create=True)
    with pytest.raises(Superseded, match="a later run passed"):
        post(
            one.job(), Conversation(1, is_pull_request=False), (thanks,), require_not_superseded=require_not_superseded
        )
    assert one.github.comments == {}
    assert "write comment" not in one.github.asked
