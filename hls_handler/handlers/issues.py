"""Handler for issues: labels, and a comment that asks the author for missing information or answers
a question.

If settings ask for it, the comment also sums the issue up and names the labels, and there is always
one. The comment lists the missing information as a checklist, which is evaluated again when the
author edits the issue or comments on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureIssueType, IssueType, RequestedLabel
from hls_handler.analysis import ASSESSMENT, Analysis, IssueAnalysis, ReplyFields, is_worth_saying
from hls_handler.deliveries import End
from hls_handler.errors import Permanent
from hls_handler.events import GHOST, Comment, Event, Issue
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import read_optional
from hls_handler.github.values import LabelOffer, RepositoryLabel, list_offered, web_url
from hls_handler.handlers.handler import (
    DocumentSection,
    Handler,
    QuotedSection,
    as_one_line,
    check_conversation,
    contains_quote,
    count_comment_tokens,
    current_issue,
    describe_sections,
    field_types,
    find_conversation,
    keep_proved_answers,
    list_quoted,
    newest_within_budget,
    parse_comment_state,
    plan_comment,
    read_offer,
    view_sections,
)
from hls_handler.handlers.job import FactSource, Job, ask_all
from hls_handler.handlers.labels import describe_missing, list_wanted_labels, plan_labels
from hls_handler.handlers.reader import (
    CorrectedLabel,
    HistoryUpdate,
    RepositoryHistory,
    StoredIssue,
    StoredSection,
)
from hls_handler.routing import MARKER
from hls_handler.settings.sections import EffectiveLabels
from hls_handler.settings.values import Summary

FAMILY = "issues"
STATUS = "status"
NEEDS_INFO = "status/needs-info"

ISSUE_TYPES: Mapping[str, IssueType] = {
    "bug": "Bug",
    "enhancement": "Feature",
    "documentation": "Task",
    "maintenance": "Task",
}
"""By the kind of the issue. A question has no type."""

MAX_CORRECTIONS = 6
"""Limit on the label corrections that the prompt shows as examples. More would increase the cost of
every prompt.
"""

MAX_COMMENTS = 30  # newest comments of the issue in which the author's are searched

MAX_REQUESTS = 20  # items of one checklist

DEFAULT_LABELS = EffectiveLabels()


@dataclass(frozen=True, slots=True)
class InformationRequest:
    """An item of the checklist in our comment: what the author is asked to add."""

    text: str
    answered: bool


_REQUESTS = TypeAdapter(tuple[InformationRequest, ...])


def parse_requests(state: str | None) -> tuple[InformationRequest, ...]:
    """Return the checklist that `EnsureComment.state` contains; () if there is none."""
    return parse_comment_state(_REQUESTS, state)


def dump_requests(requests: Sequence[InformationRequest]) -> str | None:
    """Return the text for `EnsureComment.state`; None if there is no request."""
    if not requests:
        return None
    return _REQUESTS.dump_json(tuple(requests)).decode()


def has_open_requests(history: RepositoryHistory, number: int) -> bool:
    """Return True if our comment on the issue asks the author for something that is still
    missing.
    """
    requests = parse_requests(history.comment_state(number, FAMILY))
    return any(not request.answered for request in requests)


@dataclass(frozen=True, slots=True)
class SimilarIssue:
    number: int
    title: str
    text: str
    url: str  # "" if it is unknown


@dataclass(frozen=True, slots=True)
class SameIssueView:
    """The older issue that Claude takes for the same, and what it says of the matter."""

    number: int
    title: str
    url: str
    quote: str


@dataclass(frozen=True, slots=True)
class IssueFacts:
    issue: Issue  # current state, possibly newer than the event
    corrections: tuple[CorrectedLabel, ...] = ()  # corrections by people in this repository
    requests: tuple[InformationRequest, ...] = ()  # the checklist in our comment, as posted last
    author_comments: tuple[Comment, ...] = ()  # oldest first; empty if they are not needed
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered
    summary: Summary = "on_findings"  # whether there is always a comment
    labels: EffectiveLabels = DEFAULT_LABELS  # settings
    # of the repository's documentation; empty if none fits
    documents: tuple[DocumentSection, ...] = ()
    # older open issues; None: they are not compared
    similar: tuple[SimilarIssue, ...] | None = None
    closed_issues: tuple[int, ...] = ()  # numbers of older ones that share words with it

    @property
    def unwanted(self) -> tuple[str, ...]:
        """The groups of the labels that settings do not want."""
        if "issues" in self.labels.assess:
            return ()
        return ASSESSMENT

    @property
    def repository_labels(self) -> tuple[RepositoryLabel, ...]:
        return list_offered(self.offer)


class IssueHandler(Handler):
    family = FAMILY
    replies = frozenset({"issue_analysis", "issue_response", "generic_analysis"})
    facts_type = IssueFacts
    variable_types: Mapping[str, object] = {
        **field_types(
            IssueFacts, "issue", "corrections", "requests", "author_comments", "documents"
        ),
        "repository_labels": tuple[RepositoryLabel, ...],
        "similar": tuple[SimilarIssue, ...],
    }
    comment_variable_types: Mapping[str, object] = {
        "checklist": tuple[InformationRequest, ...],
        "labels": tuple[str, ...],
        "quoted": tuple[QuotedSection, ...],
        "same": SameIssueView | None,
    }
    superseded_by_newer_answer = True

    def run(self, job: Job) -> End:
        facts = job.record(IssueFacts, gather)
        job.remember(list_texts(facts))
        job.choose(find_conversation(job.event, job.rule))
        job.note(omitted=describe_missing(facts.offer), sent=describe_sections(facts.documents))
        variables = self.variables(facts)
        replies = keep_proved_answers(ask_all(job, variables), facts.documents)
        comment_variables = list_comment_variables(facts, replies.shown)
        analysis = job.render(replies, {**variables, **comment_variables})
        return job.post(*plan(job.event, facts, analysis), reason=replies.left_out)

    def variables(self, facts: IssueFacts) -> Mapping[str, object]:
        return {**super().variables(facts), "similar": facts.similar or ()}


def gather(source: FactSource) -> IssueFacts:
    """Read the issue, and what its analysis rests on."""
    reader = source.reader
    history = source.history
    limits = source.limits
    issue = current_issue(source.event, reader)
    check_conversation(source.event, issue)
    state, corrections = history.issue(issue.number, FAMILY, most_corrections=MAX_CORRECTIONS)
    requests = parse_requests(state)
    sections: tuple[StoredSection, ...] = ()
    if limits.documents:
        sections = history.sections(issue.title, issue.body, limits.ignored_paths)
    similar = SimilarIssues()
    if limits.similar:
        similar = find_similar(issue, reader, history)
    return IssueFacts(
        issue,
        corrections,
        requests,
        author_comments=_read_author_comments(source, issue, requests),
        offer=read_offer(reader, limits),
        summary=limits.summary,
        labels=limits.labels,
        documents=view_sections(sections, issue.html_url),
        similar=similar.shown,
        closed_issues=similar.closed,
    )


def _read_author_comments(
    source: FactSource, issue: Issue, requests: Sequence[InformationRequest]
) -> tuple[Comment, ...]:
    event = source.event
    # Somebody may comment before the event is processed; `hls prompts try` has it as it is now.
    is_discussed = event.action == "opened" and bool(issue.comments)
    if not (requests or is_discussed) or issue.user.id == GHOST.id:
        return ()
    newest = source.reader.comments(issue.number, limit=MAX_COMMENTS)
    comments = {comment.id: comment for comment in newest}
    if event.comment is not None:  # GitHub's list may not have it yet
        comments.setdefault(event.comment.id, event.comment)
    author_comments = [
        comment
        for comment in comments.values()
        if comment.user.id == issue.user.id and MARKER not in comment.body
    ]
    return newest_within_budget(author_comments, source.limits.input_tokens, count_comment_tokens)


def list_texts(facts: IssueFacts) -> HistoryUpdate:
    """Return the text of an issue that later ones are compared with."""
    update = HistoryUpdate(closed_issues=facts.closed_issues)
    if facts.similar is None or facts.issue.state == "closed":
        return update
    return replace(update, issue=facts.issue)


def list_comment_variables(facts: IssueFacts, reply: ReplyFields) -> Mapping[str, object]:
    """Return `checklist` (each request to the author, and whether the reply still misses it), and
    more.

    `labels` are the names of the labels that the reply asks for, `quoted` the sections of the
    documentation that it rests on, `same` is an older issue.
    """
    checklist = facts.requests
    if isinstance(reply, IssueAnalysis):
        checklist = update_requests(facts.requests, reply.missing)
    same = find_same(reply, facts.issue, facts.similar or ())
    if same and _has_nothing_else(facts, reply):
        checklist = ()
    return {
        "checklist": checklist,
        "labels": list_wanted_labels(reply, facts.labels, facts.offer, facts.unwanted),
        "quoted": list_quoted(reply, facts.documents),
        "same": same,
    }


def plan(event: Event, facts: IssueFacts, analysis: Analysis) -> tuple[Action, ...]:
    """Plan labels and a comment. The label `status/needs-info` is set while the checklist has
    open items.
    """
    plan_own_labels = partial(
        plan_labels,
        analysis,
        offer=facts.offer,
        without=facts.unwanted,
    )
    if event.is_closing:
        family = f"{FAMILY}-closed-{facts.issue.number}"  # a comment of its own
        comment = plan_comment(analysis, family, create=analysis.worth_saying)
        return (*plan_own_labels(), *comment)
    checklists = [
        update_requests(facts.requests, answer.fields.missing)
        for answer in analysis.replies
        if isinstance(answer.fields, IssueAnalysis)
    ]
    checklist = checklists[-1] if checklists else facts.requests
    create = analysis.worth_saying
    if analysis.replies:
        fields = analysis.replies[analysis.comment_index].fields
        has_summary = facts.summary == "always" and isinstance(fields, IssueAnalysis)
        has_same = find_same(fields, facts.issue, facts.similar or ()) is not None
        create = create or has_summary or has_same
        if has_same and _has_nothing_else(facts, fields):
            checklist = ()
    is_shown = create or bool(facts.requests)
    needs_info = is_shown and any(not request.answered for request in checklist)
    status = (RequestedLabel(NEEDS_INFO, STATUS),) if needs_info else ()
    groups = (STATUS,) if checklists else ()
    labels = plan_own_labels(*status, groups=groups)
    types = _plan_type(event, facts.labels, analysis)
    state = dump_requests(checklist)
    comment = plan_comment(analysis, FAMILY, create=create, state=state)
    return (*labels, *types, *comment)


def _plan_type(
    event: Event, settings: EffectiveLabels, analysis: Analysis
) -> tuple[EnsureIssueType, ...]:
    """Return the action that sets the issue's type by its kind; () if only a person owns the
    repository.
    """
    if not (settings.issue_type and event.organization_id is not None):
        return ()
    for reply in (answered.fields for answered in analysis.replies):
        if isinstance(reply, IssueAnalysis) and reply.kind in ISSUE_TYPES:
            return (EnsureIssueType(ISSUE_TYPES[reply.kind]),)
    return ()


def _has_nothing_else(facts: IssueFacts, reply: ReplyFields) -> bool:
    """Return True if a comment on the issue would only name an older one."""
    return not (is_worth_saying(reply) or facts.summary == "always" or facts.requests)


def update_requests(
    requests: Sequence[InformationRequest], missing: Iterable[str]
) -> tuple[InformationRequest, ...]:
    """Return the checklist after a reply: an item is answered if `missing` does not repeat it; new
    items follow.

    An answered item stays answered, as its box stays checked, so that the author is not asked again
    and again.
    """
    still_missing = {_normalize(text): text for text in missing}
    earlier_requests = [
        replace(request, answered=request.answered or _normalize(request.text) not in still_missing)
        for request in requests
    ]
    texts = {_normalize(request.text) for request in requests}
    new = [
        InformationRequest(text, answered=False)
        for key, text in still_missing.items()
        if key not in texts
    ]
    return (*earlier_requests, *new)[:MAX_REQUESTS]


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".?! ")


MAX_SHOWN = 3
MAX_READ = 5  # candidates that are read from GitHub, because some may be closed by now

_TAG = re.compile(r"\s*\[[^\]]*\][\s:-]*")


def without_prefix(title: str) -> str:
    """Return the title of an issue without the tag that a form wrote: "It crashes" for "[Bug]: It
    crashes".

    Other words before a colon stay, because they often name the subject: "Invoice PDF: names are
    cut off". Those that many issues have, such as "bug", weigh little.
    """
    match = _TAG.match(title)
    if match is None or match.end() == len(title):
        return title
    return title[match.end() :]


def _read_candidates(
    issue: Issue, reader: GithubReader, history: RepositoryHistory
) -> Iterator[tuple[StoredIssue, Issue | None]]:
    """Yield up to five older issues with the words of `issue`, as stored and as GitHub has them
    now.

    GitHub's is None if the issue was deleted, or transferred to another repository.
    """

    def read(number: int) -> Issue | None:
        try:
            return reader.issue(number)
        except Permanent:
            return None

    labels = [label.name for label in issue.labels]
    stored = history.similar_issues(issue.number, without_prefix(issue.title), issue.body, labels)
    for candidate in stored[:MAX_READ]:
        other = read_optional(partial(read, candidate.number), None)
        if not other.problem:
            yield candidate, other.value


@dataclass(frozen=True, slots=True)
class SimilarIssues:
    shown: tuple[SimilarIssue, ...] | None = None  # None: they were not searched
    closed: tuple[int, ...] = ()  # numbers of others, closed or deleted


def find_similar(issue: Issue, reader: GithubReader, history: RepositoryHistory) -> SimilarIssues:
    """Return up to three older issues with the words of `issue` that are open."""
    similar_issues: list[SimilarIssue] = []
    gone: list[int] = []
    for stored, other in _read_candidates(issue, reader, history):
        if other is None or other.state == "closed":
            gone.append(stored.number)
        else:
            url = web_url(issue.html_url, f"issues/{stored.number}")
            similar_issues.append(SimilarIssue(stored.number, other.title, other.body, url))
        if len(similar_issues) == MAX_SHOWN:
            break
    return SimilarIssues(tuple(similar_issues), tuple(gone))


def _says(title: str, body: str, quote: str) -> bool:
    return contains_quote(body, quote) or as_one_line(title) == as_one_line(quote)


def find_same(
    reply: ReplyFields, issue: Issue, similar: Sequence[SimilarIssue]
) -> SameIssueView | None:
    """Return the issue that the reply takes for the same, if both contain what it quotes; else
    None.
    """
    if not isinstance(reply, IssueAnalysis) or reply.same_as is None:
        return None
    same = reply.same_as
    other = next((candidate for candidate in similar if candidate.number == same.number), None)
    if other is None or not _says(issue.title, issue.body, same.quote):
        return None
    if not _says(other.title, other.text, same.quote_there):
        return None
    return SameIssueView(other.number, other.title, other.url, same.quote_there)
