"""Actions that HLS can take on GitHub: labels, types, comments, reviews, requests, checks. No
others (SECURITY.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class RequestedLabel:
    """A label to set. An issue or pull request gets at most one label of each `group`."""

    name: str  # "priority-high"
    # field of the reply: "priority"; for a label of a list field, field and label: "areas area/api"
    group: str

    @property
    def field(self) -> str:
        return field_of(self.group)


def field_of(group: str) -> str:
    """Return the reply field to which a label group belongs: "areas" for the group "areas
    area/api".
    """
    return group.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class EnsureLabels:
    """Set the labels `requested`, and remove the other labels in `groups`, but only those that HLS
    set.
    """

    requested: tuple[RequestedLabel, ...]
    # HLS removes its labels in these groups, even if no label of the group is requested
    groups: tuple[str, ...]
    # labels that the prompts can request and HLS does not ship
    custom_labels: tuple[RequestedLabel, ...] = ()
    # group -> id of the first prompt that can set it
    prompt_ids: Mapping[str, str] = field(default_factory=dict)
    # names of requested labels that are never created in the repository
    existing_only: frozenset[str] = frozenset()
    # labels that a reply suggests and that are not requested, with reasons
    rejected: tuple[tuple[str, str], ...] = ()


IssueType = Literal["Bug", "Feature", "Task"]


@dataclass(frozen=True, slots=True)
class EnsureIssueType:
    """Set the type of an issue that has none, if its organisation has an enabled type of this
    name. None removes the type that HLS set.
    """

    name: IssueType | None


@dataclass(frozen=True, slots=True)
class EnsureComment:
    """Create or edit HLS's comment on an issue or pull request, which has at most one comment of
    each `family`.

    If `create` is False, only an existing comment is edited. If `section` is set, `body` replaces
    only that section of the comment, and `footer` follows the last section; an empty `body` removes
    the section.
    """

    # name of the comment, in its marker: "issues", like most a folder in prompts/; "comments-7"
    family: str
    # sanitized Markdown, without the hidden marker of the comment; with the footer if `section` is
    # None
    body: str
    create: bool
    section: str | None = None  # "reviewer-21031067": letters, digits and hyphens
    footer: str = ""  # sanitized Markdown; empty if `section` is None
    state: str | None = (
        None  # JSON of what the comment reports, stored with its id for later events
    )
    is_withdrawal: bool = False  # True: a comment that a person edited stays


@dataclass(frozen=True, slots=True)
class StoredComment:
    comment_id: int
    body_digest: str
    state: str | None = None  # `EnsureComment.state`


@dataclass(frozen=True, slots=True)
class InlineComment:
    """A comment on lines of a pull request. The lines are in one hunk of the patch, on one side."""

    # identifies the finding; in the hidden marker of the comment: letters, digits, single - _ . :
    # between
    key: str
    path: str
    side: Literal["LEFT", "RIGHT"]
    start_line: int | None  # None: a single line
    line: int
    body: str  # sanitized Markdown, without the marker


@dataclass(frozen=True, slots=True)
class EnsureReview:
    """Post one review with event COMMENT that has the comments which HLS has not posted yet."""

    commit: str  # SHA that the lines are of
    comments: tuple[InlineComment, ...]


@dataclass(frozen=True, slots=True)
class RequestReviewers:
    """Request reviews of a pull request from people, once."""

    logins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnsureReply:
    """Reply once in a review thread that HLS opened."""

    comment_id: int  # of the first comment of the thread
    # "fixed": identifies the reply; in its hidden marker. A thread has at most one reply of each
    # key
    key: str
    body: str  # sanitized Markdown, without the marker
    # True: the finding is closed, so HLS's comment no longer says how to dismiss it
    ends_footer: bool = False


Reaction = Literal["+1", "eyes", "confused"]
"""Reactions to commands: done, begun, and not possible."""


Conclusion = Literal["success", "neutral", "failure", "cancelled"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A note on lines of a file, as the commit has it. A commit status has no annotations."""

    path: str
    start_line: int
    end_line: int
    level: Literal["notice", "warning", "failure"]
    title: str
    message: str  # plain text


