"""Reads one repository from GitHub, and returns objects of HLS's own classes. Each page of a list
is one request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import AliasPath, BaseModel, BeforeValidator, Field

from hls_handler.events import Account, Comment, Issue, PullRequest, Release, Review
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import ApiResponse, RepositoryApi, parse, rest, validate
from hls_handler.github.errors import Refused
from hls_handler.github.history import (
    CLOSED_ISSUES_QUERY,
    MERGED_PULL_REQUESTS_QUERY,
    read_histories,
)
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.review_threads import read_review_threads
from hls_handler.github.source import CommitFiles, read_review_context
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
    ThreadComment,
    TimelineEvent,
    WorkflowJob,
)

if TYPE_CHECKING:
    from github.ContentFile import ContentFile
    from github.Repository import Repository


from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urlsplit

import httpx2

from hls_handler import __version__
from hls_handler.events import null_to
from hls_handler.github.check_writer import CHECK_NAME
from hls_handler.github.errors import translate_exception, unexpected_response
from hls_handler.settings.values import is_loopback
from hls_handler.transport import ProxySettings, find_proxy_settings

MAX_LINE_CHARS = 16_384  # characters; the rest of a longer line is skipped
LOG_TRUNCATED = "[cut here: the log is longer than {} MB]"
LINE_TRUNCATED = " [line cut here]"


@dataclass(frozen=True, slots=True)
class LogLimits:
    idle_s: float  # wait for the next byte
    # of the download as a whole; the time that the caller spends between two lines counts
    read_s: float = 120.0
    max_bytes: int = 100 * 1024 * 1024


def read_log(
    call: str, url: str, *, base_url: str, now: Callable[[], datetime], limits: LogLimits
) -> Iterator[str] | NoLog:
    """Return the lines of the log at `url`, to which GitHub redirected the request `call`.

    Returns `NoLog` if the log was deleted or is empty. Raises `DependencyDown`, also during
    iteration.
    """
    if not is_allowed_url(url, base_url):
        raise unexpected_response(call, "the URL of the log must begin with https")
    proxy = find_proxy_settings(url)
    transport = proxy.new_transport(limits.read_s, idle_s=limits.idle_s)
    try:
        request = httpx2.Request("GET", url, headers={"User-Agent": f"hls/{__version__}"})
        response = transport.handle_request(request)
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        transport.close()
        # `from None`, because the exception's text has the URL
        raise translate_exception(call, exc, now(), proxy) from None
    if response.status_code != 200:
        transport.close()
        if response.status_code in (404, 410):
            return NoLog("expired")
        raise unexpected_response(
            call, f"the server that stores the log answered {response.status_code}"
        )
    lines = _lines(_chunks(call, transport, response, now, proxy), limits.max_bytes)
    first = next(lines, None)
    if first is None:
        return NoLog("empty")
    return chain((first,), lines)


def _chunks(
    call: str,
    transport: httpx2.BaseTransport,
    response: httpx2.Response,
    now: Callable[[], datetime],
    proxy: ProxySettings,
) -> Iterator[bytes]:
    with transport, closing(response):
        try:
            yield from response.iter_bytes()
        except httpx2.HTTPError as exc:
            raise translate_exception(call, exc, now(), proxy) from None


def _lines(chunks: Iterator[bytes], max_bytes: int) -> Iterator[str]:
    decoder = getincrementaldecoder("utf-8-sig")("replace")
    bytes_left = max_bytes
    unfinished = ""  # a line without its end, cut after the limit
    for chunk in chunks:
        *complete, unfinished = (unfinished + decoder.decode(chunk[:bytes_left])).split("\n")
        yield from map(_truncate_line, complete)
        unfinished = unfinished[: MAX_LINE_CHARS + 1]
        bytes_left -= len(chunk)
        if bytes_left < 0:
            yield _truncate_line(unfinished)
            yield LOG_TRUNCATED.format(max_bytes // 2**20)
            return
    unfinished += decoder.decode(b"", final=True)
    if unfinished:
        yield _truncate_line(unfinished)


def _truncate_line(line: str) -> str:
    text = line.removesuffix("\r")
    if len(text) <= MAX_LINE_CHARS:
        return text
    return text[:MAX_LINE_CHARS] + LINE_TRUNCATED


def is_allowed_url(url: str, base_url: str) -> bool:
    """Return True if `url` is https, or if both URLs are http with loopback hosts; False if `url`
    has a user name.
    """
    try:
        target = urlsplit(url)
        api = urlsplit(base_url)
        if not target.hostname or target.username is not None:
            return False
        is_local = is_loopback(target.hostname) and is_loopback(api.hostname or "")
        return target.scheme == "https" or (target.scheme == api.scheme == "http" and is_local)
    except ValueError:
        return False


MAX_CHECKS = 100

DECIDED = ("BEHIND", "BLOCKED", "CLEAN", "DRAFT", "HAS_HOOKS", "UNSTABLE")
"""States of a merge without conflicts. "UNKNOWN": GitHub has not decided on checks and rules."""

# `refUpdateRule` lists the required checks of a branch protection, also those that no commit has;
# it is null for a ruleset, of which GitHub only says "BLOCKED". `conclusion` and `state` are null
# for a check that has not ended.
MERGE_STATE_QUERY = """\
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      mergeable
      mergeStateStatus
      reviewDecision
      baseRef { refUpdateRule { requiredStatusCheckContexts } }
      commits(last: 1) { nodes { commit { statusCheckRollup { contexts(first: 100) {
        totalCount
        nodes {
          ... on CheckRun { name conclusion isRequired(pullRequestNumber: $number) }
          ... on StatusContext { name: context state isRequired(pullRequestNumber: $number) }
        }
      } } } } }
    }
  }
}
"""

_PULL = ("repository", "pullRequest")
_CHECKS = ("commits", "nodes", 0, "commit", "statusCheckRollup", "contexts")


class _Check(BaseModel):
    name: str
    result: Annotated[str | None, Field(None, validation_alias="conclusion")]
    state: str | None = None
    is_required: bool = Field(alias="isRequired")

    @property
    def is_passed(self) -> bool:
        return (self.result or self.state) in ("SUCCESS", "NEUTRAL", "SKIPPED")


class WireMergeState(BaseModel):
    """The `data` of the response to `MERGE_STATE_QUERY`."""

    mergeable: str = Field(validation_alias=AliasPath(*_PULL, "mergeable"))
    status: str = Field(validation_alias=AliasPath(*_PULL, "mergeStateStatus"))
    decision: Annotated[
        str, null_to(""), Field(validation_alias=AliasPath(*_PULL, "reviewDecision"))
    ]
    required: Annotated[
        tuple[str | None, ...],
        null_to(()),
        Field(
            (),
            validation_alias=AliasPath(
                *_PULL, "baseRef", "refUpdateRule", "requiredStatusCheckContexts"
            ),
        ),
    ]
    number: int = Field(0, validation_alias=AliasPath(*_PULL, *_CHECKS, "totalCount"))
    nodes: tuple[_Check | None, ...] = Field(
        (), validation_alias=AliasPath(*_PULL, *_CHECKS, "nodes")
    )

    def value(self) -> MergeState:
        checks = [check for check in self.nodes if check is not None]
        required = {check.name for check in checks if check.is_required}
        if self.number <= MAX_CHECKS:  # else a check that is missing here may be among the others
            required |= {name for name in self.required if name}
        missing = required - {check.name for check in checks if check.is_passed}
        is_explained = missing or self.decision in ("CHANGES_REQUESTED", "REVIEW_REQUIRED")
        conflicts = None
        if self.mergeable == "CONFLICTING":
            conflicts = True
        elif self.mergeable == "MERGEABLE" and self.status in DECIDED:
            conflicts = False
        return MergeState(
            conflicts=conflicts,
            missing_checks=tuple(sorted(missing - {CHECK_NAME})),  # ours ends with this review
            decision=self.decision.lower(),
            is_behind=self.status == "BEHIND",
            is_blocked=self.status == "BLOCKED" and not is_explained,
        )


class WireCommit(BaseModel):
    """https://docs.github.com/en/rest/commits/commits#list-commits"""

    # null or {} without an account
    author: Annotated[Account | None, BeforeValidator(lambda author: author or None)]


