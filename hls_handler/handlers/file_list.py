"""Reads the list of changed files, and checks that it is of the right commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hls_handler.errors import Retryable, Superseded
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.wording import count

MAX_LISTED_FILES = 3_000  # GitHub lists no more


def read_changed_files(event: Event, pull_request: PullRequest, reader: Reader) -> tuple[ChangedFile, ...]:
    """Return the changed files of the head commit. Raises `Superseded` if another commit is the head by now.

    GitHub lists the files of the present head, and the list may be late. Raises `Retryable` if it is of another commit.
    If the list names no commit, or only the base changed, its sums of lines and files must equal the sums of the pull
    request.
    """
    number, head = pull_request.number, pull_request.head_sha
    listed = reader.files(number)
    commits = {file.commit for file in listed if file.status != "removed"}
    is_retargeted = _changes_base(event)
    if commits == {head} and not is_retargeted:
        return listed
    now = reader.pull_request(number)
    if now.head_sha != head:
        raise Superseded(f"a newer push came meanwhile: {now.head_sha[:10]}")
    others = sorted(commit for commit in commits if commit not in (None, head))
    if others:
        raise Retryable(f"GitHub still lists the changed files of commit {others[0][:10]}, but the head is {head[:10]}")
    if is_retargeted or head not in commits:
        _check_numbers(listed, now)
    return listed


def _changes_base(event: Event) -> bool:
    changes = event.payload.get("changes")
    return event.action == "edited" and isinstance(changes, Mapping) and "base" in changes


def _check_numbers(listed: Sequence[ChangedFile], pull_request: PullRequest) -> None:
    """Raise `Retryable` if a complete list has other numbers than the pull request."""
    found = len(listed), sum(file.additions for file in listed), sum(file.deletions for file in listed)
    wanted = pull_request.changed_files, pull_request.additions, pull_request.deletions
    if found != wanted and len(listed) < MAX_LISTED_FILES:
        raise Retryable(
            f"GitHub's list of the changed files is late: it has {_describe_numbers(*found)}, but the pull request has "
            f"{_describe_numbers(*wanted)}"
        )


def _describe_numbers(files: int, additions: int, deletions: int) -> str:
    return f"{count(files, 'file')} with {additions} added and {deletions} removed lines"
