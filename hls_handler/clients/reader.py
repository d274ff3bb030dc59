"""Reads of one repository, one request each, as our own values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, TypeAdapter

from hls_handler.clients.api import Api, repository_path
from hls_handler.events import Issue, PullRequest, Review, Text, WireIssue, WirePullRequest, WireReview
from hls_handler.handlers.reader import ChangedFile, ReviewComment

MOST_FILE_PAGES = 30
"""GitHub lists 3,000 files of a pull request and no more."""

MOST_REVIEW_PAGES = 10
"""Of a hundred each; so many for the comments of one review, too."""


class _WireFile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

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


class _WireReviewComment(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

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


_ISSUE = TypeAdapter(WireIssue)
_PULL_REQUEST = TypeAdapter(WirePullRequest)
_FILES = TypeAdapter(tuple[_WireFile, ...])
_REVIEWS = TypeAdapter(tuple[WireReview, ...])
_REVIEW_COMMENTS = TypeAdapter(tuple[_WireReviewComment, ...])


class GithubReader:
    """Implements `handlers.reader.Reader`."""

    def __init__(self, api: Api, repository: str) -> None:
        """`repository` is "owner/repo"."""
        self._api = api
        self._base = repository_path(repository)

    def issue(self, number: int) -> Issue:
        return self._api.get(f"{self._base}/issues/{number}", _ISSUE).value()

    def pull_request(self, number: int) -> PullRequest:
        return self._api.get(f"{self._base}/pulls/{number}", _PULL_REQUEST).as_pull_request()

    def files(self, number: int) -> tuple[ChangedFile, ...]:
        pages = self._api.pages(f"{self._base}/pulls/{number}/files", _FILES, most=MOST_FILE_PAGES)
        return tuple(file.value() for page in pages for file in page)

    def reviews(self, number: int) -> tuple[Review, ...]:
        pages = self._api.pages(f"{self._base}/pulls/{number}/reviews", _REVIEWS, most=MOST_REVIEW_PAGES)
        return tuple(review.value() for page in pages for review in page)

    def review_comments(self, number: int, review_id: int) -> tuple[ReviewComment, ...]:
        path = f"{self._base}/pulls/{number}/reviews/{review_id}/comments"
        pages = self._api.pages(path, _REVIEW_COMMENTS, most=MOST_REVIEW_PAGES)
        return tuple(comment.value() for page in pages for comment in page)
