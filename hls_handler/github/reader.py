"""Reads one repository from GitHub, and returns objects of HLS's own classes. Each page of a list
is one request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import AliasPath, Base64Bytes, BaseModel, BeforeValidator, Field

from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import GithubApi, repository_path, validate
from hls_handler.github.history import read_closed_issues
from hls_handler.github.job_log import LogLimits, read_log
from hls_handler.github.merge_state import read_merge_state
from hls_handler.github.repository_labels import RepositoryLabels
from hls_handler.github.review_context import read_review_context
from hls_handler.github.review_threads import read_review_threads
from hls_handler.github.source import CommitFiles
from hls_handler.github.values import (
    ChangedFile,
    CheckAnnotation,
    Comparison,
    FileAtRef,
    IssueHistory,
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


@dataclass(frozen=True, slots=True)
class WireThreadComment(Comment):
    """https://docs.github.com/en/rest/pulls/comments#list-review-comments-on-a-pull-request"""

    thread: Annotated[int | None, Field(default=None, validation_alias="in_reply_to_id")]

    def to_comment(self) -> Comment:
        return Comment(**{one.name: getattr(self, one.name) for one in fields(Comment)})


class WirePermission(BaseModel):
    """https://docs.github.com/en/rest/collaborators/collaborators (permissions for a user)"""

    permission: RepositoryPermission
    """Of the role maintain "write", of triage "read", of an own role that it is based on."""


class WireContent(BaseModel):
    """A file, symlink or submodule. For a file of more than 1 MB, `encoding` is "none" and the
    content is omitted.
    """

    type: Literal["file", "symlink", "submodule"]
    sha: str
    encoding: str | None = None
    content: Base64Bytes | None = None

    def value(self) -> FileAtRef:
        content = None
        if self.encoding == "base64":
            content = self.content
        return FileAtRef(self.type, self.sha, content)


class WireRepository(BaseModel):
    """https://docs.github.com/en/rest/repos/repos#get-a-repository"""

    id: int
    archived: bool = False
    disabled: bool = False
    private: bool = False
    has_issues: bool = True
    # of the account, not of the token
    triage: bool = Field(False, validation_alias=AliasPath("permissions", "triage"))
    push: bool = Field(False, validation_alias=AliasPath("permissions", "push"))


class WireCommit(BaseModel):
    """https://docs.github.com/en/rest/commits/commits#list-commits"""

    # null or {} without an account
    author: Annotated[Account | None, BeforeValidator(lambda author: author or None)]


class WireRef(BaseModel):
    """https://docs.github.com/en/rest/git/refs#get-a-reference"""

    sha: str = Field(validation_alias=AliasPath("object", "sha"))


MAX_FILE_PAGES = 60  # GitHub lists at most 3,000 files of a pull request
FILES_PER_PAGE = 50  # of a page of 100, GitHub is reported to leave out patches of moderate size
MAX_REVIEW_PAGES = 10
"""Limit of pages with 100 items each, for reviews and for the comments of one review."""

MAX_JOB_PAGES = 10
MAX_TIMELINE_PAGES = 20  # with 100 entries each
MAX_ISSUE_PAGES = 100  # with 100 issues and pull requests each

NEXT_PAGE_LINK = re.compile(r'<([^>]*)>;\s*rel="next"')
LAST_PAGE_LINK = re.compile(r'<[^>]*[?&]page=(\d{1,7})[^>]*>;\s*rel="last"')


