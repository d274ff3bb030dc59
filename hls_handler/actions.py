"""Actions that HLS can take on GitHub: a closed set (SECURITY.md, rule 12: nothing else exists in the code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class RequestedLabel:
    """A label that an analysis asks for. An issue or pull request keeps at most one label of each group."""

    name: str  # "priority-high"
    group: str  # "priority", the reply field it comes from; each label of a list is its own group, "areas area/api"


@dataclass(frozen=True, slots=True)
class EnsureLabels:
    """Set these labels on the conversation, and remove our other labels in `groups`."""

    requested: tuple[RequestedLabel, ...]
    groups: tuple[str, ...]  # every group that the analysis covers, including those without a label now
    known: tuple[RequestedLabel, ...] = ()  # labels that may belong to these groups, apart from the shipped ones
    prompt_ids: Mapping[str, str] = field(default_factory=dict)  # group -> the (first) prompt whose reply has the field


@dataclass(frozen=True, slots=True)
class EnsureComment:
    """Set the text of our one comment of this family to `body`. If `create` is false, edit an existing comment only.

    If several sources share one comment (reviewers, workflows), `section` names the source: only its section is
    replaced by `body`, and `footer` appears once below all sections.
    """

    family: str  # "issues"
    body: str  # Markdown, scrubbed, without marker; includes the footer, unless it is a section
    create: bool
    section: str | None = None  # "reviewer-21031067": letters, digits and hyphens
    footer: str = ""  # only with `section`: Markdown, scrubbed


Action = EnsureLabels | EnsureComment

OutcomeKind = Literal["created", "edited", "unchanged", "declined", "withheld", "changed", "dry_run", "off"]


COMMENT_CREATED, COMMENT_EDITED, COMMENT_UP_TO_DATE = "commented", "edited our comment", "our comment is up to date"
"""Texts of `Outcome.detail` for a comment that was created, edited, or already up to date."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one action."""

    action: Literal["labels", "comment"]
    kind: OutcomeKind
    detail: str  # one plain sentence for `hls why`
    added: tuple[str, ...] = ()  # labels
    removed: tuple[str, ...] = ()
    comment_id: int | None = None
    url: str | None = None
    body: str | None = None  # of a comment, as written, or as a dry run would have written it
