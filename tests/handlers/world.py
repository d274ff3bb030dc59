"""Issues, pull requests, a fake reader and analyses for the tests of handlers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hls_handler.analysis import (
    Analysis,
    Finding,
    IssueAnalysis,
    IssueResponse,
    PullRequestAnalysis,
    Reply,
    ReviewAnalysis,
    ReviewRequest,
    Usage,
    ValidReply,
)
from hls_handler.errors import HlsError
from hls_handler.events import Account, Comment, Event, Issue, Label, PullRequest, Release, Repository, Review
from hls_handler.handlers.changed_files import Selection, number_patch, redact_patch, select_files
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.linguist import NO_ATTRIBUTES, LinguistAttributes
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import (
    ChangedFile,
    Comparison,
    EmptyHistory,
    FileAtRef,
    NoLog,
    RepositoryLabel,
    RepositoryPermission,
    ReviewComment,
    ReviewContext,
    WorkflowJob,
)
from hls_handler.handlers.review_input import find_present
from hls_handler.review.blocks import Block
from hls_handler.review.record import NO_REVIEW, ReviewRecord, ReviewThread
from hls_handler.routing import Rule
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.values import EMPTY_PATH_FILTER, PathFilter
from tests.routing.world import settings

MONA = Account("mona", 1, "User")
ZOE = Account("zoe", 2, "User")
NO_CONTEXT = ReviewContext()
PATCH = "@@ -1,2 +1,2 @@\n def area(side):\n-    return side * 2\n+    return side ** 2"


def issue(**known: Any) -> Issue:
    plain = Issue(
        7, "Crash", "It crashes.", MONA, "open", False, (Label("ui"),), "NONE", "https://github.com/o/r/issues/7"
    )
    return replace(plain, **known)


def pull_request(**known: Any) -> PullRequest:
    plain = PullRequest(
        number=8,
        title="Square it",
        body="As it should be.",
        user=MONA,
        state="open",
        locked=False,
        draft=False,
        labels=(),
        author_association="CONTRIBUTOR",
        html_url="https://github.com/o/r/pull/8",
        head_sha="0123456789abcdef0123456789abcdef01234567",
        head_ref="square",
        base_ref="main",
        additions=1,
        deletions=1,
        changed_files=1,
        commits=1,
        merged=False,
    )
    return replace(plain, **known)


def event(conversation: Issue | PullRequest) -> Event:
    """The issue or pull request, just opened in octo/hello."""
    is_issue = isinstance(conversation, Issue)
    return Event(
        delivery="guid",
        name="issues" if is_issue else "pull_request",
        action="opened",
        repository=Repository(1, "octo/hello", False, None, "main", "Python"),
        sender=MONA,
        issue=conversation if isinstance(conversation, Issue) else None,
        pull_request=conversation if isinstance(conversation, PullRequest) else None,
        review=None,
        comment=None,
        workflow_run=None,
        release=None,
        payload={},
    )


def review(**known: Any) -> Review:
    plain = Review(501, ZOE, "changes_requested", "Please square the side.", "abcdef0123456789", "https://github.com/r")
    return replace(plain, **known)


def review_comment(body: str = "This must be tested.", **known: Any) -> ReviewComment:
    plain = ReviewComment("area.py", "RIGHT", 2, PATCH, body, is_reply=False)
    return replace(plain, **known)


def review_event(submitted: Review, conversation: PullRequest | None = None) -> Event:
    """The review, just submitted on the pull request."""
    base = event(conversation or pull_request())
    return replace(base, name="pull_request_review", action="submitted", review=submitted, sender=submitted.user)


def file(path: str = "area.py", patch: str | None = PATCH, **known: Any) -> ChangedFile:
    plain = ChangedFile(path, None, "modified", additions=1, deletions=1, patch=patch)
    return replace(plain, **known)


def count_changes(files: Sequence[ChangedFile]) -> dict[str, int]:
    """The numbers of a pull request with these changed files."""
    added, removed = sum(file.additions for file in files), sum(file.deletions for file in files)
    return {"changed_files": len(files), "additions": added, "deletions": removed}


class FakeReader:
    """A fake reader with one issue or pull request, and other objects of the repository."""

    def __init__(
        self,
        now: Issue | PullRequest,
        files: tuple[ChangedFile, ...] = (),
        reviews: tuple[Review, ...] = (),
        review_comments: tuple[ReviewComment, ...] = (),
        *,
        comments: tuple[Comment, ...] = (),
        jobs: Mapping[int, tuple[WorkflowJob, ...]] | None = None,
        logs: Mapping[int, str] | None = None,
        pulls: Mapping[str, tuple[PullRequest, ...]] | None = None,
        releases: tuple[Release, ...] = (),
        comparison: Comparison | None = None,
        labels: tuple[RepositoryLabel, ...] = (),
        review_threads: tuple[ReviewThread, ...] = (),
        permissions: Mapping[str, RepositoryPermission] | None = None,
        context: ReviewContext | HlsError = NO_CONTEXT,
        head_files: Mapping[str, str] | None = None,
    ) -> None:
        """`jobs` by attempt, `logs` by job (a missing log has expired), `pulls` by "owner:branch".

        `permissions` by login, `head_files` by path. A `context` that is an error is raised.
        """
        self._now, self._files = now, files
        self._reviews, self._review_comments = reviews, review_comments
        self._comments, self._jobs, self._logs = comments, jobs or {}, logs or {}
        self._pulls, self._releases, self._comparison = pulls or {}, releases, comparison
        self.compared: list[tuple[str, str]] = []
        self._labels = labels
        self._review_threads, self._permissions = review_threads, permissions or {}
        self._context, self._head_files = context, head_files or {}
        self.context_requests: list[tuple[str, bool, bool]] = []  # base branch, guidance, linked issues
        self.head_requests: list[tuple[str, tuple[str, ...]]] = []  # commit, paths

    def labels(self) -> tuple[RepositoryLabel, ...]:
        return self._labels

    def issue(self, number: int) -> Issue:
        assert isinstance(self._now, Issue)
        assert number == self._now.number
        return self._now

    def pull_request(self, number: int) -> PullRequest:
        assert isinstance(self._now, PullRequest)
        assert number == self._now.number
        return self._now

    def pull_request_document(self, number: int) -> Mapping[str, object]:
        raise AssertionError("no handler reads it")

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        """The files with the head commit as `commit`, unless they name one."""
        head = self.pull_request(number).head_sha
        return tuple(replace(file, commit=file.commit or head) for file in self._files)

    def reviews(self, number: int) -> tuple[Review, ...]:
        assert number == self._now.number
        return self._reviews

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        assert review_id in {review.id for review in self.reviews(number)}
        return self._review_comments

    def review_threads(self, number: int) -> tuple[ReviewThread, ...]:
        assert number == self._now.number
        return self._review_threads

    def review_context(self, number: int, base_ref: str, *, guidance: bool, linked_issues: bool) -> ReviewContext:
        assert number == self._now.number
        self.context_requests.append((base_ref, guidance, linked_issues))
        if isinstance(self._context, HlsError):
            raise self._context
        return replace(
            self._context,
            guidance=self._context.guidance if guidance else (),
            linked_issues=self._context.linked_issues if linked_issues else (),
        )

    def head_files(self, sha: str, paths: Sequence[str]) -> Mapping[str, str]:
        self.head_requests.append((sha, tuple(paths)))
        return {path: text for path, text in self._head_files.items() if path in paths}

    def permission(self, login: str) -> RepositoryPermission:
        assert login
        return self._permissions.get(login, "none")

    def comments(self, number: int, *, most: int) -> tuple[Comment, ...]:
        assert number == self._now.number
        return self._comments[-most:]

    def jobs(self, run_id: int, attempt: int) -> tuple[WorkflowJob, ...]:
        return self._jobs.get(attempt, ())

    def job_log(self, job_id: int) -> Iterator[str] | NoLog:
        if job_id not in self._logs:
            return NoLog("expired")
        return iter(self._logs[job_id].split("\n")) if self._logs[job_id] else NoLog("empty")

    def pull_requests_from(self, head: str) -> tuple[PullRequest, ...]:
        return self._pulls.get(head, ())

    def releases(self) -> tuple[Release, ...]:
        return self._releases

    def commits_between(self, base: str, head: str) -> Comparison | None:
        self.compared.append((base, head))
        return self._comparison

    def find_file(self, path: str, *, ref: str | None) -> FileAtRef | None:
        raise AssertionError(f"no handler reads {path} of {ref}")


def rule(prompt: str) -> Rule:
    effective = RepositoryTable(settings()).find("octo/hello")
    assert effective is not None
    return Rule("issues.opened", prompt, effective, f"prompts/{prompt}.j2")


def analysis(*replies: Reply, comment: str | None = "Hello.") -> Analysis:
    answers = tuple(ValidReply("p@1", "t", reply, Usage("claude-haiku-5-5")) for reply in replies)
    return Analysis(answers, comment)


def issue_analysis(**known: Any) -> IssueAnalysis:
    plain = {
        "worth_saying": True,
        "kind": "bug",
        "priority": "high",
        "difficulty": "easy",
        "component": "backend",
        "summary": "It crashes.",
        "missing": [],
        "recommended_response": "",
        "suggested_labels": [],
    }
    return IssueAnalysis.model_validate({**plain, **known})


def issue_response(**known: Any) -> IssueResponse:
    return IssueResponse.model_validate({"worth_saying": True, "answer": "42", "certain": True, **known})


def review_analysis(*requests: ReviewRequest, **known: Any) -> ReviewAnalysis:
    return ReviewAnalysis.model_validate(
        {"worth_saying": True, "summary": "Square it.", "requests": list(requests), **known}
    )


def request(quote: str, **known: Any) -> ReviewRequest:
    return ReviewRequest.model_validate({"comment": None, "quote": quote, "todo": "Do it.", "blocking": True, **known})


def pull_request_analysis(**known: Any) -> PullRequestAnalysis:
    plain = {
        "type": "bug-fix",
        "summary": "Squares.",
        "earlier": [],
        "findings": [],
        "suggested_labels": [],
    }
    return PullRequestAnalysis.model_validate({**plain, **known})


def finding(**known: Any) -> Finding:
    """A finding about line 2 of the new file in `PATCH`."""
    plain = {
        "path": "area.py",
        "side": "RIGHT",
        "start_line": None,
        "line": 2,
        "quote": "return side ** 2",
        "severity": "high",
        "category": "bugs",
        "confidence": 0.9,
        "title": "Wrong",
        "body": "It is wrong.",
        "suggestion": None,
        "continues": None,
    }
    return Finding.model_validate({**plain, **known})


def select(
    *files: ChangedFile,
    tokens: int = 100_000,
    reviewed: Mapping[str, Sequence[Block]] | None = None,
    max_calls: int = 30,
    ignored_paths: PathFilter = EMPTY_PATH_FILTER,
    attributes: LinguistAttributes | None = NO_ATTRIBUTES,
) -> Selection:
    """The selection of files for a review. `reviewed` are blocks that an earlier review has read."""
    patches = {file.path: redact_patch(number_patch(file.patch)) for file in files if file.patch}
    new = find_present(files, patches, 0, NO_REVIEW).find_new(reviewed or {})
    given: dict[str, Any] = {"ignored_paths": ignored_paths, "max_calls": max_calls, "attributes": attributes}
    return select_files(files, patches, new=new, tokens=tokens, **given)


def gather_review(
    *files: ChangedFile,
    tokens: int = 10_000,
    record: ReviewRecord = NO_REVIEW,
    limits: Mapping[str, Any] | None = None,
    **known: Any,
) -> PullRequestFacts:
    """The facts of a review of the files. The findings in `record` have review threads without an answer."""
    now = pull_request(**{**count_changes(files), **known})
    threads = tuple(ReviewThread(901, entry.key, False, None, (), (), (), ()) for entry in record.ledger)
    given = PromptLimits(tokens, **{"is_review": True, **(limits or {})})
    reader = FakeReader(now, files, review_threads=threads)
    return PullRequestHandler().gather(event(pull_request()), reader, EmptyHistory(reviewed=record), given)