class GithubReader:
    """Reads one repository from GitHub: the implementation of `handlers.reader.Reader`."""

    def __init__(
        self,
        api: GithubApi,
        repository: str,
        labels: RepositoryLabels,
        *,
        bot: Account | None = None,
        assume_open: bool = False,
        mirrors: Mirrors | None = None,
    ) -> None:
        """With `assume_open`, every conversation is read as open and unlocked. Without `mirrors`,
        git is not used.
        """
        self._changes: dict[str, Any] = {"state": "open", "locked": False} if assume_open else {}
        self._api = api
        self._repository = repository
        self._labels = labels
        self._bot = bot
        self._base = repository_path(repository)
        self._mirrors = mirrors

    def issue(self, number: int) -> Issue:
        return replace(self._api.get(f"{self._base}/issues/{number}", Issue), **self._changes)

    def open_documents(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the open issues and pull requests as GitHub's objects, newest first, in pages of up
        to 100; each page is one request. At most 100 pages.

        GitHub does not number the pages of long lists, so each response names the next one.
        """
        path = f"{self._base}/issues"
        query = {"state": "open", "per_page": "100"}
        for _ in range(MAX_ISSUE_PAGES):
            response = self._api.fetch(path, query)
            yield response.parse(list[dict[str, Any]])
            following = NEXT_PAGE_LINK.search(response.headers.get("link", ""))
            if following is None:
                return
            query = dict(parse_qsl(urlsplit(following[1]).query))

    def closed_issues(self, most: int) -> Iterator[IssueHistory]:
        """Yield the closed issues that were opened last, newest first; one request for each 25."""
        return read_closed_issues(self._api, self._repository, most=most)

    def timeline(self, number: int) -> tuple[TimelineEvent, ...]:
        path = f"{self._base}/issues/{number}/timeline"
        return tuple(self._api.items(path, tuple[TimelineEvent, ...], max_pages=MAX_TIMELINE_PAGES))

    def pull_request(self, number: int) -> PullRequest:
        return replace(self._api.get(f"{self._base}/pulls/{number}", PullRequest), **self._changes)

    def pull_request_document(self, number: int) -> dict[str, object]:
        return self._api.get(f"{self._base}/pulls/{number}", dict[str, object])

    def open_pull_requests(self) -> tuple[OpenPullRequest, ...]:
        query = {"state": "open", "sort": "updated", "direction": "desc"}
        response = self._api.fetch_page(f"{self._base}/pulls", query=query)
        return response.parse(tuple[OpenPullRequest, ...])

    def last_authors(self, path: str, *, ref: str) -> tuple[Account, ...]:
        query = {"path": path, "sha": ref}
        response = self._api.fetch_page(f"{self._base}/commits", query=query, per_page=10)
        commits = response.parse(tuple[WireCommit, ...])
        return tuple(commit.author for commit in commits if commit.author is not None)

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        path = f"{self._base}/pulls/{number}/files"
        shape = tuple[ChangedFile, ...]
        return tuple(
            self._api.items(path, shape, max_pages=MAX_FILE_PAGES, per_page=FILES_PER_PAGE)
        )

    def reviews(self, number: int) -> tuple[Review, ...]:
        path = f"{self._base}/pulls/{number}/reviews"
        return tuple(self._api.items(path, tuple[Review, ...], max_pages=MAX_REVIEW_PAGES))

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        path = f"{self._base}/pulls/{number}/reviews/{review_id}/comments"
        return tuple(self._api.items(path, tuple[ReviewComment, ...], max_pages=MAX_REVIEW_PAGES))

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        if self._bot is None:
            return ()
        return tuple(read_review_threads(self._api, self._repository, number, bot=self._bot))

    def thread_comments(self, number: int, thread: int) -> tuple[Comment, ...]:
        path = f"{self._base}/pulls/{number}/comments"
        query = {"sort": "created", "direction": "desc"}
        found: list[Comment] = []
        shape = tuple[WireThreadComment, ...]
        for one in self._api.items(path, shape, max_pages=MAX_REVIEW_PAGES, query=query):
            if thread in (one.id, one.thread):
                found.append(one.to_comment())
            if one.id == thread:
                break
        return tuple(reversed(found))

    def merge_state(self, number: int) -> MergeState:
        return read_merge_state(self._api, self._repository, number)

    def review_context(
        self, number: int, base_ref: str, *, guidance: Sequence[str]
    ) -> ReviewContext:
        return read_review_context(
            self._api,
            self._repository,
            number,
            base_ref,
            guidance=guidance,
        )

    def files_at(self, sha: str) -> CommitFiles:
        api = self._api
        mirror = None
        if self._mirrors is not None:
            mirror = self._mirrors.of(api.base_url, self._repository, api.token)
        return CommitFiles(mirror, api, self._repository, sha)

    def head_commit(self, branch: str) -> str | None:
        found = self._api.find(f"{self._base}/git/ref/heads/{quote(branch)}", WireRef)
        if found is None:
            return None
        return found.sha

    def permission(self, login: str) -> RepositoryPermission:
        found = self._api.find(
            f"{self._base}/collaborators/{quote(login, safe='')}/permission", WirePermission
        )
        if found is None:
            return "none"
        return found.permission

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        path = f"{self._base}/issues/{number}/comments"
        first = self._api.fetch_page(path)
        newest: tuple[Comment, ...] = ()
        last = LAST_PAGE_LINK.search(first.headers.get("link", ""))
        if last is not None:
            for number in range(int(last[1]), 1, -1):
                response = self._api.fetch_page(path, number)
                newest = (*response.parse(tuple[Comment, ...]), *newest)
                if len(newest) >= most:
                    break
        if len(newest) < most:
            newest = (*first.parse(tuple[Comment, ...]), *newest)
        return newest[max(len(newest) - most, 0) :]

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        path = f"{self._base}/actions/runs/{run_id}/attempts/{attempt}/jobs"
        return tuple(
            self._api.items(
                path, tuple[WorkflowJob, ...], max_pages=MAX_JOB_PAGES, items_key="jobs"
            )
        )

    def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
        path = f"{self._base}/check-runs/{check_run}/annotations"
        return tuple(self._api.items(path, tuple[CheckAnnotation, ...], max_pages=1))

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        path = f"{self._base}/actions/jobs/{job_id}/logs"
        url = self._api.find_redirect_url(path)
        if url is None:
            return NoLog("expired")
        api = self._api
        limits = LogLimits(api.timeout_s)
        return read_log(f"GET {path}", url, base_url=api.base_url, now=api.now, limits=limits)

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        owner, _, branch = head.partition(":")
        if not owner or not branch:  # GitHub would ignore such a filter and list all pull requests
            return ()
        query = {"state": "open", "head": head}
        response = self._api.fetch_page(f"{self._base}/pulls", query=query)
        return response.parse(tuple[PullRequest, ...])

    def releases(self) -> tuple[Release, ...]:
        return self._api.fetch_page(f"{self._base}/releases").parse(tuple[Release, ...])

    def commits_between(self, base: str, head: str) -> Comparison | None:
        path = f"{self._base}/compare/{quote(base, safe='')}...{quote(head, safe='')}"
        return self._api.find(path, Comparison)

    def labels(self) -> tuple[RepositoryLabel, ...]:
        return self._labels.find_or_list(self._api, self._repository)

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        query = {}
        if ref:
            query["ref"] = ref
        call = f"{self._base}/contents/{quote(path)}"
        found = self._api.find(call, object, query=query)
        if found is None:
            return None
        if isinstance(found, list):
            return FileAtRef("directory", "", None)
        return validate(f"GET {call}", WireContent, found).value()
