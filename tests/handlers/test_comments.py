"""Handler for comments: questions, the conversation that is read, and where answers are posted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment, EnsureReply
from hls_handler.errors import Superseded
from hls_handler.events import Account, Comment, Event
from hls_handler.handlers import comments
from hls_handler.handlers.comments import AskedFinding, CommentFacts, CommentHandler
from hls_handler.handlers.job import Conversation, PromptLimits, Source
from hls_handler.review.record import LedgerEntry, ReviewRecord
from tests.handlers.events import ANSWER, QUESTION, FakeHistory, comment, comment_event
from tests.handlers.world import (
    RecordedJob,
    analysis,
    event,
    fake_reader,
    issue,
    pull_request,
)

HANDLER = CommentHandler()
NEWCOMER = comment(902, "How can I start?")


def facts(
    asking: Comment, *listed: Comment, history: FakeHistory | None = None, tokens: int = 10_000
) -> CommentFacts:
    reader = fake_reader(issue(), comments=listed or (asking,))
    known = history or FakeHistory()
    source = Source(comment_event(asking), reader, known, PromptLimits(tokens))
    return comments.gather(source)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("How can I start?", "how to start"),
        ("@hls why is that?", "a question"),
        ("@HLS[bot] why is that?", "a question"),
        ("@spare-bot why is that?", "a question"),  # another of HLS's accounts
    ],
)
def test_comment_is_a_question_if_it_addresses_the_bot_else_about_how_to_start(
    body: str, asked: str
) -> None:
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
def test_a_deleted_or_edited_question_is_superseded(
    listed: tuple[Comment, ...], message: str
) -> None:
    with pytest.raises(Superseded, match=message):
        facts(QUESTION, *listed)


def test_the_newest_earlier_comments_that_fit_are_read_and_no_later_ones() -> None:
    before = tuple(comment(n, "x" * 3_000) for n in range(800, 820))
    found = facts(QUESTION, *before, QUESTION, comment(999, "later"), tokens=3_000)
    assert [earlier.id for earlier in found.before] == [817, 818, 819][-len(found.before) :]
    assert found.before


def test_a_conversation_gets_one_reply_to_newcomers() -> None:
    here = FakeHistory(commented_on=((7, "onboarding"),))
    elsewhere = FakeHistory(commented_on=((8, "onboarding"),))
    job = RecordedJob(comment_event(NEWCOMER), facts(NEWCOMER, history=here))
    assert HANDLER.run(job).reason == "this conversation already has our reply to newcomers"
    assert job.done == []
    assert not facts(NEWCOMER, history=elsewhere).replied
    assert not facts(QUESTION, history=here).replied


def test_each_question_has_its_own_comment_and_newcomers_share_one() -> None:
    asked, started = facts(QUESTION), facts(NEWCOMER)
    assert comments.plan(asked, analysis(ANSWER)) == (
        EnsureComment("comments-901", "Hello.", create=True),
    )
    silent = analysis(ANSWER.model_copy(update={"worth_saying": False}))
    assert comments.plan(started, silent) == (EnsureComment("onboarding", "Hello.", create=False),)


ENTRY = LedgerEntry(
    "k",
    "src/area.py",
    "RIGHT",
    quote="    return 1 / n",
    severity="high",
    category="bugs",
    title="Division by zero",
    state="open",
    prompt_id="pull_requests/analyze@3f9c2a",
    body="`n` may be 0.",
    comment_id=900,
    line=4,
)
HUNK = "@@ -1,3 +1,4 @@\n def area():\n+    return 1 / n"
OPENING = comment(900, "Division by zero", Account("hls[bot]", 3, "Bot"))
EARLIER = comment(901, "I will look at it.")
IN_THREAD = comment(902, "@hls why is that?")


def thread_event(asking: Comment, thread: int | None = 900) -> Event:
    """Return the event about a reply in a review thread."""
    raw = {"in_reply_to_id": thread, "diff_hunk": HUNK}
    about = event(pull_request())
    payload = {**about.payload, "comment": raw}
    return replace(
        about,
        name="pull_request_review_comment",
        action="created",
        comment=asking,
        payload=payload,
    )


def thread_facts(asking: Comment, *thread: Comment, about: Event | None = None) -> CommentFacts:
    reader = fake_reader(issue(number=8, is_pull_request=True), thread_comments_of={900: thread})
    history = FakeHistory(reviewed=ReviewRecord(ledger=(ENTRY,)))
    return comments.gather(
        Source(about or thread_event(asking), reader, history, PromptLimits(10_000))
    )


def test_question_in_the_thread_of_a_finding_sees_the_finding_its_code_and_the_replies() -> None:
    found = thread_facts(IN_THREAD, OPENING, EARLIER, IN_THREAD)
    assert found.finding == AskedFinding(
        900, "src/area.py", 4, "Division by zero", "`n` may be 0.", HUNK
    )
    assert (found.asked, found.comment, found.before) == ("a question", IN_THREAD, (EARLIER,))


@pytest.mark.parametrize("thread", [None, 800], ids=["a new thread", "a thread of somebody else"])
def test_question_in_another_thread_is_superseded(thread: int | None) -> None:
    with pytest.raises(Superseded, match="the review thread is not, or no longer, one of HLS"):
        thread_facts(IN_THREAD, OPENING, IN_THREAD, about=thread_event(IN_THREAD, thread))


@pytest.mark.parametrize("listed", [(), (OPENING,)], ids=["thread", "question"])
def test_deleted_question_in_a_thread_is_superseded(listed: tuple[Comment, ...]) -> None:
    with pytest.raises(Superseded, match="the comment was deleted meanwhile"):
        thread_facts(IN_THREAD, *listed)


def test_answer_in_a_thread_is_a_reply_with_a_key_of_its_question() -> None:
    found = thread_facts(IN_THREAD, OPENING, IN_THREAD)
    assert comments.plan(found, analysis(ANSWER)) == (EnsureReply(900, "answer-902", "Hello."),)
    silent = analysis(ANSWER.model_copy(update={"worth_saying": False}))
    assert comments.plan(found, silent) == ()


def test_an_answer_without_text_is_not_posted() -> None:
    empty = analysis(ANSWER.model_copy(update={"answer": ""}))
    assert comments.plan(facts(QUESTION), empty) == (
        EnsureComment("comments-901", "Hello.", create=False),
    )


def test_the_answer_is_posted_on_the_conversation_of_the_question() -> None:
    for is_pull_request in (True, False):
        asked = comment_event(QUESTION, issue(is_pull_request=is_pull_request))
        job = RecordedJob(asked, facts(QUESTION), (ANSWER,))
        HANDLER.run(job)
        assert job.conversation == Conversation(7, is_pull_request=is_pull_request)
