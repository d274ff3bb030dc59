"""Comments: who gets an answer, what is read for it, and where it goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import KeepComment
from hls_handler.analysis import CommentReply
from hls_handler.errors import Overtaken
from hls_handler.events import Comment
from hls_handler.handlers.comments import MOST_COMMENTS, CommentFacts, CommentHandler
from hls_handler.handlers.handler import Budget, Thread
from tests.handlers.happenings import QUESTION, FakeRecord, comment, commented, posting_to
from tests.handlers.world import FakeReader, analysis, issue

HANDLER = CommentHandler()
NEWCOMER = comment(902, "How can I start?")
REPLY = CommentReply(worth_saying=True, answer="Read the guide.", certain=True)


def facts(one: Comment, *listed: Comment, record: FakeRecord | None = None, tokens: int = 10_000) -> CommentFacts:
    of = FakeReader(issue(), comments=listed or (one,))
    return HANDLER.gather(commented(one), of, record or FakeRecord(), Budget(tokens))


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("How can I start?", "how to start"),
        ("@hls-bot why is that?", "a question"),
        ("@hls-bot how can I start?", "a question"),
    ],
)
def test_whoever_asks_us_has_a_question_and_whoever_asks_nobody_is_a_newcomer(body: str, asked: str) -> None:
    assert facts(comment(body=body)).asked == asked


def test_the_comment_is_read_as_it_is_now() -> None:
    edited = replace(QUESTION, body="@hls-bot and why is this?")
    assert facts(QUESTION, edited).comment == edited


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ((NEWCOMER,), "the comment was deleted meanwhile"),
        ((replace(QUESTION, body="never mind"),), "the comment was edited meanwhile, and asks us nothing any more"),
    ],
    ids=["deleted", "edited"],
)
def test_a_question_that_was_taken_back_is_not_answered(listed: tuple[Comment, ...], message: str) -> None:
    with pytest.raises(Overtaken, match=message):
        facts(QUESTION, *listed)


def test_what_was_said_before_is_read_the_newest_that_fit_and_nothing_that_came_after() -> None:
    before = tuple(comment(n, "x" * 3_000) for n in range(800, 820))
    found = facts(QUESTION, *before, QUESTION, comment(999, "later"), tokens=3_000)
    assert [one.id for one in found.before] == [817, 818, 819][-len(found.before) :]
    assert found.before


def test_of_a_long_conversation_only_the_newest_comments_are_read() -> None:
    thousands = tuple(comment(n, "+1") for n in range(5_000, 9_000))
    assert len(facts(QUESTION, *thousands, QUESTION, tokens=900_000).before) == MOST_COMMENTS - 1


def test_newcomers_to_a_thread_are_told_once() -> None:
    told = facts(NEWCOMER, record=FakeRecord(commented_on=((7, "onboarding"),)))
    unasked = HANDLER.unasked(told)
    assert unasked is not None
    assert (unasked.reason, unasked.reply) == ("this thread has our reply to newcomers already", None)
    assert HANDLER.unasked(facts(NEWCOMER, record=FakeRecord(commented_on=((8, "onboarding"),)))) is None
    assert HANDLER.unasked(facts(QUESTION, record=FakeRecord(commented_on=((7, "onboarding"),)))) is None


def test_each_question_has_an_answer_of_its_own_and_newcomers_share_one() -> None:
    asked, started = facts(QUESTION), facts(NEWCOMER)
    assert HANDLER.plan(commented(QUESTION), asked, analysis(REPLY), posting_to()) == (
        KeepComment("comments-901", "Hello.", create=True),
    )
    assert HANDLER.plan(commented(NEWCOMER), started, analysis(REPLY), posting_to()) == (
        KeepComment("onboarding", "Hello.", create=True),
    )


def test_nothing_worth_saying_is_not_said() -> None:
    silent = analysis(REPLY.model_copy(update={"worth_saying": False}))
    (action,) = HANDLER.plan(commented(QUESTION), facts(QUESTION), silent, posting_to())
    assert isinstance(action, KeepComment)
    assert not action.create


def test_the_answer_stands_where_the_question_was_asked_under_a_pull_request_too() -> None:
    conversation = issue(is_pull_request=True)
    asked = commented(QUESTION, conversation)
    assert HANDLER.thread(asked, facts(QUESTION), posting_to(issue_comment=12)) == Thread(7, is_pull_request=True)
    assert HANDLER.thread(commented(QUESTION), facts(QUESTION), posting_to()) == Thread(7, is_pull_request=False)
