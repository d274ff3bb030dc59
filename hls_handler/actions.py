"""Actions that HLS can take on GitHub: set labels and write a comment. The code contains no others (SECURITY.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class RequestedLabel:
    """A label to set. An issue or pull request gets at most one label of each `group`."""

    name: str  # "priority-high"
    group: str  # field of the reply: "priority"; for a label of a list field, field and label: "areas area/api"


@dataclass(frozen=True, slots=True)
class EnsureLabels:
    """Set the labels `requested`, and remove the other labels in `groups`, but only those that HLS set."""

    requested: tuple[RequestedLabel, ...]
    groups: tuple[str, ...]  # HLS removes its labels in these groups, even if no label of the group is requested
    custom_labels: tuple[RequestedLabel, ...] = ()  # labels that the prompts can request and HLS does not ship
    prompt_ids: Mapping[str, str] = field(default_factory=dict)  # group -> id of the first prompt that can set it
    existing_only: frozenset[str] = frozenset()  # names of requested labels that are never created in the repository
    rejected: tuple[tuple[str, str], ...] = ()  # labels that a reply suggests and that are not requested, with reasons


@dataclass(frozen=True, slots=True)
class EnsureComment:
    """Create or edit HLS's comment on an issue or pull request, which has at most one comment of each `family`.

    If `create` is False, only an existing comment is edited. If `section` is set, `body` replaces only that section of
    the comment, and `footer` follows the last section; an empty `body` removes the section.
    """

    family: str  # name of the comment, in its marker: "issues", like most a folder in prompts/; "comments-7"
    body: str  # sanitized Markdown, without the hidden marker of the comment; with the footer if `section` is None
    create: bool
    section: str | None = None  # "reviewer-21031067": letters, digits and hyphens
    footer: str = ""  # sanitized Markdown; empty if `section` is None
    state: str | None = None  # JSON of what the comment reports, stored with its id for later events


@dataclass(frozen=True, slots=True)
class InlineComment:
    """A comment on lines of a pull request. The lines are in one hunk of the patch, on one side."""

    key: str  # identifies the finding; in the hidden marker of the comment
    path: str
    side: Literal["LEFT", "RIGHT"]
    start_line: int | None  # None: a single line
    line: int
    body: str  # sanitized Markdown, without the marker


@dataclass(frozen=True, slots=True)
class EnsureReview:
    """Post one review with event COMMENT that has the comments which HLS has not posted yet."""

    commit: str  # SHA that the lines are of
    comments: tuple[InlineComment, ...]


@dataclass(frozen=True, slots=True)
class EnsureReply:
    """Reply once in a review thread that HLS opened."""

    comment_id: int  # of the first comment of the thread
    key: str  # "fixed": identifies the reply; in its hidden marker. A thread has at most one reply of each key
    body: str  # sanitized Markdown, without the marker


Action = EnsureLabels | EnsureComment

OutcomeKind = Literal["created", "edited", "unchanged", "declined", "withheld", "changed", "dry_run", "off"]


COMMENT_CREATED, COMMENT_EDITED, COMMENT_UP_TO_DATE = "commented", "edited our comment", "our comment is up to date"
"""Texts of `Outcome.detail` for a comment that was created, edited, or already up to date."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The stored result of one action. In a dry run, the outcome has the changes that HLS would have made."""

    action: Literal["labels", "comment"]
    kind: OutcomeKind
    detail: str  # one plain sentence for `hls why`
    added: tuple[str, ...] = ()  # names of labels
    removed: tuple[str, ...] = ()  # names of labels
    comment_id: int | None = None
    url: str | None = None
    body: str | None = None  # text of the comment, as written or as a dry run would have written it
