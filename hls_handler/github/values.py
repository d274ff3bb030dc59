"""Values that GitHub's API returns. pydantic's `TypeAdapter` creates them from JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from hls_handler.events import Account, Comment, Count, OptionalTime, Text, is_present, null_to

FAILED = frozenset({"failure", "cancelled", "timed_out"})
"""Conclusions of steps that count as failed. A step that exceeded the job's time limit is
"cancelled".
"""


@dataclass(frozen=True, slots=True)
class WorkflowStep:
    number: int  # from 1
    name: Text
    conclusion: Annotated[str | None, Field(default=None)]
    """ "success", "failure", "skipped", "cancelled"; None until it is completed."""
    started_at: OptionalTime  # aware UTC, whole seconds
    completed_at: OptionalTime

    @property
    def failed(self) -> bool:
        return self.conclusion in FAILED


COMMIT_OF_URL = re.compile(r"\?ref=([0-9a-f]{40}|[0-9a-f]{64})")


def _commit_of(contents_url: object) -> str | None:
    if not isinstance(contents_url, str):
        return None
    match = COMMIT_OF_URL.search(contents_url)
    if match is None:
        return None
    return match[1]


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file of a pull request.
    https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files
    """

    path: Annotated[str, Field(validation_alias="filename")]
    # if renamed
    previous_path: Annotated[str | None, Field(default=None, validation_alias="previous_filename")]
    status: str  # "added", "removed", "modified", "renamed", "copied", "changed", "unchanged"
    additions: Count
    deletions: Count
    # None for binary, huge, and renamed but unchanged files
    patch: Annotated[str | None, Field(default=None)]
    sha: Annotated[str | None, Field(default=None)] = None  # of the new content
    commit: Annotated[
        str | None, Field(validation_alias="contents_url"), BeforeValidator(_commit_of)
    ] = None
    """The head commit of the list, or for a removed file a commit of the base; None if GitHub names
    none.
    """


@dataclass(frozen=True, slots=True)
class OpenPullRequest:
    """An entry of https://docs.github.com/en/rest/pulls/pulls#list-pull-requests"""

    number: int
    # people, without teams
    requested_reviewers: Annotated[tuple[Account, ...], null_to(()), Field(default=())]


@dataclass(frozen=True, slots=True)
class ThreadComment(Comment):
    """https://docs.github.com/en/rest/pulls/comments#list-review-comments-on-a-pull-request"""

    # the first comment of the thread; None if this is the first
    thread_id: Annotated[int | None, Field(default=None, validation_alias="in_reply_to_id")]
    review_id: Annotated[int | None, Field(default=None, validation_alias="pull_request_review_id")]


@dataclass(frozen=True, slots=True)
class ReviewComment:
    """A comment of a reviewer on lines of a file.

    https://docs.github.com/en/rest/pulls/reviews#list-comments-for-a-pull-request-review
    """

    path: str
    side: Annotated[str | None, Field(default=None)]  # "RIGHT", or "LEFT" for a removed line
    line: Annotated[
        int | None, Field(default=None, validation_alias=AliasChoices("original_line", "line"))
    ]
    """Number of the last commented line when the comment was written. If None, the last line of
    `hunk` is meant.
    """
    # ends with the line; "" for the whole file
    hunk: Annotated[Text, Field(validation_alias="diff_hunk")]
    body: Text
    is_reply: Annotated[
        bool, Field(default=False, validation_alias="in_reply_to_id"), BeforeValidator(is_present)
    ]
    """True for a reply in a review thread."""


@dataclass(frozen=True, slots=True)
class WorkflowJob:
    """A job of one attempt of a workflow run.

    https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt
    """

    id: int  # differs between attempts
    name: Text
    conclusion: Annotated[str | None, Field(default=None)]
    """ "success", "failure", "skipped", "cancelled", "timed_out", "action_required", "neutral";
    None if unfinished.
    """
    html_url: Text
    # empty if no runner took the job
    steps: Annotated[tuple[WorkflowStep, ...], null_to(()), Field(default=())]

    @property
    def is_cancelled(self) -> bool:
        """True also for a job that exceeded its time limit."""
        return self.conclusion == "cancelled"


