"""Reads of one repository, one request per call or page, returned as HLS's values.

The `Wire...` classes are the formats of the objects that webhooks do not contain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Base64Bytes, BaseModel, BeforeValidator, ConfigDict, TypeAdapter

from hls_handler.ci.steps import WorkflowStep
from hls_handler.clients.api import GithubApi, repository_path
from hls_handler.clients.job_log import read_log
from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review, Text, UtcTime
from hls_handler.handlers.reader import (
    ChangedFile,
    Commit,
    Comparison,
    FileAtRef,
    NoLog,
    ReviewComment,
    WorkflowJob,
)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _WireChangedFile(_Wire):
    filename: str
    previous_filename: str | None = None
    status: str
    additions: int = 0
    deletions: int = 0
    patch: str | None = None

    def value(self) -> ChangedFile:
        return ChangedFile(
            path=self.filename,
            previous_path=self.previous_filename,
            status=self.status,
            additions=self.additions,
            deletions=self.deletions,
            patch=self.patch,
        )


class _WireReviewComment(_Wire):
    path: str
    side: str | None = None
    line: int | None = None
    original_line: int | None = None
    diff_hunk: Text = ""
    body: Text = ""
    in_reply_to_id: int | None = None

    def value(self) -> ReviewComment:
        line = self.line if self.original_line is None else self.original_line
        return ReviewComment(
            path=self.path,
            side=self.side,
            line=line,
            hunk=self.diff_hunk,
            body=self.body,
            is_reply=self.in_reply_to_id is not None,
        )


class _WireStep(_Wire):
    number: int
    name: Text = ""
    conclusion: str | None = None
    started_at: UtcTime | None = None
    completed_at: UtcTime | None = None

    def value(self) -> WorkflowStep:
        return WorkflowStep(**dict(self))


class WireJob(_Wire):
    id: int
    name: Text = ""
    conclusion: str | None = None
    run_attempt: int = 1
    html_url: Text = ""
    steps: tuple[_WireStep, ...] | None = None

    def value(self) -> WorkflowJob:
        return WorkflowJob(
            id=self.id,
            name=self.name,
            conclusion=self.conclusion,
            attempt=self.run_attempt,
            html_url=self.html_url,
            steps=tuple(step.value() for step in self.steps or ()),
        )


class WireContent(_Wire):
    """For a file of more than 1 MB, `encoding` is "none" and there is no content."""

    type: Literal["file", "symlink", "submodule"]
    sha: str
    encoding: str | None = None
    content: Base64Bytes | None = None

    def value(self) -> FileAtRef:
        return FileAtRef(self.type, self.sha, self.content if self.encoding == "base64" else None)


class _WireGitAuthor(_Wire):
    name: Text = ""


class _WireGitCommit(_Wire):
    message: Text = ""
    author: _WireGitAuthor | None = None


def _none_if_empty(value: object) -> object:
    """GitHub sends null or an empty object for a commit whose author has no account."""
    return value or None


class _WireCommit(_Wire):
    sha: str
    commit: _WireGitCommit
    author: Annotated[Account | None, BeforeValidator(_none_if_empty)] = None

    def value(self) -> Commit:
        author = self.author.login if self.author else (self.commit.author or _WireGitAuthor()).name
        return Commit(sha=self.sha, message=self.commit.message, author=author)


class WireComparison(_Wire):
    total_commits: int
    commits: tuple[_WireCommit, ...]

    def value(self) -> Comparison:
        return Comparison(total=self.total_commits, commits=tuple(commit.value() for commit in self.commits))


MAX_FILE_PAGES = 30
"""GitHub lists at most 3,000 files of a pull request."""

MAX_REVIEW_PAGES = 10
"""Limit of pages with 100 items each, for reviews and for the comments of one review."""

MAX_JOB_PAGES = 10

LAST_PAGE_LINK = re.compile(r'<[^>]*[?&]page=(\d{1,7})[^>]*>;\s*rel="last"')


_ISSUE = TypeAdapter(Issue)
_PULL_REQUEST = TypeAdapter(PullRequest)
_FILES = TypeAdapter(tuple[_WireChangedFile, ...])
_REVIEWS = TypeAdapter(tuple[Review, ...])
_REVIEW_COMMENTS = TypeAdapter(tuple[_WireReviewComment, ...])
_COMMENTS = TypeAdapter(tuple[Comment, ...])
_JOBS = TypeAdapter(tuple[WireJob, ...])
_PULL_REQUESTS = TypeAdapter(tuple[PullRequest, ...])
_RELEASES = TypeAdapter(tuple[Release, ...])
_CONTENT: TypeAdapter[WireContent | list[Any]] = TypeAdapter(WireContent | list[Any])  # a directory is a list
_COMPARISON = TypeAdapter(WireComparison)


class GithubReader:
    """Implements `handlers.reader.Reader`."""

    def __init__(self, api: GithubApi, repository: str) -> None:
        """`repository` is "owner/repo"."""
        self._api = api
        self._base = repository_path(repository)

    def issue(self, number: int) -> Issue:
        return self._api.get(f"{self._base}/issues/{number}", _ISSUE)

    def pull_request(self, number: int) -> PullRequest:
        return self._api.get(f"{self._base}/pulls/{number}", _PULL_REQUEST)

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        pages = self._api.pages(f"{self._base}/pulls/{number}/files", _FILES, max_pages=MAX_FILE_PAGES)
        return tuple(file.value() for page in pages for file in page)

    def reviews(self, number: int) -> tuple[Review, ...]:
        pages = self._api.pages(f"{self._base}/pulls/{number}/reviews", _REVIEWS, max_pages=MAX_REVIEW_PAGES)
        return tuple(review for page in pages for review in page)

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        path = f"{self._base}/pulls/{number}/reviews/{review_id}/comments"
        pages = self._api.pages(path, _REVIEW_COMMENTS, max_pages=MAX_REVIEW_PAGES)
        return tuple(comment.value() for page in pages for comment in page)

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        path = f"{self._base}/issues/{number}/comments"
        first, headers = self._api.page(path, _COMMENTS, 1)
        last = LAST_PAGE_LINK.search(headers.get("link", ""))
        page, found = int(last[1]) if last else 1, tuple[Comment, ...]()
        while len(found) < most and page > 1:
            found = (*self._api.page(path, _COMMENTS, page)[0], *found)
            page -= 1
        newest = found if len(found) >= most else (*first, *found)
        return newest[max(len(newest) - most, 0) :]

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        path = f"{self._base}/actions/runs/{run_id}/attempts/{attempt}/jobs"
        pages = self._api.pages(path, _JOBS, max_pages=MAX_JOB_PAGES, items_key="jobs")
        return tuple(job.value() for page in pages for job in page)

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        path = f"{self._base}/actions/jobs/{job_id}/logs"
        url = self._api.find_redirect_url(path)
        if url is None:
            return NoLog("expired")
        api = self._api
        return read_log(f"GET {path}", url, base_url=api.base_url, now=api.now, timeout_s=api.timeout_s)

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        owner, _, branch = head.partition(":")
        if not owner or not branch:  # GitHub would ignore the filter and list all
            return ()
        query = {"state": "open", "head": head}
        found, _ = self._api.page(f"{self._base}/pulls", _PULL_REQUESTS, 1, query=query)
        return found

    def releases(self) -> tuple[Release, ...]:
        return self._api.page(f"{self._base}/releases", _RELEASES, 1)[0]

    def commits_between(self, base: str, head: str) -> Comparison | None:
        path = f"{self._base}/compare/{quote(base, safe='')}...{quote(head, safe='')}"
        comparison = self._api.find(path, _COMPARISON)
        return comparison.value() if comparison else None

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        query = {"ref": ref} if ref else None
        found = self._api.find(f"{self._base}/contents/{quote(path)}", _CONTENT, query=query)
        if isinstance(found, list):
            return FileAtRef("directory", "", None)
        return found.value() if found else None
