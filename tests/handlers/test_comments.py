"""Handler for comments: questions, the conversation that is read, and where answers are posted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment
from hls_handler.errors import Superseded
from hls_handler.events import Comment
from hls_handler.handlers.comments import CommentFacts, CommentHandler
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.job import Conversation
from tests.handlers.events import ANSWER, QUESTION, FakeHistory, comment, comment_event
from tests.handlers.world import RecordedJob, analysis, fake_reader, issue

HANDLER = CommentHandler()
NEWCOMER = comment(902, "How can I start?")


def facts(asking: Comment, *listed: Comment, history: FakeHistory | None = None, tokens: int = 10_000) -> CommentFacts:
    reader = fake_reader(issue(), comments=listed or (asking,))
    return HANDLER.gather(comment_event(asking), reader, history or FakeHistory(), PromptLimits(tokens))


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("How can I start?", "how to start"),
        ("@hls why is that?", "a question"),
        ("@HLS[bot] why is that?", "a question"),
        ("@spare-bot why is that?", "a question"),  # another of HLS's accounts
    ],
)
def test_comment_is_a_question_if_it_addresses_the_bot_else_about_how_to_start(body: str, asked: str) -> None:
    history = FakeHistory(accounts=("hls[bot]", "spare-bot"))
    assert facts(comment(body=body), history=history).asked == asked


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ((NEWCOMER,), "the comment was deleted meanwhile"),
        (
            (replace(QUESTION, body="never mind"),),
            "the comment was edited meanwhile and no longer asks HLS anything",
        ),
    ],
    ids=["deleted", "edited"],
)
def test_a_deleted_or_edited_question_is_superseded(listed: tuple[Comment, ...], message: str) -> None:
    with pytest.raises(Superseded, match=message):
        facts(QUESTION, *listed)


def test_the_newest_earlier_comments_that_fit_are_read_and_no_later_ones() -> None:
    before = tuple(comment(n, "x" * 3_000) for n in range(800, 820))
    found = facts(QUESTION, *before, QUESTION, comment(999, "later"), tokens=3_000)
    assert [earlier.id for earlier in found.before] == [817, 818, 819][-len(found.before) :]
    assert found.before


def test_a_conversation_gets_one_reply_to_newcomers() -> None:
    replied = facts(NEWCOMER, history=FakeHistory(commented_on=((7, "onboarding"),)))
    skipped = HANDLER.skip_reason(replied)
    assert skipped is not None
    assert (skipped.reason, skipped.reply) == ("this conversation already has our reply to newcomers", None)
    assert HANDLER.skip_reason(facts(NEWCOMER, history=FakeHistory(commented_on=((8, "onboarding"),)))) is None
    assert HANDLER.skip_reason(facts(QUESTION, history=FakeHistory(commented_on=((7, "onboarding"),)))) is None


def test_each_question_has_its_own_comment_and_newcomers_share_one() -> None:
    asked, started = facts(QUESTION), facts(NEWCOMER)
    assert HANDLER.plan(comment_event(QUESTION), asked, analysis(ANSWER)) == (
        EnsureComment("comments-901", "Hello.", create=True),
    )
    silent = analysis(ANSWER.model_copy(update={"worth_saying": False}))
    assert HANDLER.plan(comment_event(NEWCOMER), started, silent) == (
        EnsureComment("onboarding", "Hello.", create=False),
    )


def test_the_answer_is_posted_on_the_conversation_of_the_question() -> None:
    for is_pull_request in (True, False):
        asked = comment_event(QUESTION, issue(is_pull_request=is_pull_request))
        job = RecordedJob(asked, facts(QUESTION), (ANSWER,))
        HANDLER.run(job)
        assert job.conversation == Conversation(7, is_pull_request=is_pull_request)
