"""Separates the history of a closed issue into what was known when it was opened, and the labels
that people left when it was closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from hls_handler.deliveries import RECORDED, NewDelivery
from hls_handler.events import GHOST, Account
from hls_handler.github.comments import is_by
from hls_handler.github.values import IssueHistory
from hls_handler.untrusted.cleaning import clean_title

CREATION = timedelta(seconds=1)
"""After an issue was opened: GitHub gives the labels of a new issue a time of their own."""

UnusableReason = Literal[
    "its first text was deleted from the history",
    "GitHub does not have its first text",
    "its title and labels were changed over 100 times",
]

REPOSITORY_KEYS = (
    "id",
    "name",
    "full_name",
    "owner",
    "private",
    "html_url",
    "description",
    "default_branch",
    "language",
)
"""Keys of a repository that the payload of an event gets: none with a time or a number of later."""

PULL_REQUEST_KEYS = (
    *("additions", "base", "changed_files", "commits", "deletions", "head", "html_url"),
    *("merge_commit_sha", "merged_at"),
)
"""Keys of a pull request that the payload gets: what its commits decide."""


@dataclass(frozen=True, slots=True)
class FirstIssue:
    """An issue or a pull request as its author opened it."""

    number: int
    author: Account
    created_at: datetime  # aware UTC
    title: str
    body: str
    labels: tuple[str, ...]  # that the author set when opening it, or the template


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of an issue as people left them when it was closed. A label without a change is in
    none of the fields.
    """

    labels: tuple[str, ...]  # a person set them last
    rejected: tuple[str, ...]  # a person removed them last
    undecided: tuple[str, ...]  # a bot or a deleted account changed them last, or GitHub names none


@dataclass(frozen=True, slots=True)
class PastIssue:
    """The labels of an issue that its result is compared with."""

    first_labels: tuple[str, ...]
    truth: Truth


def find_first_issue(history: IssueHistory) -> FirstIssue | UnusableReason:
    """Return the issue as it was opened, or why that is not known."""
    if history.has_more_changes:
        return "its title and labels were changed over 100 times"
    body = history.body
    if history.is_edited or history.revisions:
        if not (history.includes_first_text and history.revisions):
            return "GitHub does not have its first text"
        oldest = min(history.revisions, key=lambda revision: revision.edited_at)
        if oldest.text is None:
            return "its first text was deleted from the history"
        body = oldest.text
    title = next(iter(history.earlier_titles), history.title)
    return FirstIssue(
        history.number,
        history.author,
        history.created_at,
        title,
        body,
        _list_first_labels(history),
    )


def _list_first_labels(history: IssueHistory) -> tuple[str, ...]:
    latest = history.created_at + CREATION
    by_author = [
        change
        for change in history.label_changes
        if change.at <= latest and change.actor == history.author
    ]
    present: dict[str, bool] = {}
    for change in by_author:
        present[change.name] = change.is_added
    return tuple(name for name, is_present in present.items() if is_present)


def make_truth(history: IssueHistory, bot: Account | None) -> Truth:
    """Return the last decision about each label up to when the issue was closed.

    The labels of `bot` are no truth, whatever its type. It is None if HLS was never used there.
    """
    last = {
        change.name: change for change in history.label_changes if change.at <= history.closed_at
    }
    changed = {change.name for change in history.label_changes}
    labels: list[str] = []
    rejected: list[str] = []
    # labels of an imported or transferred issue
    undecided = [name for name in history.labels if name not in changed]
    for name, change in last.items():
        if not _is_person(change.actor, bot):
            undecided.append(name)
        elif change.is_added:
            labels.append(name)
        else:
            rejected.append(name)
    return Truth(tuple(labels), tuple(rejected), tuple(undecided))


def _is_person(actor: Account, bot: Account | None) -> bool:
    if actor.is_bot or actor == GHOST:
        return False
    return bot is None or not is_by(actor, bot)


def make_delivery(
    first: FirstIssue,
    repository: Mapping[str, Any],
    pull_request: Mapping[str, object] | None = None,
    *,
    prompt: int = 0,
) -> NewDelivery:
    """Return the delivery that asks a prompt of a batch, by its index, about `issues.opened` of the
    issue, or about `pull_request.opened` with the present commits of a pull request. `repository`
    and `pull_request` are GitHub's documents.
    """
    event = "issues"
    if pull_request is not None:
        event = "pull_request"
    return NewDelivery(
        guid=f"{first.number}-{prompt}",
        event=event,
        action="opened",
        request_id=f"{RECORDED}{prompt}",
        state="queued",
        repository_id=int(repository["id"]),
        repository=str(repository["full_name"]),
        number=first.number,
        sender=first.author.login,
        title=clean_title(first.title),
        body=_make_payload(first, repository, pull_request),
    )


def _make_payload(
    first: FirstIssue,
    repository: Mapping[str, object],
    pull_request: Mapping[str, object] | None,
) -> bytes:
    author = {"login": first.author.login, "id": first.author.id, "type": first.author.type}
    issue: dict[str, object] = {
        "number": first.number,
        "title": first.title,
        "body": first.body,
        "user": author,
        "state": "open",
        "locked": False,
        "labels": [{"name": name} for name in first.labels],
        "author_association": "NONE",  # GitHub has only the present one
        "html_url": f"{repository.get('html_url', '')}/issues/{first.number}",
        "created_at": first.created_at,
        "comments": 0,
    }
    name = "issue"
    if pull_request is not None:
        name = "pull_request"
        issue |= {key: pull_request[key] for key in PULL_REQUEST_KEYS}
    payload = {
        "action": "opened",
        name: issue,
        "repository": {key: repository[key] for key in REPOSITORY_KEYS if key in repository},
        "sender": author,
    }
    return msgspec.json.encode(payload)
