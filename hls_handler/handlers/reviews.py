"""Reviews: what a reviewer asks for, as a checklist for the author of the pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from hls_handler.actions import Action, KeepComment, LabelWish
from hls_handler.analysis import Analysis, Reply, ReviewAnalysis, ReviewRequest
from hls_handler.errors import Overtaken, Permanent
from hls_handler.events import GHOST, Event, PullRequest, Review
from hls_handler.handlers.files import were
from hls_handler.handlers.handler import Budget, Handler, Unasked, still_welcome
from hls_handler.handlers.reader import Reader, ReviewComment
from hls_handler.handlers.record import Record
from hls_handler.handlers.wishes import keep_labels
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.review.patch import Hunk, Line, Patch, Side, numbered, parse_patch
from hls_handler.routing import Rule
from hls_handler.untrusted.cleaning import clean
from hls_handler.untrusted.redaction import redact

CONTEXT_LINES = 8
"""Lines of code that are shown above a comment, the one it is about included."""

LONGEST_LINE = 200
"""Characters of a line of code that are shown."""

VERDICTS = ("approved", "changes_requested")

SAME_SIGNS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2039": "<", "\u203a": ">"})
QUOTED = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)

LONGEST_BODY = 4_000
"""Characters of a comment that the shipped prompt shows."""

TOKENS_AROUND = 60
"""What a comment takes beside its text and code: its number, its file, the delimiters."""


@dataclass(frozen=True, slots=True)
class ShownComment:
    """A comment of the review on lines of a file."""

    number: int  # from 1, as Claude sees it
    path: str
    side: Side
    line: int | None  # None of a comment on the whole file
    code: str  # the last lines of the patch down to that line, numbered as in review/patch.py
    body: str


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    pull_request: PullRequest  # as it is now
    review: Review  # as it is now
    comments: tuple[ShownComment, ...]
    omitted: int  # comments beyond the budget
    only_replies: bool  # nothing but answers in threads
    objections: bool  # whether anybody's last verdict is that changes are needed


@dataclass(frozen=True, slots=True)
class Todo:
    """One box of the checklist."""

    text: str
    quote: str  # the reviewer's own words
    path: str | None  # None where the words stand in the review's own text
    line: int | None
    side: Side  # LEFT of a removed line, which is numbered as it was
    blocking: bool


class ReviewHandler(Handler[ReviewFacts]):
    name = "ReviewHandler"
    family = "reviews"
    replies = frozenset({"review_analysis"})
    facts_type = ReviewFacts
    facts_version = 1
    variable_types: Mapping[str, object] = {
        "pull_request": PullRequest,
        "review": Review,
        "comments": tuple[ShownComment, ...],
        "omitted": int,
    }
    comment_variable_types: Mapping[str, object] = {"commit": str, "todos": tuple[Todo, ...], "dropped": int}
    has_sections = True

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> ReviewFacts:
        assert event.pull_request is not None  # parse_event refuses a review without one
        assert event.review is not None
        pull_request = reader.pull_request(event.pull_request.number)
        still_welcome(event, pull_request)
        reviews = reader.reviews(pull_request.number)
        review = next((one for one in reviews if one.id == event.review.id), None)
        if review is None:
            raise Permanent(f"the review {event.review.id} is gone, or behind more than {len(reviews)} others")
        if review.state == "dismissed":
            raise Overtaken("the review was dismissed meanwhile")
        if any(_takes_the_place_of(later, review) for later in reviews[reviews.index(review) + 1 :]):
            raise Overtaken("the same person has reviewed again since")
        written = reader.review_comments(pull_request.number, review.id)
        comments, omitted = _shown(written, budget.input_tokens)
        only_replies = bool(written) and not review.body.strip() and all(comment.is_reply for comment in written)
        return ReviewFacts(pull_request, review, comments, omitted, only_replies, _somebody_objects(reviews))

    def variables(self, event: Event, facts: ReviewFacts) -> Mapping[str, object]:
        return {
            "pull_request": facts.pull_request,
            "review": facts.review,
            "comments": facts.comments,
            "omitted": facts.omitted,
        }

    def unasked(self, facts: ReviewFacts) -> Unasked | None:
        if facts.review.user.id == facts.pull_request.user.id != GHOST.id:
            return Unasked("the author of the pull request wrote it: it asks nothing of the author")
        if facts.only_replies:
            return Unasked("it only answers in threads that are there, where its author is told of it")
        if facts.review.body.strip() or facts.comments or facts.omitted:
            return None
        nothing = ReviewAnalysis(worth_saying=False, summary="", requests=[])
        return Unasked("the review has no words to read, so Claude was not asked", reply=nothing)

    def not_shown(self, facts: ReviewFacts) -> str | None:
        if not facts.omitted:
            return None
        of = len(facts.comments) + facts.omitted
        return f"{facts.omitted} of {of} comments on lines {were(facts.omitted)} not shown, for want of room"

    def comment_variables(self, event: Event, facts: ReviewFacts, reply: Reply) -> Mapping[str, object]:
        """`commit` (the first digits of the one that was reviewed), `todos` (what blocks comes first), `dropped`."""
        todos, dropped = _todos(facts, reply)
        return {"commit": facts.review.commit_id[:10], "todos": todos, "dropped": dropped}

    def plan(self, event: Event, facts: ReviewFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        """Without a request only a verdict takes back what its reviewer asked for, and only if all of it was read."""
        read = [_todos(facts, answer.reply) for answer in analysis.answers]
        todos = [todo for found, _ in read for todo in found]
        unread = facts.omitted or any(dropped for _, dropped in read)
        actions: list[Action] = [*keep_labels(analysis, *_wishes(facts, todos), groups=() if unread else ("status",))]
        if analysis.comment and (todos or (facts.review.state in VERDICTS and not unread)):
            create = analysis.worth_saying and bool(todos)
            section = f"reviewer-{_person(facts.review)}"
            actions.append(KeepComment(self.family, analysis.comment, create, section=section, footer=analysis.footer))
        return tuple(actions)


def _shown(comments: Sequence[ReviewComment], tokens: int) -> tuple[tuple[ShownComment, ...], int]:
    """The comments that fit the budget, the oldest first, and how many do not."""
    shown: list[ShownComment] = []
    left = tokens
    for comment in comments:
        one = _one(comment, number=len(shown) + 1)
        needed = TOKENS_AROUND + sum(map(estimate_tokens, (one.path, one.code, one.body[:LONGEST_BODY])))
        if needed <= left:
            left -= needed
            shown.append(one)
    return tuple(shown), len(comments) - len(shown)


def _one(comment: ReviewComment, *, number: int) -> ShownComment:
    """With the lines above it. GitHub often tells a comment's line only by the end of its hunk."""
    hunks = parse_patch(comment.hunk).hunks
    lines = tuple(map(_short, hunks[-1].lines[-CONTEXT_LINES:])) if hunks else ()
    code = numbered(Patch((Hunk(hunks[-1].header, lines),))) if lines else ""
    last = lines[-1] if lines else None
    side: Side = "LEFT" if (comment.side or (last.side if last else "RIGHT")) == "LEFT" else "RIGHT"
    line = comment.line if comment.line is not None else last.number if last else None
    return ShownComment(number, comment.path, side, line, code, comment.body)