TITLE_CHECK = "HLS title"
"""Name of the check of a pull request's title. Rules of a branch name it, so it never changes."""


@dataclass(frozen=True, slots=True)
class EnsureCheck:
    """End the check on a commit: with App credentials a check run, with a token a commit status."""

    commit: str  # SHA
    conclusion: Conclusion
    title: str  # one line of plain text
    summary: str  # sanitized Markdown, of any length
    description: str  # one line for a commit status, which shows neither title nor summary
    annotations: tuple[Annotation, ...] = ()  # of any number
    # True: the operator's settings exclude the commit; a status, never neutral, is a success
    is_exempt: bool = False


@dataclass(frozen=True, slots=True)
class CommitCheck:
    """A check that a delivery began, or is about to begin."""

    commit: str  # SHA
    external_id: str  # identifies the check run on GitHub; begins with a GUID
    check_run_id: int | None = None  # None: a commit status, or GitHub's response has not arrived
    is_shown: bool = False  # True: GitHub confirmed that the check is in progress
    is_new: bool = True  # False: an earlier attempt may have created the check run
    rejected: str | None = (
        None  # why GitHub rejected the check, as a sentence; it is not tried again
    )


@dataclass(frozen=True, slots=True)
class WrittenCheck:
    """GitHub's confirmation of a check."""

    check_run_id: int | None = None  # None: a commit status
    url: str | None = None
    state: str | None = None  # of a commit status


Action = (
    EnsureLabels
    | EnsureIssueType
    | EnsureComment
    | EnsureReview
    | EnsureReply
    | RequestReviewers
    | EnsureCheck
)


def target_of(action: Action) -> str:
    """Return what the action writes. A delivery has at most one action of each target."""
    match action:
        case EnsureComment():
            return " ".join(filter(None, ["comment", action.family, action.section]))
        case EnsureReply():
            return f"reply {action.comment_id} {action.key}"
        case EnsureCheck():
            return f"check {action.commit}"
        case _:
            return OUTCOME_NAMES[type(action)]


OutcomeName = Literal["labels", "type", "comment", "review", "reply", "reviewers", "check"]
OutcomeKind = Literal[
    "created", "edited", "unchanged", "declined", "withheld", "changed", "dry_run", "off"
]


OUTCOME_NAMES: Mapping[type[Action], OutcomeName] = {
    EnsureLabels: "labels",
    EnsureIssueType: "type",
    EnsureComment: "comment",
    EnsureReview: "review",
    EnsureReply: "reply",
    RequestReviewers: "reviewers",
    EnsureCheck: "check",
}

COMMENT_CREATED = "commented"
COMMENT_EDITED = "edited our comment"
COMMENT_UP_TO_DATE = "our comment is up to date"
"""Texts of `Outcome.detail` for a comment that was created, edited, or already up to date."""

REPLY_CREATED = "replied in a review thread"
REPLY_EXISTS = "our reply in the review thread is posted already"
"""Texts of `Outcome.detail` for a reply that was posted now or earlier."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The stored result of one action. In a dry run, the outcome has the changes that HLS would
    have made.
    """

    action: OutcomeName
    kind: OutcomeKind
    detail: str  # one plain sentence for `hls why`
    added: tuple[str, ...] = ()  # names of labels
    removed: tuple[str, ...] = ()  # names of labels
    comment_id: int | None = None
    url: str | None = None
    body: str | None = None  # text of the comment, as written or as a dry run would have written it
    comment_ids: Mapping[str, int] = field(default_factory=dict)
    """Of a review: the ids of the comments on GitHub by `InlineComment.key`, also of those posted
    earlier.
    """
    # of a review: keys of the comments whose position GitHub rejected
    rejected: tuple[str, ...] = ()
    target: str = ""  # `target_of` the action
