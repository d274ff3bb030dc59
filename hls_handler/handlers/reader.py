"""Interfaces from which handlers read: `Reader` (GitHub) and `RepositoryHistory` (HLS's database),
and their values.

pydantic's `TypeAdapter` creates the values from GitHub's JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from hls_handler.errors import DependencyDown, Permanent, Retryable
from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review
from hls_handler.git.mirror import Hit, Pick
from hls_handler.github.values import (
    Blob,
    ChangedFile,
    CheckAnnotation,
    Comparison,
    FileAtRef,
    MergeState,
    NoLog,
    OpenPullRequest,
    RepositoryLabel,
    RepositoryPermission,
    ReviewComment,
    ReviewContext,
    ReviewThread,
    TimelineEvent,
    WorkflowJob,
)
from hls_handler.review.record import NO_REVIEW, ReviewRecord
from hls_handler.settings.values import PathFilter

T = TypeVar("T")


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

    def find_words(self, words: Collection[str]) -> Sequence[Hit]:
        """The lines with one of the words. A word that is too frequent is left out."""

    def patches_since(self, commit: str, paths: Collection[str]) -> Mapping[str, str] | None:
        """The patches of these files since another commit, as GitHub shows patches, by path.

        None without a mirror, or if it cannot have that commit.
        """

    def parents(self) -> tuple[str, ...]:
        """The parents of the commit. Nothing without a mirror."""

    def cherry_pick(self, base: str, onto: str) -> Pick | None:
        """Merge the change from `base` to the commit into `onto`, another commit. None without a
        mirror.
        """


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
        self, number: int, base_ref: str, *, guidance: Sequence[str]
    ) -> ReviewContext:
        """Files of the branch `base_ref`, never of the head, and the issues that the pull request
        closes.

        One request. `guidance` are the paths of the files to read.
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

    def timeline(self, number: int) -> tuple[TimelineEvent, ...]:
        """The timeline of an issue, oldest first; at most 2,000 entries."""

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


@dataclass(frozen=True, slots=True)
class OptionalRead(Generic[T]):
    """The result of a read that the work can do without."""

    value: T
    problem: str = ""  # why it failed; "" if it did not


def read_optional(read: Callable[[], T], otherwise: T) -> OptionalRead[T]:
    """Return what `read` returns; if its request fails, `otherwise` and the reason.

    Raises `DependencyDown` if all requests must wait, because then the work cannot continue either.
    """
    try:
        return OptionalRead(read())
    except (Permanent, Retryable) as exc:
        if isinstance(exc, DependencyDown) and exc.applies_to_all_calls:
            raise
        return OptionalRead(otherwise, str(exc))


def read_texts(files: RepositoryFiles, paths: Collection[str]) -> OptionalRead[Mapping[str, str]]:
    """Return the texts of files, by path. Without paths, no request is made."""
    none: Mapping[str, str] = {}
    if not paths:
        return OptionalRead(none)
    return read_optional(lambda: files.texts(paths), none)