class WireCommitId(BaseModel):
    sha: str


class WireRef(BaseModel):
    """https://docs.github.com/en/rest/git/refs#get-a-reference"""

    sha: Annotated[str, Field(validation_alias=AliasPath("object", "sha"))]


class Permission(BaseModel):
    permission: RepositoryPermission


class _Jobs(BaseModel):
    jobs: tuple[WorkflowJob, ...]


MAX_FILE_PAGES = 60  # GitHub lists at most 3,000 files of a pull request
FILES_PER_PAGE = 50  # of a page of 100, GitHub is reported to leave out patches of moderate size
MAX_REVIEW_PAGES = 10
"""Limit of pages with 100 items each, for reviews and for the comments of one review."""

MAX_JOB_PAGES = 10
MAX_TIMELINE_PAGES = 20  # with 100 entries each
MAX_ISSUE_PAGES = 100  # with 100 issues and pull requests each


class GithubReader:
    """Reads one repository from GitHub.

    All methods raise `Permanent` if the object does not exist or access is denied; the message
    names the missing permission. They raise `DependencyDown` if GitHub is unavailable.
    """

    def __init__(
        self,
        api: RepositoryApi,
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
        self._labels = labels
        self._bot = bot
        self._mirrors = mirrors

    def issue(self, number: int) -> Issue:
        return replace(self._api.get(lambda it: it.get_issue(number), Issue), **self._changes)

    def open_documents(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the open issues and pull requests as GitHub's objects, newest first, in pages of up
        to 100; each page is one request. At most 100 pages.

        GitHub does not number the pages of long lists, so each response names the next one.
        """
        path = f"/repos/{self._api.repository}/issues"
        return self._api.pages(
            path, list[dict[str, Any]], max_pages=MAX_ISSUE_PAGES, query={"state": "open"}
        )

    def closed_issues(self, limit: int) -> Iterator[IssueHistory]:
        """Yield the closed issues that were opened last, newest first; one request for each 25."""
        return read_histories(self._api, CLOSED_ISSUES_QUERY, limit=limit)

    def merged_pull_requests(self, limit: int) -> Iterator[IssueHistory]:
        """Yield the merged pull requests as `closed_issues`."""
        return read_histories(self._api, MERGED_PULL_REQUESTS_QUERY, limit=limit)

    def timeline(self, number: int) -> tuple[TimelineEvent, ...]:
        """The timeline of an issue, oldest first; at most 2,000 entries."""
        events = self._api.items(
            lambda it: it.get_issue(number).get_timeline(),
            TimelineEvent,
            max_pages=MAX_TIMELINE_PAGES,
        )
        return tuple(events)

    def pull_request(self, number: int) -> PullRequest:
        return replace(self._api.get(lambda it: it.get_pull(number), PullRequest), **self._changes)

    def pull_request_document(self, number: int) -> dict[str, object]:
        """The pull request as GitHub sends it, and as webhooks contain it."""
        return self._api.get(lambda it: it.get_pull(number), dict[str, object])

    def open_pull_requests(self) -> tuple[OpenPullRequest, ...]:
        """At most 100, the last changed ones first; one request."""
        pulls = self._api.items(
            lambda it: it.get_pulls(state="open", sort="updated", direction="desc"), OpenPullRequest
        )
        return tuple(pulls)

    def last_authors(self, path: str, *, ref: str) -> tuple[Account, ...]:
        """The authors of the last 10 commits that changed a file, newest first, if they have an
        account.
        """
        commits = self._api.items(
            lambda it: it.get_commits(path=path, sha=ref), WireCommit, per_page=10
        )
        return tuple(commit.author for commit in commits if commit.author is not None)

    def commits_since(self, path: str, *, ref: str, since: datetime) -> tuple[str, ...]:
        """The newest commits that changed a file, at most 100, newest first."""
        commits = self._api.items(
            lambda it: it.get_commits(path=path, sha=ref, since=since), WireCommitId
        )
        return tuple(commit.sha for commit in commits)

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        """All files that GitHub lists (at most 3,000), in its order."""
        files = self._api.items(
            lambda it: it.get_pull(number).get_files(),
            ChangedFile,
            max_pages=MAX_FILE_PAGES,
            per_page=FILES_PER_PAGE,
        )
        return tuple(files)

    def reviews(self, number: int) -> tuple[Review, ...]:
        """The reviews of a pull request, oldest first; at most 1,000."""
        reviews = self._api.items(
            lambda it: it.get_pull(number).get_reviews(), Review, max_pages=MAX_REVIEW_PAGES
        )
        return tuple(reviews)

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        """The comments of one review, each on lines of a file or a whole file, oldest first; at
        most 1,000.
        """
        comments = self._api.items(
            lambda it: it.get_pull(number).get_single_review_comments(review_id),
            ReviewComment,
            max_pages=MAX_REVIEW_PAGES,
        )
        return tuple(comments)

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        """The review threads of a pull request that HLS opened, oldest first.

        HLS opened a thread if its first comment is by the bot account and ends with our marker. At
        most 500 threads are read, and of each thread 100 comments.
        """
        if self._bot is None:
            return ()
        return tuple(read_review_threads(self._api, number, bot=self._bot))

    def thread_comments(self, number: int, thread: int) -> tuple[Comment, ...]:
        """The comments of a review thread, oldest first. `thread` is the id of the first one.

        Only the newest 1,000 review comments of the pull request are searched.
        """
        answers: list[Comment] = []
        comments = self._api.items(
            lambda it: it.get_pull(number).get_review_comments(sort="created", direction="desc"),
            ThreadComment,
            max_pages=MAX_REVIEW_PAGES,
        )
        for comment in comments:
            if thread in (comment.id, comment.thread_id):
                answers.append(comment)
            if comment.id == thread:
                break
        return tuple(reversed(answers))

    def merge_state(self, number: int) -> MergeState:
        """Return what prevents the merge of a pull request, without `open_threads`. One request."""
        return self._api.query(MERGE_STATE_QUERY, {"number": number}, WireMergeState).value()

    def review_context(
        self, number: int, base_ref: str, *, guidance: Sequence[str]
    ) -> ReviewContext:
        """Files of the branch `base_ref`, never of the head, and the issues that the pull request
        closes.

        One request. `guidance` are the paths of the files to read.
        """
        return read_review_context(self._api, number, base_ref, guidance=guidance)

    def files_at(self, commit: str) -> CommitFiles:
        """The files of the repository at a commit."""
        api = self._api
        mirror = None
        if self._mirrors is not None:
            mirror = self._mirrors.of(api.base_url, api.repository, api.token)
        return CommitFiles(mirror, api, commit)

    def head_commit(self, branch: str) -> str | None:
        """The newest commit of a branch; None if there is no such branch."""
        ref = self._api.find(
            lambda it: parse(WireRef, it.get_git_ref(f"heads/{branch}").complete())
        )
        if ref is None:
            return None
        return ref.sha

    def permission(self, login: str) -> RepositoryPermission:
        """The permission of an account on the repository; "none" if GitHub does not know the
        account.
        """

        # of the role maintain "write", of triage "read", of an own role that it is based on
        def read(repository: Repository) -> Permission:
            permission = repository.get_collaborator_permission(login)
            return validate(Permission, {"permission": permission})

        account = self._api.find(read)
        if account is None:
            return "none"
        return account.permission

    def comments(self, number: int, *, limit: int) -> tuple[Comment, ...]:
        """The newest `limit` comments of an issue or a pull request, oldest first.

        The number of requests does not grow with the length of the conversation.
        """
        first = self._read_comments(number, 0)
        newest: tuple[Comment, ...] = ()
        last = first.links.get("last", {"page": "1"})
        for index in range(int(last["page"]) - 1, 0, -1):
            newest = (*self._read_comments(number, index).value, *newest)
            if len(newest) >= limit:
                break
        if len(newest) < limit:
            newest = (*first.value, *newest)
        return newest[max(len(newest) - limit, 0) :]

    def _read_comments(self, number: int, page: int) -> ApiResponse[list[Comment]]:
        return self._api.page(lambda it: it.get_issue(number).get_comments(), Comment, page)

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        """All jobs of one attempt of a run, in GitHub's order; at most 1,000."""
        # PyGithub lists those of the last attempt
        path = f"/repos/{self._api.repository}/actions/runs/{run_id}/attempts/{attempt}/jobs"
        pages = self._api.pages(path, _Jobs, max_pages=MAX_JOB_PAGES)
        return tuple(job for page in pages for job in page.jobs)

    def annotations(self, check_run: int) -> tuple[CheckAnnotation, ...]:
        """The first 100 annotations of a check run. One request."""
        annotations = self._api.items(
            lambda it: it.get_check_run(check_run).get_annotations(), CheckAnnotation
        )
        return tuple(annotations)

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        """The lines of a job's log without line ends, read from the network during the iteration.

        A line begins with its time, such as "2026-11-02T09:14:31.1234567Z ", and may contain colour
        codes and `##[error]`. A line is cut at 16,384 characters, the log at 100 MB. The iterator
        raises `DependencyDown` if the connection breaks. Close the iterator if you do not read all
        lines.
        """
        api = self._api
        # PyGithub's `logs_url` needs the redirect, which the connection raises
        path = f"/repos/{api.repository}/actions/jobs/{job_id}/logs"
        url = ""
        try:
            api.read(rest("GET", path, object), expected=(302, 404, 410))
        except Refused as refused:
            if refused.status != 302:
                return NoLog("expired")
            # a secret: it gives access to the file without a token
            url = refused.headers.get("location", "")
        limits = LogLimits(api.timeout_s)
        return read_log(f"GET {path}", url, base_url=api.base_url, now=api.now, limits=limits)

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        """The open pull requests whose head is `head`, a branch of the repository or of a fork:
        "octocat:fix/checkout".

        `additions`, `deletions`, `changed_files` and `commits` are 0, because GitHub's list omits
        them.
        """
        owner, _, branch = head.partition(":")
        if not owner or not branch:  # GitHub would ignore such a filter and list all pull requests
            return ()
        pulls = self._api.items(lambda it: it.get_pulls(state="open", head=head), PullRequest)
        return tuple(pulls)

    def releases(self) -> tuple[Release, ...]:
        """At most 100 releases, newest first. Drafts are included if the token has push access."""
        return tuple(self._api.items(lambda it: it.get_releases(), Release))

    def commits_between(self, base: str, head: str) -> Comparison | None:
        """The commits reachable from `head` and not from `base`; both are tags, branches or
        commits.

        None if one of them does not exist, or if they have no common history.
        """
        # PyGithub does not quote a slash in a name, and asks for pages of at most 100 commits
        revisions = f"{quote(base, safe='')}...{quote(head, safe='')}"
        path = f"/repos/{self._api.repository}/compare/{revisions}"
        return self._api.find(rest("GET", path, Comparison))

    def labels(self) -> tuple[RepositoryLabel, ...]:
        """The labels of the repository; at most 5,000, and possibly an hour old."""
        return self._labels.find_or_list(self._api)

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        """The file or folder at `path` in the branch `ref`; None if not found. `ref` None means the
        default branch.
        """

        def read(repository: Repository) -> FileAtRef:
            if ref:
                return to_file(repository.get_contents(path, ref))
            return to_file(repository.get_contents(path))

        return self._api.find(read)


def to_file(content: ContentFile | list[ContentFile]) -> FileAtRef:
    if isinstance(content, list):
        return FileAtRef("directory", "", None)
    text = None
    if content.encoding == "base64":  # "none" for a file of more than 1 MB
        text = content.decoded_content
    return validate(FileAtRef, {"kind": content.type, "sha": content.sha, "content": text})