@dataclass(frozen=True, slots=True)
class CheckAnnotation:
    """A remark of a check run on a line.
    https://docs.github.com/en/rest/checks/runs#list-check-run-annotations
    """

    path: Text
    line: Annotated[int, Field(validation_alias="start_line")]
    # "notice", "warning", "failure"
    level: Annotated[Text, Field(validation_alias="annotation_level")]
    title: Text
    message: Text


@dataclass(frozen=True, slots=True)
class NoLog:
    """Result of `GithubReader.job_log` if the job has no log. This is not an error."""

    why: Literal["expired", "empty"]  # expired: deleted, never written, or past its retention


@dataclass(frozen=True, slots=True)
class FileAtRef:
    """A file or folder of a branch.
    https://docs.github.com/en/rest/repos/contents#get-repository-content
    """

    # "file" (also for a symlink to a file of the repository), "directory", "symlink", "submodule"
    kind: str
    sha: str  # SHA of the blob; "" for a directory
    content: bytes | None  # content of a file; None if it is over 1 MB, because GitHub omits it


@dataclass(frozen=True, slots=True)
class RepositoryLabel:
    """A label that exists in the repository. https://docs.github.com/en/rest/issues/labels"""

    name: str
    description: Text  # "" if it has none


@dataclass(frozen=True, slots=True)
class LabelOffer:
    """The labels of the repository that a prompt lists, so that the reply can suggest some of
    them.
    """

    labels: tuple[RepositoryLabel, ...]
    min_confidence: float
    missing: int = 0  # allowed labels for which there is no room


def list_offered(offer: LabelOffer | None) -> tuple[RepositoryLabel, ...]:
    if offer is None:
        return ()
    return offer.labels


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """An entry of an issue's timeline. https://docs.github.com/en/rest/issues/timeline"""

    event: Text  # "labeled", "issue_type_added"; "" if GitHub names none
    actor: Account | None = None  # None for entries without one, and for deleted accounts
    label: Annotated[
        str | None, Field(default=None, validation_alias=AliasPath("label", "name"))
    ] = None


@dataclass(frozen=True, slots=True)
class MergeState:
    """The state of a pull request's merge, as GitHub shows it at the beginning of a review."""

    conflicts: bool | None  # None: GitHub has not decided yet whether it can be merged
    # names of required checks without success, other than that of HLS's review
    missing_checks: tuple[str, ...]
    # of reviewers: "approved", "changes_requested", "review_required"; "" if the branch needs no
    # review
    decision: str
    is_behind: bool
    is_blocked: bool  # by a rule of the branch that GitHub does not name
    open_threads: int = 0  # unresolved review threads of HLS


GUIDANCE_PATHS = (".github/hls.md", "AGENTS.md")
"""Files of the base branch that say what reviewers of the repository should know. Folders have an
`AGENTS.md`, too.
"""


@dataclass(frozen=True, slots=True)
class GuidanceFile:
    path: str  # one of `GUIDANCE_PATHS`, or "api/AGENTS.md"
    text: str  # not blank; at most 60,000 characters


@dataclass(frozen=True, slots=True)
class LinkedIssue:
    """An issue of the same repository that a pull request closes."""

    number: int
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class ReviewContext:
    """The texts of the repository that a review reads besides the patches; result of
    `GithubReader.review_context`.
    """

    attributes: str = ""  # text of `.gitattributes` of the base branch
    guidance: tuple[GuidanceFile, ...] = ()
    linked_issues: tuple[LinkedIssue, ...] = ()  # at most 3


NO_CONTEXT = ReviewContext()


_LOGIN = AliasPath("author", "login")


_GIT_NAME = AliasPath("commit", "author", "name")


