"""What a handler may read from GitHub, and nothing else: `clients` implements it, the sandbox does too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from hls_handler.events import Comment, Issue, PullRequest, Release, Review


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file of a pull request. https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files"""

    path: str
    previous_path: str | None  # of a renamed one
    status: str  # "added", "removed", "modified", "renamed", "copied", "changed", "unchanged"
    additions: int
    deletions: int
    patch: str | None  # None for binary, renamed-only and huge files


@dataclass(frozen=True, slots=True)
class ReviewComment:
    """What a reviewer wrote about lines of a file.

    https://docs.github.com/en/rest/pulls/reviews#list-comments-for-a-pull-request-review
    """

    path: str
    side: str | None  # "RIGHT", or "LEFT" for a removed line
    line: int | None  # the (last) line, as it was numbered then; GitHub leaves it away where `hunk` tells it
    hunk: str  # the patch, down to that line; "" of a comment on the whole file
    body: str
    is_reply: bool  # in a thread that another comment began


@dataclass(frozen=True, slots=True)
class WorkflowStep:
    number: int  # counted from 1
    name: str
    conclusion: str | None  # "success", "failure", "skipped", "cancelled"; None until it is completed
    started_at: datetime | None  # aware UTC, whole seconds
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkflowJob:
    """A job of one attempt of a run.

    https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt
    """

    id: int  # each attempt's job has its own
    name: str
    conclusion: str | None  # as a step's; also "timed_out", "action_required", "neutral"
    attempt: int  # of the run; an earlier one where only failed jobs were run again
    html_url: str
    steps: tuple[WorkflowStep, ...]  # in their order; none where no runner took the job


@dataclass(frozen=True, slots=True)
class NoLog:
    """Why a job has no log to read. Both are ordinary."""

    why: Literal["expired", "empty"]  # deleted, never written or past its days; there, with nothing in it


@dataclass(frozen=True, slots=True)
class FileAtRef:
    """What stands at a path of a branch. https://docs.github.com/en/rest/repos/contents#get-repository-content"""

    kind: Literal["file", "directory", "symlink", "submodule"]  # a symlink to a file inside is told as that file
    sha: str  # of the blob; "" of a directory
    content: bytes | None  # of a file; None where GitHub shows none, since it is too large (over 1 MB)


@dataclass(frozen=True, slots=True)
class Commit:
    sha: str
    message: str  # the whole: subject, blank line, body
    author: str  # login, or the git author's name where GitHub knows no account


@dataclass(frozen=True, slots=True)
class Comparison:
    """The commits that one point of the history has and another lacks."""

    total: int
    commits: tuple[Commit, ...]  # the oldest first; at most 250


class Reader(Protocol):
    """Reads of one repository.

    Raises `Permanent` with the reason where GitHub says that the thing is not there (404, 410, moved, 403 with the
    missing permission named), `DependencyDown` where GitHub itself is the trouble.
    """

    def issue(self, number: int) -> Issue: ...

    def pull_request(self, number: int) -> PullRequest: ...

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        """All files that GitHub lists (it stops at 3,000), in its order."""
        ...

    def reviews(self, number: int) -> tuple[Review, ...]:
        """The reviews of a pull request, the oldest first; at most 1,000."""
        ...

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        """The comments on lines that belong to one review, the oldest first; at most 1,000."""
        ...

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        """The newest comments under an issue or a pull request, the oldest of them first.

        However many there are, no more than is needed is read: pages come from the end.
        """
        ...

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        """The jobs of one attempt of a run, in GitHub's order; at most 1,000.

        What an earlier attempt came to is told by its own jobs, of which GitHub lists all.
        """
        ...

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        """The lines of a job's log, without line ends, read from the network as they are taken.

        Each begins with its time ("2026-11-02T09:14:31.1234567Z "); what tools wrote follows as they wrote it: colours,
        `##[group]` and `##[error]` of GitHub's own. A line is cut visibly at 16,384 characters, the log at 100 MB.
        Taking lines raises `DependencyDown` where the connection breaks. An iterator that is given up should be closed.
        """
        ...

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        """Open pull requests from a branch, "octocat:fix/checkout", a fork's or our own.

        GitHub's list leaves `additions`, `deletions`, `changed_files` and `commits` away: they are 0.
        """
        ...

    def releases(self) -> tuple[Release, ...]:
        """The newest 100, the newest first; with drafts where the token may push."""
        ...

    def commits_between(self, base: str, head: str) -> Comparison | None:
        """What `head` has and `base` lacks; both are tags, branches or commits.

        None where GitHub knows one of them not, or they have no history in common.
        """
        ...

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        """What stands at a path of a branch, of the default one where `ref` is None; None where nothing does."""
        ...
