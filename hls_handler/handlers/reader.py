"""What a handler may read from GitHub, and nothing else: `clients` implements it, the sandbox does too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hls_handler.events import Issue, PullRequest, Review


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
