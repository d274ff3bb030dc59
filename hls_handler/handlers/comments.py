"""Handler for comments: answers questions to the bot, and replies once to newcomers who ask how to
start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hls_handler.actions import Action, EnsureReply
from hls_handler.analysis import Analysis
from hls_handler.deliveries import End
from hls_handler.errors import Superseded
from hls_handler.events import Comment, Event, Issue, Text
from hls_handler.handlers.handler import (
    DocumentSection,
    Handler,
    QuotedSection,
    check_conversation,
    count_comment_tokens,
    current_issue,
    describe_sections,
    field_types,
    find_own_conversation,
    keep_proved_answers,
    list_quoted,
    newest_within_budget,
    plan_comment,
    view_sections,
)
from hls_handler.handlers.job import FactSource, Job, ask_all
from hls_handler.handlers.labels import plan_labels
from hls_handler.handlers.reader import RepositoryHistory, StoredSection
from hls_handler.review.patches import numbered
from hls_handler.review.redacted_patches import number_patch, redact_patch
from hls_handler.routing import addressed_to_bot, asks_how_to_start

QuestionKind = Literal["how to start", "a question"]

MAX_COMMENTS = 30  # the newest comments of the conversation are read, up to this number

# `EnsureComment.family` of the reply to newcomers; a conversation gets it once
ONBOARDING = "onboarding"


@dataclass(frozen=True, slots=True)
class AskedFinding:
    """HLS's finding in whose review thread the question is."""

    thread: int  # id of HLS's comment, the first of the thread
    path: str
    line: int | None
    title: str
    body: str
    code: str  # the numbered lines of the patch that end with the commented one


@dataclass(frozen=True, slots=True)
class ReviewCommentPlace:
    """The fields of a review comment that other comments do not have."""

    in_reply_to_id: Annotated[int | None, Field(default=None)]
    diff_hunk: Text


_PLACE = TypeAdapter(ReviewCommentPlace)


@dataclass(frozen=True, slots=True)
class CommentFacts:
    issue: Issue  # current state; GitHub sends a pull request as an issue here
    comment: Comment  # the comment with the question, current state
    asked: QuestionKind
    before: tuple[Comment, ...]  # earlier comments, oldest first
    replied: bool  # True if HLS has already posted its reply to newcomers on this conversation
    # of the repository's documentation; empty if none fits
    documents: tuple[DocumentSection, ...] = ()
    finding: AskedFinding | None = None  # None: the question is in the conversation


class CommentHandler(Handler):
    family = "comments"
    replies = frozenset({"comment_reply"})
    facts_type = CommentFacts
    variable_types = field_types(
        CommentFacts,
        *("issue", "comment", "asked", "before", "documents", "finding"),
    )

    comment_variable_types: Mapping[str, object] = {"quoted": tuple[QuotedSection, ...]}

    def run(self, job: Job) -> End:
        facts = job.record(CommentFacts, gather)
        if facts.replied:
            return End("done", ALREADY_REPLIED)
        job.choose(find_own_conversation(job.event))
        job.note(sent=describe_sections(facts.documents))
        variables = self.variables(facts)
        replies = keep_proved_answers(ask_all(job, variables), facts.documents)
        quoted = list_quoted(replies.shown, facts.documents)
        analysis = job.render(replies, {**variables, "quoted": quoted})
        return job.post(*plan(facts, analysis), reason=replies.left_out)


ALREADY_REPLIED = "this conversation already has our reply to newcomers"


def gather(source: FactSource) -> CommentFacts:
    """Read the comment and those before it. Raises `Superseded` if it asks nothing any more."""
    event = source.event
    reader = source.reader
    history = source.history
    assert event.comment is not None  # parse_event rejects a comment event without one
    finding = _find_finding(event, history)
    if finding is None:
        issue = current_issue(event, reader)
        comments = reader.comments(issue.number, limit=MAX_COMMENTS)
    else:
        assert event.pull_request is not None
        issue = reader.issue(event.pull_request.number)
        replies = reader.thread_comments(issue.number, finding.thread)[1:]
        comments = tuple(replies[-MAX_COMMENTS:])
    check_conversation(event, issue)
    comment = next((other for other in comments if other.id == event.comment.id), None)
    if comment is None:
        raise Superseded(
            f"the comment was deleted meanwhile, or is not among the newest {MAX_COMMENTS} comments"
        )
    is_question = addressed_to_bot(comment.body, history.accounts)
    if not (is_question or asks_how_to_start(comment.body)):
        raise Superseded("the comment was edited meanwhile and no longer asks HLS anything")
    question_kind: QuestionKind = "a question" if is_question else "how to start"
    earlier = comments[: comments.index(comment)]
    before = newest_within_budget(earlier, source.limits.input_tokens, count_comment_tokens)
    replied = not is_question and history.has_comment(issue.number, ONBOARDING)
    sections: tuple[StoredSection, ...] = ()
    if source.limits.documents:
        sections = history.sections(comment.body, issue.title, source.limits.ignored_paths)
    documents = view_sections(sections, issue.html_url)
    return CommentFacts(issue, comment, question_kind, before, replied, documents, finding)


def plan(facts: CommentFacts, analysis: Analysis) -> tuple[Action, ...]:
    """Plan labels and a comment. Each question gets its own comment. Newcomers get one comment per
    conversation.
    """
    labels = plan_labels(analysis)
    if facts.finding is not None:
        return (*labels, *_plan_reply(facts.finding, facts.comment, analysis))
    family = ONBOARDING
    if facts.asked == "a question":
        family = f"{CommentHandler.family}-{facts.comment.id}"
    return (*labels, *plan_comment(analysis, family, create=analysis.worth_saying))


def _find_finding(event: Event, history: RepositoryHistory) -> AskedFinding | None:
    """Return the finding of the event's review thread; None if the event is not about one.

    Raises `Superseded` if the thread is not one of HLS.
    """
    if event.pull_request is None:
        return None
    place = _PLACE.validate_python(event.payload["comment"])
    ledger = history.review(event.pull_request.number).ledger
    thread = place.in_reply_to_id
    entry = next((entry for entry in ledger if thread and entry.comment_id == thread), None)
    if entry is None or thread is None:
        raise Superseded("the review thread is not, or no longer, one of HLS")
    code = numbered(redact_patch(number_patch(place.diff_hunk)))
    return AskedFinding(thread, entry.path, entry.line, entry.title, entry.body, code)


def _plan_reply(
    finding: AskedFinding,
    comment: Comment,
    analysis: Analysis,
) -> tuple[EnsureReply, ...]:
    if not (analysis.worth_saying and analysis.comment):
        return ()
    return (EnsureReply(finding.thread, f"answer-{comment.id}", analysis.comment),)