def _text_or_empty(value: object) -> str:
    # GitHub sends null or {} for an author without an account
    if isinstance(value, str):
        return value
    return ""


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    message: Annotated[
        Text, Field(validation_alias=AliasChoices(AliasPath("commit", "message"), "message"))
    ]
    """Complete: subject, blank line, body."""
    # login, or the name in git if GitHub has no account for it
    author: Annotated[
        str,
        Field(validation_alias=AliasChoices(_LOGIN, _GIT_NAME, "author")),
        BeforeValidator(_text_or_empty),
    ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The commits from one revision to another, such as "v1.1.0" to "v1.2.0"; result of
    `GithubReader.commits_between`.
    """

    total: Annotated[int, Field(validation_alias="total_commits")]
    commits: tuple[Commit, ...]  # oldest first; at most 250


RepositoryPermission = Literal["admin", "write", "read", "none"]


@dataclass(frozen=True, slots=True)
class ThreadReply:
    author: str  # login; "" if the account was deleted
    body: str  # at most 4,000 characters


@dataclass(frozen=True, slots=True)
class ReviewThread:
    """A review thread that HLS opened.
    https://docs.github.com/en/graphql/reference/objects#pullrequestreviewthread

    If a person also uses the bot account, its reactions and its replies without our marker are the
    person's. Otherwise they are left out.
    """

    comment_id: int  # of HLS's comment, the first of the thread
    key: str  # `InlineComment.key`, from the marker
    is_resolved: bool
    resolved_by: str | None  # login; "" if the account was deleted; None if it is open
    replies: tuple[ThreadReply, ...]  # by people and other bots, oldest first
    own_replies: tuple[str, ...]  # keys of HLS's replies (`EnsureReply.key`)
    thumbs_up: tuple[str, ...]  # logins of those who reacted so to HLS's comment
    thumbs_down: tuple[str, ...]
    line: int | None = None  # where it is now; None if its line was changed


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of a file in git."""

    sha: str
    is_binary: bool = False  # False also with a byte order mark, and if GitHub does not know it
    text: str = ""  # of at most 1,024 bytes, such as a pointer of Git LFS; "" for a longer text


@dataclass(frozen=True, slots=True)
class Revision:
    """A version of the text of an issue.
    https://docs.github.com/en/graphql/reference/objects#usercontentedit
    """

    edited_at: datetime  # aware UTC; of the first version, when the issue was opened
    text: str | None  # None if somebody deleted it from the history


@dataclass(frozen=True, slots=True)
class LabelChange:
    at: datetime  # aware UTC, whole seconds
    actor: Account  # "ghost" if the account was deleted
    name: str  # the present name of the label
    is_added: bool  # False if the label was removed


@dataclass(frozen=True, slots=True)
class IssueHistory:
    """A closed issue as it is now, and what GitHub has of its past."""

    number: int
    author: Account
    created_at: datetime  # aware UTC
    closed_at: datetime
    title: str
    body: str
    labels: tuple[str, ...]
    is_edited: bool  # whether the text was edited
    includes_first_text: bool  # whether the revisions of an edited text begin with the first one
    revisions: tuple[Revision, ...]  # the oldest and the newest one; () if GitHub has none
    earlier_titles: tuple[str, ...]  # oldest first
    label_changes: tuple[LabelChange, ...]  # oldest first
    has_more_changes: bool  # whether titles or labels were changed over 100 times; not all are here


RENDERED = (".md", ".markdown", ".mdx", ".rst")

CONVERSATION_OR_RUN = re.compile(r"/(?:issues|pull|(?:actions/)?runs)/[0-9]+$")


def permalink(
    html_url: str, commit: str, path: str, line: int | None, *, start: int | None = None
) -> str:
    """Return the address of a file at a commit, or of the lines from `start` to `line`; "" if it is
    unknown.

    `html_url` is that of an issue, a pull request or a run of the repository.
    """
    if not commit:
        return ""
    place = f"blob/{commit}/{quote(path)}"
    if path.lower().endswith(RENDERED):
        place += "?plain=1"
    if line is None:
        return web_url(html_url, place)
    if start in (None, line):
        return web_url(html_url, f"{place}#L{line}")
    return web_url(html_url, f"{place}#L{start}-L{line}")


def web_url(html_url: str, path: str) -> str:
    """Return the address of `path` in the repository whose issue, pull request or run has
    `html_url`.
    """
    match = CONVERSATION_OR_RUN.search(html_url)
    if match is None:
        return ""
    return f"{html_url[: match.start()]}/{path}"
