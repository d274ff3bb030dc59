"""Comments: a newcomer who asks how to start gets one reply, and whoever asks our account something gets an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hls_handler.actions import Action, KeepComment
from hls_handler.analysis import Analysis
from hls_handler.errors import Overtaken
from hls_handler.events import Comment, Event, Issue
from hls_handler.handlers.handler import Budget, Handler, Unasked, still_welcome
from hls_handler.handlers.reader import Reader
from hls_handler.handlers.record import Record
from hls_handler.handlers.wishes import keep_labels
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.routing import Rule, asks_account, asks_how_to_start

Asked = Literal["how to start", "a question"]

MOST_COMMENTS = 30
"""Comments of the thread that are read, the newest."""

LONGEST_BODY = 4_000
"""Characters of each that the shipped prompt shows."""

ONBOARDING = "onboarding"
"""The family of the one reply to newcomers that a thread gets."""


@dataclass(frozen=True, slots=True)
class CommentFacts:
    issue: Issue  # the thread as it is now; a pull request's conversation is one, too
    comment: Comment  # the one that asks, as it is now
    asked: Asked
    before: tuple[Comment, ...]  # what was written before it, the oldest first
    replied: bool  # whether newcomers to this thread were told already


class CommentHandler(Handler[CommentFacts]):
    name = "CommentHandler"
    family = "comments"
    replies = frozenset({"comment_reply"})
    facts_type = CommentFacts
    facts_version = 1
    variable_types: Mapping[str, object] = {
        "issue": Issue,
        "comment": Comment,
        "asked": Asked,
        "before": tuple[Comment, ...],
    }

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> CommentFacts:
        assert event.issue is not None  # parse_event refuses a comment's event without its thread
        assert event.comment is not None
        issue = reader.issue(event.issue.number)
        still_welcome(event, issue)
        listed = reader.comments(issue.number, most=MOST_COMMENTS)
        comment = next((one for one in listed if one.id == event.comment.id), None)
        if comment is None:
            raise Overtaken(f"the comment was deleted meanwhile, or {MOST_COMMENTS} others were written since")
        if not (asks_account(comment.body, record.account) or asks_how_to_start(comment.body)):
            raise Overtaken("the comment was edited meanwhile, and asks us nothing any more")
        asked: Asked = "a question" if asks_account(comment.body, record.account) else "how to start"
        before = _fitting(listed[: listed.index(comment)], budget.input_tokens)
        replied = asked == "how to start" and record.has_comment(issue.number, ONBOARDING)
        return CommentFacts(issue, comment, asked, before, replied)

    def variables(self, event: Event, facts: CommentFacts) -> Mapping[str, object]:
        return {"issue": facts.issue, "comment": facts.comment, "asked": facts.asked, "before": facts.before}

    def unasked(self, facts: CommentFacts) -> Unasked | None:
        return Unasked("this thread has our reply to newcomers already") if facts.replied else None

    def plan(self, event: Event, facts: CommentFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        """Each question has an answer of its own, below it."""
        labels = keep_labels(analysis)
        if not analysis.comment:
            return labels
        family = f"{self.family}-{facts.comment.id}" if facts.asked == "a question" else ONBOARDING
        return (
            *labels,
            KeepComment(family, analysis.comment, create=analysis.worth_saying),
        )


def _fitting(comments: tuple[Comment, ...], tokens: int) -> tuple[Comment, ...]:
    """The newest that fit, the oldest of them first."""
    fitting: list[Comment] = []
    for comment in reversed(comments):
        tokens -= estimate_tokens(comment.body[:LONGEST_BODY]) + TOKENS_AROUND
        if tokens < 0:
            break
        fitting.append(comment)
    return tuple(reversed(fitting))


TOKENS_AROUND = 60
"""What a comment takes beside its text: its author, the delimiters."""
