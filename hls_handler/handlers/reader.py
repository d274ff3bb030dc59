"""Interfaces from which handlers read: `Reader` (GitHub) and `RepositoryHistory` (HLS's database),
and their values.

pydantic's `TypeAdapter` creates the values from GitHub's JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import AliasChoices, AliasPath, BeforeValidator, Field

from hls_handler.ci.steps import WorkflowStep
from hls_handler.errors import DependencyDown, Permanent, Retryable
from hls_handler.events import (
    Account,
    Comment,
    Count,
    Issue,
    PullRequest,
    Release,
    Review,
    Text,
    is_present,
    null_to,
)
from hls_handler.review.record import NO_REVIEW, ReviewRecord, ReviewThread
from hls_handler.review.second_sites import Hit
from hls_handler.settings.values import PathFilter

T = TypeVar("T")

COMMIT_OF_URL = re.compile(r"\?ref=([0-9a-f]{40}|[0-9a-f]{64})")


def _commit_of(contents_url: object) -> str | None:
    found = COMMIT_OF_URL.search(contents_url) if isinstance(contents_url, str) else None
    return found[1] if found else None


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
class Blob:
    """The content of a file in git."""

    sha: str
    is_binary: bool = False  # False also with a byte order mark, and if GitHub does not know it
    text: str = ""  # of at most 1,024 bytes, such as a pointer of Git LFS; "" for a longer text


@dataclass(frozen=True, slots=True)
class OpenPullRequest:
    """An entry of https://docs.github.com/en/rest/pulls/pulls#list-pull-requests"""

    number: int
    # people, without teams
    requested_reviewers: Annotated[tuple[Account, ...], null_to(()), Field(default=())]


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
    """Result of `Reader.job_log` if the job has no log. This is not an error."""

    why: Literal["expired", "empty"]  # expired: deleted, never written, or past its retention


@dataclass(frozen=True, slots=True)
class FileAtRef:
    """A file or folder of a branch.
    https://docs.github.com/en/rest/repos/contents#get-repository-content
    """

    # "file" also for a symlink to a file of the repository
    kind: Literal["file", "directory", "symlink", "submodule"]
    sha: str  # SHA of the blob; "" for a directory
    content: bytes | None  # content of a file; None if it is over 1 MB, because GitHub omits it


@dataclass(frozen=True, slots=True)
class RepositoryLabel:
    """A label that exists in the repository. https://docs.github.com/en/rest/issues/labels"""

    name: str
    description: Text  # "" if it has none


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
"""Files of the base branch that say what reviewers of the repository should know."""


@dataclass(frozen=True, slots=True)
class GuidanceFile:
    path: str  # one of `GUIDANCE_PATHS`
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
    `Reader.review_context`.
    """

    attributes: str = ""  # text of `.gitattributes` of the base branch
    guidance: tuple[GuidanceFile, ...] = ()
    linked_issues: tuple[LinkedIssue, ...] = ()  # at most 3


NO_CONTEXT = ReviewContext()

_LOGIN = AliasPath("author", "login")
_GIT_NAME = AliasPath("commit", "author", "name")


def _text_or_empty(value: object) -> str:
    # GitHub sends null or {} for an author without an account
    return value if isinstance(value, str) else ""


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
    `Reader.commits_between`.
    """

    total: Annotated[int, Field(validation_alias="total_commits")]
    commits: tuple[Commit, ...]  # oldest first; at most 250


@dataclass(frozen=True, slots=True)
class PickConflict:
    """A file that cannot be merged. Its texts are untrusted, and neither cleaned nor redacted."""

    path: str
    ours: str  # the file on the branch
    # of the merged file: the parts with odd indexes are conflicts, with git's marks
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """The result of `git cherry-pick`, computed in the mirror."""

    is_empty: bool  # True: the branch has the change already
    conflicts: tuple[PickConflict, ...]


class RepositoryFiles(Protocol):
    """Read access to the files of a repository at one commit. Its texts are untrusted."""

    @property
    def no_mirror(self) -> str:
        """Why HLS has no mirror of the repository, so that no words are found; "" if it has one."""

    def list_files(self, extensions: Collection[str]) -> Mapping[str, str]:
        """The ids of the contents of all files with one of the extensions, such as ".md", by path.

        Nothing without a mirror.
        """

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        """The texts of files, by path, cleaned and redacted.

        Missing files, binary files, and files of more than 2,000,000 bytes are left out. Without a
        mirror, GitHub's API returns the first 20 of at most 200,000 bytes, in one request.
        """

    def blobs(self, ids: Sequence[str], contents: Sequence[str]) -> Mapping[str, Blob]:
        """The files at names such as "refs/heads/main:run.sh", of any revision, by name.

        Of the names in `ids`, only the SHA is read. Missing files are left out. One request, and a
        second one if some are texts of at most 1,024 bytes.
        """

    def find_words(
        self, words: Collection[str], paths: Collection[str] | None = None
    ) -> Sequence[Hit]:
        """The lines with one of the words, in these files or in all. A word that is too frequent is
        left out.
        """

    def parents(self) -> tuple[str, ...]:
        """The parents of the commit. Nothing without a mirror."""

    def cherry_pick(self, base: str, onto: str) -> Pick | None:
        """Merge the change from `base` to the commit into `onto`, another commit. None without a
        mirror.
        """