def _short(line: Line) -> Line:
    return line if len(line.text) <= LONGEST_LINE else replace(line, text=f"{line.text[:LONGEST_LINE]} [...]")


def _person(review: Review) -> str:
    """Who reviewed. All whose account was deleted share GitHub's ghost, so of it each review is a person of its own."""
    return f"{review.user.id}-{review.id}" if review.user.id == GHOST.id else str(review.user.id)


def _takes_the_place_of(later: Review, review: Review) -> bool:
    """Whether a later review is the same person's next verdict. A mere comment takes nothing back."""
    return _person(later) == _person(review) and later.state in VERDICTS


def _somebody_objects(reviews: Sequence[Review]) -> bool:
    """Whether any person's last verdict asks for changes. Bots are left out: their change of mind is not worked on."""
    verdicts = [review for review in reviews if review.state in (*VERDICTS, "dismissed") and not review.user.is_bot]
    return "changes_requested" in {_person(review): review.state for review in verdicts}.values()


def _todos(facts: ReviewFacts, reply: Reply) -> tuple[tuple[Todo, ...], int]:
    """The requests whose words the review really has, and how many had none."""
    requests = reply.requests if isinstance(reply, ReviewAnalysis) else []
    text, bodies = _folded(facts.review.body), [(comment, _folded(comment.body)) for comment in facts.comments]
    found = [todo for request in requests if (todo := _todo(request, text, bodies)) is not None]
    return tuple(sorted(found, key=lambda todo: not todo.blocking)), len(requests) - len(found)


def _todo(request: ReviewRequest, text: str, bodies: Sequence[tuple[ShownComment, str]]) -> Todo | None:
    """The place is where the quoted words stand: where the request says, else in the text, else in the one comment."""
    words = _folded(request.quote)
    if not words:
        return None
    having = [comment for comment, body in bodies if words in body]
    named = next((comment for comment in having if comment.number == request.comment), None)
    asked = request.todo.strip() or request.quote
    if named is None and words in text:
        return Todo(asked, request.quote, None, None, "RIGHT", request.blocking)
    place = named or (having[0] if len(having) == 1 else None)
    if place is None:
        return None
    return Todo(asked, request.quote, place.path, place.line, place.side, request.blocking)


def _folded(text: str) -> str:
    """As Claude saw it, without what two writers of the same words may do differently."""
    seen = normalize("NFKC", redact(clean(text))).translate(SAME_SIGNS)
    return " ".join(QUOTED.sub("", seen).split())


def _wishes(facts: ReviewFacts, todos: Sequence[Todo]) -> tuple[LabelWish, ...]:
    """Whose turn it is: the author's while anybody objects, a reviewer's while something is open, nobody's else."""
    if facts.objections or any(todo.blocking for todo in todos):
        return (LabelWish("status/needs-changes", "status"),)
    if todos:
        return (LabelWish("status/needs-review", "status"),)
    return ()
