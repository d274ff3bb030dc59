"""The story of an event: what a handler does with its job, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hls_handler.actions import Action, EnsureCheck, EnsureComment, EnsureLabels, Outcome
from hls_handler.analysis import Analysis, Reply
from hls_handler.errors import BudgetExceeded
from hls_handler.events import Comment, Event
from hls_handler.handlers.asking import Answers
from hls_handler.handlers.comments import CommentFacts, CommentHandler
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.job import Conversation, Result
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.model import Review
from tests.handlers.world import (
    MONA,
    FakeReader,
    analysis,
    count_changes,
    event,
    file,
    issue,
    pull_request,
    rule,
)


class RecordedJob:
    """A job with fixed facts and a fixed reply, which records what the handler does."""

    def __init__(self, received: Event, facts: Any, *replies: Reply, error: BudgetExceeded | None = None) -> None:
        self.event, self.facts, self.replies, self.error = received, facts, replies, error
        self.rule: Rule = rule("issues/analyze")
        self.done: list[object] = []

    def gather(self) -> Any:
        return self.facts

    def require_newest(self, facts: Any) -> None:
        self.done.append("is newest")

    def choose(self, conversation: Conversation | None) -> None:
        self.done.append(conversation and conversation.number)

    def note(self, *, omitted: str | None, sent: str | None = None) -> None:
        pass

    def begin_check(self, commit: str) -> None:
        self.done.append(f"check on {commit[:4]}")

    def ask(self, facts: Any) -> Answers:
        self.done.append("ask")
        if self.error is not None:
            raise self.error
        return Answers(facts, analysis(*self.replies).answers, ("issues/analyze",), {})

    def render(self, answered: Answers, facts: Any) -> Analysis:
        return Analysis(answered.answers, "Hello.")

    def render_static(self, facts: Any, reply: Reply) -> Analysis:
        return Analysis((), "Hello.")

    def post(
        self,
        facts: Any,
        analysis: Analysis,
        actions: tuple[Action, ...],
        *reasons: str,
        after_review: Callable[[Outcome | None], tuple[Action, ...]] | None = None,
    ) -> Result:
        self.done += [type(action) for action in actions]
        if after_review is not None:
            after_review(None)
        return Result("; ".join(filter(None, reasons)) or "posted", "done")

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> Result:
        self.done += [action.conclusion for action in actions]
        return Result(reason, "done")

    def store_review(self, record: ReviewRecord) -> None:
        self.done.append(f"review {record.rounds}")


LIMITS = PromptLimits(20_000, is_review=True, review=Review(check=True))


def test_second_newcomer_of_a_conversation_costs_no_call() -> None:
    newcomer = Comment(5, MONA, "How do I start?", "NONE", "https://github.com/o/r/issues/7#issuecomment-5", None)
    facts = CommentFacts(issue(), newcomer, "how to start", (), replied=True)
    job = RecordedJob(event(issue()), facts)
    assert CommentHandler().run(job) == Result("this conversation already has our reply to newcomers")
    assert job.done == ["is newest"]


def pull_request_job(*files: str, error: BudgetExceeded | None = None) -> RecordedJob:
    received, now = event(pull_request()), pull_request(**count_changes(tuple(map(file, files))))
    reader = FakeReader(now, tuple(map(file, files)))
    facts = PullRequestHandler().gather(received, reader, EMPTY_HISTORY, LIMITS)
    return RecordedJob(received, facts, error=error)


def test_review_without_budget_posts_what_is_known_without_claude() -> None:
    job = pull_request_job("area.py", error=BudgetExceeded("2 USD are spent"))
    assert PullRequestHandler().run(job).reason == "2 USD are spent"
    assert job.done == ["is newest", 8, "check on 0123", "ask", EnsureLabels, EnsureComment, EnsureCheck, "review 0"]


def test_pull_request_without_files_gets_only_its_check() -> None:
    job = pull_request_job()
    assert PullRequestHandler().run(job).reason == "the pull request changes no files, so Claude was not asked"
    assert job.done == ["is newest", "success"]