RepositoryPermission = Literal["admin", "write", "read", "none"]


class Reader(Protocol):
    """Read access to one repository on GitHub.

    All methods raise `Permanent` if the object does not exist or access is denied; the message
    names the missing permission. They raise `DependencyDown` if GitHub is unavailable.
    """

    def issue(self, number: int) -> Issue: ...

    def pull_request(self, number: int) -> PullRequest: ...

    def pull_request_document(self, number: int) -> Mapping[str, object]:
        """The pull request as GitHub sends it, and as webhooks contain it."""

    def open_pull_requests(self) -> tuple[OpenPullRequest, ...]:
        """At most 100, the last changed ones first; one request."""

    def last_authors(self, path: str, *, ref: str) -> tuple[Account, ...]:
        """The authors of the last 10 commits that changed a file, newest first, if they have an
        account.
        """

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        """All files that GitHub lists (at most 3,000), in its order."""

    def reviews(self, number: int) -> tuple[Review, ...]:
        """The reviews of a pull request, oldest first; at most 1,000."""

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        """The comments of one review, each on lines of a file or a whole file, oldest first; at
        most 1,000.
        """

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        """The review threads of a pull request that HLS opened, oldest first.

        HLS opened a thread if its first comment is by the bot account and ends with our marker. At
        most 500 threads are read, and of each thread 100 comments.
        """

    def thread_comments(self, number: int, thread: int) -> tuple[Comment, ...]:
        """The comments of a review thread, oldest first. `thread` is the id of the first one.

        Only the newest 1,000 review comments of the pull request are searched.
        """

    def merge_state(self, number: int) -> MergeState:
        """Return what prevents the merge of a pull request, without `open_threads`. One request."""

    def review_context(
        self, number: int, base_ref: str, *, guidance: bool, linked_issues: bool
    ) -> ReviewContext:
        """Files of the branch `base_ref`, never of the head, and the issues that the pull request
        closes.

        One request. `guidance` and `linked_issues` are False for parts that are not wanted.
        """

    def files_at(self, sha: str) -> RepositoryFiles:
        """The files of the repository at a commit."""

    def head_commit(self, branch: str) -> str | None:
        """The newest commit of a branch; None if there is no such branch."""

    def permission(self, login: str) -> RepositoryPermission:
        """The permission of an account on the repository; "none" if GitHub does not know the
        account.
        """

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        """The newest `most` comments of an issue or a pull request, oldest first.

        The number of requests does not grow with the length of the conversation.
        """

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        """All jobs of one attempt of a run, in GitHub's order; at most 1,000."""

    def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
        """The first 100 annotations of a check run. One request."""

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        """The lines of a job's log without line ends, read from the network during the iteration.

        A line begins with its time, such as "2026-11-02T09:14:31.1234567Z ", and may contain colour
        codes and `##[error]`. A line is cut at 16,384 characters, the log at 100 MB. The iterator
        raises `DependencyDown` if the connection breaks. Close the iterator if you do not read all
        lines.
        """

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        """The open pull requests whose head is `head`, a branch of the repository or of a fork:
        "octocat:fix/checkout".

        `additions`, `deletions`, `changed_files` and `commits` are 0, because GitHub's list omits
        them.
        """

    def releases(self) -> tuple[Release, ...]:
        """At most 100 releases, newest first. Drafts are included if the token has push access."""

    def commits_between(self, base: str, head: str) -> Comparison | None:
        """The commits reachable from `head` and not from `base`; both are tags, branches or
        commits.

        None if one of them does not exist, or if they have no common history.
        """

    def labels(self) -> tuple[RepositoryLabel, ...]:
        """The labels of the repository; at most 5,000, and possibly an hour old."""

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        """The file or folder at `path` in the branch `ref`; None if not found. `ref` None means the
        default branch.
        """


@dataclass(frozen=True, slots=True)
class Failure:
    workflow_id: int
    run_id: int
    attempt: int  # of the run, from 1
    job: str  # name of the job
    step: str  # name of the step; "" if the job failed without a failed step
    branch: str
    head_sha: str


