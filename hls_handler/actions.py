"""What we may do on GitHub: a closed set (SECURITY.md, rule 12: nothing else exists in the code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class LabelWish:
    """A label that an analysis asks for. Of one group at most one label is kept."""

    name: str  # "priority-high"
    group: str  # "priority": the field that it came from; of a list each label is a group of its own, "areas area/api"


@dataclass(frozen=True, slots=True)
class KeepLabels:
    """Make the thread carry these labels of ours, and no other of ours in `groups`."""

    wishes: tuple[LabelWish, ...]
    groups: tuple[str, ...]  # every group this analysis speaks about, also one that now has no label
    known: tuple[LabelWish, ...] = ()  # what else than the shipped labels may stand for these groups
    said: Mapping[str, str] = field(default_factory=dict)  # group -> id of the prompt whose reply has the field


@dataclass(frozen=True, slots=True)
class KeepComment:
    """Make our one comment of this family say `body`. `create` false: only what is there already is edited.

    Where several sources feed one comment (reviewers, workflows), `section` names the source: its section then says
    `body`, those of the others stay, and `footer` stands once below them all.
    """

    family: str  # "issues"
    body: str  # Markdown, scrubbed, without marker; with footer, unless it is a section
    create: bool
    section: str | None = None  # "reviewer-21031067": letters, digits and hyphens
    footer: str = ""  # of sections: Markdown, scrubbed


Action = KeepLabels | KeepComment

OutcomeKind = Literal["created", "edited", "unchanged", "declined", "withheld", "changed", "dry_run", "off"]


COMMENTED, EDITED, SAID = "commented", "edited our comment", "our comment says so already"
"""What is told of a comment that was created, edited, or found as it should be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action."""

    action: Literal["labels", "comment"]
    kind: OutcomeKind
    detail: str  # one plain sentence for `why`
    added: tuple[str, ...] = ()  # labels
    removed: tuple[str, ...] = ()
    comment_id: int | None = None
    url: str | None = None
    body: str | None = None  # of a comment, as written or as it would have been written
