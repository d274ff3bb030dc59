"""Handler for reviews: lists the reviewer's requests as a checklist for the author of the pull
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from unicodedata import normalize

from hls_handler.actions import Action, RequestedLabel
from hls_handler.analysis import (
    Analysis,
    ReplyFields,
    ReviewAnalysis,
    ReviewRequest,
    estimate_tokens,
)
from hls_handler.deliveries import End
from hls_handler.errors import Permanent, Superseded
from hls_handler.events import GHOST, PullRequest, Review
from hls_handler.github.values import ReviewComment, permalink
from hls_handler.handlers.handler import (
    MAX_BODY_CHARACTERS,
    TOKENS_PER_COMMENT,
    Handler,
    SkipReason,
    answer,
    check_conversation,
    field_types,
    find_own_conversation,
    plan_comment,
)
from hls_handler.handlers.job import FactSource, Job
from hls_handler.handlers.labels import plan_labels
from hls_handler.review.patches import Hunk, Line, Patch, Side, numbered
from hls_handler.review.redacted_patches import number_patch, redact_patch
from hls_handler.untrusted.cleaning import clean
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import count, was_or_were

CONTEXT_LINES = 8  # lines of code shown with a comment, up to and including the commented line
MAX_LINE_LENGTH = 200  # longer lines of code are cut

VERDICTS = ("approved", "changes_requested")

PLAIN_QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2039": "<", "\u203a": ">"}
)
QUOTE_PREFIX = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ShownComment:
    """A comment of the review on lines of a file, as the prompt shows it."""

    number: int  # from 1, as in the prompt
    path: str
    side: Side
    line: int | None  # None for a comment on the whole file
    code: str  # the last lines of the patch up to the commented line: "R   11 + return side ** 2"
    body: str


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    pull_request: PullRequest  # current state
    review: Review  # current state
    comments: tuple[ShownComment, ...]
    omitted: int  # number of comments that exceed the token budget
    only_replies: bool  # the review contains only replies in review threads
    objections: bool  # the last verdict of some reviewer requests changes


@dataclass(frozen=True, slots=True)
class Todo:
    text: str
    quote: str  # the reviewer's own words
    path: str | None  # None if the quote is in the text of the review
    line: int | None
    side: Side  # LEFT for a removed line, with its old line number
    blocking: bool
    url: str = ""  # permanent address of the line at the reviewed commit; "" if unknown


class ReviewHandler(Handler):
    family = "reviews"
    replies = frozenset({"review_analysis"})
    facts_type = ReviewFacts
    variable_types = field_types(ReviewFacts, "pull_request", "review", "comments", "omitted")
    comment_variable_types: Mapping[str, object] = {
        "commit": str,
        "todos": tuple[Todo, ...],
        "dropped": int,
    }
    has_sections = True

    def run(self, job: Job) -> End:
        facts = job.record(ReviewFacts, gather)
        skipped = find_skip_reason(facts)
        if skipped is not None and skipped.reply is None:
            return End("done", skipped.reason)
        job.choose(find_own_conversation(job.event))
        if skipped is None:
            job.note(omitted=describe_omissions(facts))
        variables = self.variables(facts)
        list_variables = partial(list_comment_variables, facts)
        answered = answer(job, variables, list_variables, skipped)
        return job.post(*plan(facts, answered.analysis), reason=answered.reason)


def gather(source: FactSource) -> ReviewFacts:
    """Read the review and its comments. Raises `Superseded` if another one replaced it."""
    event = source.event
    reader = source.reader
    assert event.pull_request is not None  # parse_event rejects a review without one
    assert event.review is not None
    pull_request = reader.pull_request(event.pull_request.number)
    check_conversation(event, pull_request)
    reviews = reader.reviews(pull_request.number)
    review = next((other for other in reviews if other.id == event.review.id), None)
    if review is None:
        missing = f"does not exist or is not among the first {len(reviews)} reviews"
        raise Permanent(f"the review {event.review.id} {missing}")
    if review.state == "dismissed":
        raise Superseded("the review was dismissed meanwhile")
    if any(_supersedes(later, review) for later in reviews[reviews.index(review) + 1 :]):
        raise Superseded("the same person has reviewed again since")
    all_comments = reader.review_comments(pull_request.number, review.id)
    comments = _select_comments(all_comments, source.limits.input_tokens)
    are_replies = bool(all_comments) and all(comment.is_reply for comment in all_comments)
    return ReviewFacts(
        pull_request,
        review,
        comments,
        omitted=len(all_comments) - len(comments),
        only_replies=are_replies and not review.body.strip(),
        objections=_has_objections(reviews),
    )


def find_skip_reason(facts: ReviewFacts) -> SkipReason | None:
    if facts.review.user.id == facts.pull_request.user.id != GHOST.id:
        return SkipReason(
            "the review is by the author of the pull request, so Claude was not asked"
        )
    if facts.only_replies:
        return SkipReason(
            "the review only replies in existing review threads, so Claude was not asked"
        )
    if facts.review.body.strip() or facts.comments or facts.omitted:
        return None
    nothing = ReviewAnalysis(worth_saying=False, summary="", requests=[])
    return SkipReason("the review has no text, so Claude was not asked", reply=nothing)


def describe_omissions(facts: ReviewFacts) -> str:
    """Return which comments were not shown; "" if all were."""
    if not facts.omitted:
        return ""
    total = len(facts.comments) + facts.omitted
    comments = f"{facts.omitted} of {count(total, 'comment')} on lines"
    return f"{comments} {was_or_were(facts.omitted)} not shown: over the token budget"


def list_comment_variables(facts: ReviewFacts, reply: ReplyFields) -> Mapping[str, object]:
    """Return variables for the comment template. `dropped` is the number of requests that are
    not in `todos`.
    """
    todos = _find_todos(facts, reply)
    return {
        "commit": facts.review.commit_id[:10],
        "todos": tuple(replace(todo, url=_permalink(facts, todo)) for todo in todos),
        "dropped": len(_list_requests(reply)) - len(todos),
    }


def plan(facts: ReviewFacts, analysis: Analysis) -> tuple[Action, ...]:
    """Plan labels and the reviewer's section of the comment.

    A todo is a request in Claude's reply whose quote can be located in the review. If there are
    no todos, the section is updated only under three conditions: the reply contains no
    requests, the prompt showed all comments, and the state of the review is "approved" or
    "changes_requested".
    """
    todos: list[Todo] = []
    requests: list[ReviewRequest] = []
    for answered in analysis.replies:
        todos += _find_todos(facts, answered.fields)
        requests += _list_requests(answered.fields)
    incomplete = facts.omitted or len(todos) < len(requests)
    groups: tuple[str, ...] = ("status",)
    if incomplete:
        groups = ()
    labels = plan_labels(analysis, *_status_labels(facts, todos), groups=groups)
    if not todos and (incomplete or facts.review.state not in VERDICTS):
        return labels
    section = f"reviewer-{_reviewer_key(facts.review)}"
    create = analysis.worth_saying and bool(todos)
    return (*labels, *plan_comment(analysis, ReviewHandler.family, create=create, section=section))


def _select_comments(comments: Sequence[ReviewComment], tokens: int) -> tuple[ShownComment, ...]:
    selected: list[ShownComment] = []
    for comment in comments:
        shown_comment = _to_shown_comment(comment, number=len(selected) + 1)
        texts = (shown_comment.path, shown_comment.code, shown_comment.body[:MAX_BODY_CHARACTERS])
        needed = TOKENS_PER_COMMENT + sum(map(estimate_tokens, texts))
        if needed <= tokens:
            tokens -= needed
            selected.append(shown_comment)
    return tuple(selected)


def _to_shown_comment(comment: ReviewComment, *, number: int) -> ShownComment:
    # before it is cut: half a credential is not recognised
    hunks = redact_patch(number_patch(comment.hunk)).hunks
    code = ""
    side: Side = "RIGHT"
    if comment.side == "LEFT":
        side = "LEFT"
    line = comment.line
    if hunks and hunks[-1].lines:
        lines = tuple(map(_shorten, hunks[-1].lines[-CONTEXT_LINES:]))
        code = numbered(Patch((Hunk(hunks[-1].header, lines),)))
        if not comment.side:
            side = lines[-1].side
        if line is None:
            line = lines[-1].number
    return ShownComment(number, comment.path, side, line, code, comment.body)


def _shorten(line: Line) -> Line:
    if len(line.text) <= MAX_LINE_LENGTH:
        return line
    return replace(line, text=f"{line.text[:MAX_LINE_LENGTH]} [...]")


def _reviewer_key(review: Review) -> str:
    # Deleted accounts share the user "ghost", so each of their reviews has its own key.
    if review.user.id == GHOST.id:
        return f"{review.user.id}-{review.id}"
    return str(review.user.id)


def _supersedes(later: Review, review: Review) -> bool:
    return _reviewer_key(later) == _reviewer_key(review) and later.state in VERDICTS


def _has_objections(reviews: Sequence[Review]) -> bool:
    last: dict[str, str] = {}  # verdict, by reviewer
    for review in reviews:
        if review.state in (*VERDICTS, "dismissed") and not review.user.is_bot:
            last[_reviewer_key(review)] = review.state
    return "changes_requested" in last.values()


def _list_requests(reply: ReplyFields) -> Sequence[ReviewRequest]:
    if not isinstance(reply, ReviewAnalysis):
        return ()
    return reply.requests


def _find_todos(facts: ReviewFacts, reply: ReplyFields) -> list[Todo]:
    text = _normalize(facts.review.body)
    bodies = [(comment, _normalize(comment.body)) for comment in facts.comments]
    todos = [_find_todo(request, text, bodies) for request in _list_requests(reply)]
    return sorted(filter(None, todos), key=lambda todo: not todo.blocking)


def _find_todo(
    request: ReviewRequest, text: str, bodies: Sequence[tuple[ShownComment, str]]
) -> Todo | None:
    quote = _normalize(request.quote)
    if not quote:
        return None
    matching = [comment for comment, body in bodies if quote in body]
    named = next((comment for comment in matching if comment.number == request.comment), None)
    task = request.todo.strip() or request.quote
    if named is None and quote in text:
        return Todo(task, request.quote, None, None, "RIGHT", request.blocking)
    if named is None and len(matching) != 1:  # the quote is in no comment, or in several
        return None
    place = named or matching[0]
    return Todo(task, request.quote, place.path, place.line, place.side, request.blocking)


def _permalink(facts: ReviewFacts, todo: Todo) -> str:
    if todo.path is None or todo.line is None:
        return ""
    commit = facts.review.commit_id
    if todo.side == "LEFT":
        commit = facts.pull_request.base_sha
    return permalink(facts.pull_request.html_url, commit, todo.path, todo.line)


def _normalize(text: str) -> str:
    # cleaned as in the prompt
    plain = normalize("NFKC", redact(clean(text))).translate(PLAIN_QUOTES)
    return " ".join(QUOTE_PREFIX.sub("", plain).split())


def _status_labels(facts: ReviewFacts, todos: Sequence[Todo]) -> tuple[RequestedLabel, ...]:
    if facts.objections or any(todo.blocking for todo in todos):
        return (RequestedLabel("status/needs-changes", "status"),)
    if todos:
        return (RequestedLabel("status/needs-review", "status"),)
    return ()