@dataclass(frozen=True, slots=True)
class RunResult:
    workflow_id: int
    event: str  # the event that triggered the run: "pull_request", "push"
    branch: str
    run_id: int
    run_number: int  # number of the run among the workflow's runs
    attempt: int
    passed: bool
    head_sha: str

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: greater for a later run or attempt."""
        return self.run_number, self.attempt


@dataclass(frozen=True, slots=True)
class HistoryUpdate:
    """Changes of the stored history of the repository: results of a workflow run, texts of
    issues.
    """

    failures: tuple[Failure, ...] = ()
    ends: tuple[RunResult, ...] = ()
    issue: Issue | None = None  # to find it as similar to later ones
    closed_issues: tuple[int, ...] = ()  # numbers of issues whose texts are deleted


@dataclass(frozen=True, slots=True)
class StoredSection:
    """A section of the repository's documentation. Its texts are untrusted."""

    path: str
    title: str  # the headings above it and its own: "Setup > Install"
    line: int
    end_line: int
    text: str
    commit: str  # of the default branch


@dataclass(frozen=True, slots=True)
class StoredIssue:
    """An issue that shares words with another one."""

    number: int
    score: float  # from 0 to 2.2


@dataclass(frozen=True, slots=True)
class Correction:
    """A label that HLS set and that a person replaced or removed within a month."""

    field: str  # the reply's field that the label came from: "priority"
    said: str  # the label that we set: "priority-high"
    became: str  # the label that the person set instead; "" for none
    title: str  # beginning of the issue's title; untrusted text


class RepositoryHistory(Protocol):
    """Read access to what HLS has stored about one repository; without an implementation, nothing
    is stored.
    """

    @property
    def accounts(self) -> tuple[str, ...]:
        """Logins of HLS's accounts, that of the bot account first: ("hls[bot]",)."""

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        """Failures of a workflow within the last `days` (at most 30), newest first; at most 500."""
        return ()

    def ends(self, workflow_id: int) -> tuple[RunResult, ...]:
        """Results of the runs of a workflow within the last 30 days, latest first; at most 500."""
        return ()

    def find_pull_request(self, repository: str, commit: str) -> int | None:
        """The newest pull request that had this head commit in an event; None if there is none."""
        return None

    def issue(
        self, number: int, family: str, *, most_corrections: int
    ) -> tuple[str | None, tuple[Correction, ...]]:
        """The result of `comment_state`, and the newest label corrections on issues, newest first.

        At most one correction per issue.
        """

    def sections(self, title: str, body: str, ignored: PathFilter) -> tuple[StoredSection, ...]:
        """The sections of the documentation that fit a question best, at most three, without
        ignored files.

        Nothing if none fits.
        """
        return ()

    def similar_issues(
        self, number: int, title: str, body: str, labels: Collection[str]
    ) -> tuple[StoredIssue, ...]:
        """The older issues that share words with the issue `number`, the most similar first.

        An issue with labels, of which none is in `labels`, is left out, unless `labels` is empty.
        """
        return ()

    def has_comment(self, number: int, family: str) -> bool:
        """Return True if HLS has posted a comment of this family ("onboarding") on the
        conversation.
        """
        return False

    def comment_state(self, number: int, family: str) -> str | None:
        """Return the `EnsureComment.state` that was last posted on the conversation; None if there
        is none.
        """

    def review(self, number: int) -> ReviewRecord:
        """Return what is stored about the reviews of a pull request."""


@dataclass(frozen=True, slots=True)
class EmptyHistory(RepositoryHistory):
    """A history that has only the given corrections and states of comments, for sample values and
    `hls render`.
    """

    accounts: tuple[str, ...] = ("hls[bot]",)
    corrected: tuple[Correction, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)  # of our comments, by family
    reviewed: ReviewRecord = NO_REVIEW

    def issue(
        self, number: int, family: str, *, most_corrections: int
    ) -> tuple[str | None, tuple[Correction, ...]]:
        return self.states.get(family), self.corrected[:most_corrections]

    def comment_state(self, number: int, family: str) -> str | None:
        return self.states.get(family)

    def review(self, number: int) -> ReviewRecord:
        return self.reviewed


EMPTY_HISTORY = EmptyHistory()


def read_optional(read: Callable[[], T], otherwise: T) -> tuple[T, str]:
    """Return what `read` returns and ""; if its request fails, `otherwise` and the reason.

    Use it for what the work can do without. Raises `DependencyDown` if all requests must wait,
    because then the work cannot continue either.
    """
    try:
        return read(), ""
    except (Permanent, Retryable) as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls:
            raise
        return otherwise, str(exc)
