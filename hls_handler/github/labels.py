"""Decides which labels of a conversation to add and remove, and remembers for an hour which labels
a repository has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.github.values import RepositoryLabel
from hls_handler.settings.sections import EffectiveLabels

if TYPE_CHECKING:  # the store needs the values of this module, and no client of GitHub
    from hls_handler.github.api import RepositoryApi

MAX_LABELS = 100  # GitHub's limit of labels per issue or pull request


LabelState = Literal["intended", "set", "removed"]
"""Stored state of a label. "intended": HLS began to set it; "set": HLS has set it; "removed": a
person removed it.
"""


@dataclass(frozen=True, slots=True)
class LabelOrigin:
    """The prompt whose reply requested a label, and the label's group."""

    group: str  # "priority"; for a label of a list field: "areas area/api"
    prompt_id: str  # the prompt of the reply: "issues/analyze@3f9c2a"


NO_ORIGINS: Mapping[str, LabelOrigin] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A label to create if the repository does not have it."""

    name: str  # at most 50 characters
    # "priority": of a label from a reply, the name of the reply field; at most one label of each is
    # set
    group: str
    color: str  # six hex digits, without #
    description: str  # at most 100 characters


SHIPPED_LABELS: tuple[LabelSpec, ...] = (
    LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),
    LabelSpec("enhancement", "kind", "a2eeef", "A request for something new or better"),
    LabelSpec("question", "kind", "d876e3", "Somebody wants to know something"),
    LabelSpec("documentation", "kind", "0075ca", "The documentation needs work"),
    LabelSpec("maintenance", "kind", "c5def5", "Upkeep: dependencies, builds, clean-ups"),
    LabelSpec("priority-high", "priority", "b60205", "Hurts many people, or hurts much"),
    LabelSpec("priority-medium", "priority", "fbca04", "Matters, but has time"),
    LabelSpec("priority-low", "priority", "0e8a16", "Nice to have"),
    LabelSpec("difficulty-easy", "difficulty", "c2e0c6", "Fit for a first contribution"),
    LabelSpec("difficulty-moderate", "difficulty", "fef2c0", "Needs some knowledge of the code"),
    LabelSpec("difficulty-complex", "difficulty", "f9d0c4", "Needs deep knowledge, or much work"),
    LabelSpec("component-frontend", "component", "bfd4f2", "What people see and click"),
    LabelSpec("component-backend", "component", "bfdadc", "What runs on the server"),
    LabelSpec("component-database", "component", "d4c5f9", "Where things are stored"),
    LabelSpec("size/small", "size", "c2e0c6", "Under 50 lines to review"),
    LabelSpec("size/medium", "size", "fef2c0", "50 to 199 lines to review"),
    LabelSpec("size/large", "size", "f9d0c4", "200 lines to review or more"),
    LabelSpec("type/bug-fix", "type", "d73a4a", "Fixes something"),
    LabelSpec("type/feature", "type", "a2eeef", "Brings something new"),
    LabelSpec("type/refactor", "type", "c5def5", "Changes the code, not what it does"),
    LabelSpec("type/docs", "type", "0075ca", "Changes documentation only"),
    LabelSpec("status/needs-review", "status", "fbca04", "Waits for a person to review it"),
    LabelSpec("status/needs-changes", "status", "d93f0b", "Waits for its author"),
    LabelSpec("status/needs-info", "status", "d93f0b", "Waits for information from its author"),
)


_BY_NAME = {spec.name: spec for spec in SHIPPED_LABELS}


@dataclass(frozen=True, slots=True)
class LabelDifference:
    """Labels to add and remove on GitHub, and label states to store. Names are compared without
    case, as on GitHub.
    """

    create: tuple[LabelSpec, ...]  # the labels in `add` that the repository does not have
    add: tuple[str, ...]
    remove: tuple[str, ...]  # only labels that HLS set
    confirm: tuple[str, ...]  # intended and present now: the response to the write was lost
    # labels that HLS set and a person removed since the last check
    removed_by_person: tuple[str, ...]
    # intended, not present, no longer requested: delete the stored state
    not_applied: tuple[str, ...]
    # requested but not set: name and reason (a part of a sentence)
    withheld: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...] = ()  # the same of labels that GitHub refused to remove


def spec_of(label: RequestedLabel) -> LabelSpec:
    return _BY_NAME.get(label.name) or LabelSpec(
        label.name, label.group, "ededed", f"Set by HLS: {label.group}"[:100]
    )


def decide_labels(
    action: EnsureLabels,
    settings: EffectiveLabels,
    *,
    present: frozenset[str],
    stored: Mapping[str, LabelState],
    in_repository: frozenset[str],
) -> LabelDifference:
    """Decide which labels of a conversation to add and remove.

    `present` are the conversation's labels. `stored` maps each label that HLS has set to its stored
    state. `in_repository` must contain the requested labels that exist in the repository.
    """
    present_keys = {*map(fold, present)}
    existing = {*map(fold, in_repository)}
    existing_only = {*map(fold, action.existing_only)}
    group_of = {fold(spec.name): spec.group for spec in SHIPPED_LABELS}
    group_of |= {
        fold(label.name): label.group for label in (*action.custom_labels, *action.requested)
    }
    states = {fold(name): state for name, state in stored.items()}
    bot_labels = {
        name for name, state in states.items() if state != "removed" and name in present_keys
    }
    # by a person
    removed_now = {
        name for name, state in states.items() if state == "set" and name not in present_keys
    }
    removed = removed_now | {name for name, state in states.items() if state == "removed"}
    # by group
    people_labels = {
        group_of[name]: name
        for name in sorted(present_keys - bot_labels, reverse=True)
        if name in group_of
    }
    chosen: dict[str, str] = {}  # group -> case-folded name of its label

    def find_reason(label: RequestedLabel, name: str) -> str | None:
        """Return the reason not to set a label; None to set it."""
        prohibition = find_prohibition(label.name, settings)
        if prohibition is not None:
            return prohibition
        if label.group in chosen:
            return f"another {label.group} label comes first, and at most one is set"
        if name in present_keys - bot_labels:
            return None
        if label.group in people_labels:
            return f"a person set {people_labels[label.group]}"
        if name in removed:
            return "a person removed it"
        if name in present_keys | existing or (settings.create and name not in existing_only):
            return None
        if settings.create:
            return "the repository has no such label"
        return "the repository has no such label, and labels.create is off in the settings"

    withheld = [*action.rejected]
    labels: list[RequestedLabel] = []
    for label in action.requested:
        name = fold(label.name)
        if name in chosen.values():  # requested twice
            continue
        reason = find_reason(label, name)
        if reason is not None:
            withheld.append((label.name, reason))
            continue
        chosen[label.group] = name
        if name not in present_keys:
            labels.append(label)
    covered = {*action.groups, *(label.group for label in action.requested)}
    outdated = {
        name for name in bot_labels if group_of.get(name) in covered and name not in chosen.values()
    }
    free_slots = max(MAX_LABELS - len(present_keys) + len(outdated), 0)
    too_many = f"the conversation has {MAX_LABELS} labels, the most that GitHub allows"
    withheld += [(label.name, too_many) for label in labels[free_slots:]]
    added = labels[:free_slots]
    shown_after = present_keys | {fold(label.name) for label in added}
    intended = [name for name, state in stored.items() if state == "intended"]
    return LabelDifference(
        create=tuple(spec_of(label) for label in added if fold(label.name) not in existing),
        add=tuple(label.name for label in added),
        remove=tuple(name for name in stored if fold(name) in outdated),
        confirm=tuple(name for name in intended if fold(name) in present_keys - outdated),
        removed_by_person=tuple(name for name in stored if fold(name) in removed_now),
        not_applied=tuple(name for name in intended if fold(name) not in shown_after),
        withheld=tuple(withheld),
    )


def find_prohibition(name: str, settings: EffectiveLabels) -> str | None:
    """Return why HLS must not set a label: "labels.deny has prio*"; None if it may."""
    if name in (".", ".."):  # where a proxy resolves its path, that is the path of all labels
        return "HLS cannot remove a label of this name again"
    denied = next((glob for glob in settings.deny if _matches(name, glob)), None)
    if denied is not None:
        return f"labels.deny has {denied}"
    lists = {**settings.repository_allow, "labels.allow in the settings": settings.allow}
    for where, globs in lists.items():
        if not any(_matches(name, glob) for glob in globs):
            return f"{where} does not allow it"
    return None


def _matches(name: str, glob: str) -> bool:
    return fnmatchcase(fold(name), fold(glob))


def fold(name: str) -> str:
    return name.casefold()  # label names on GitHub are case-insensitive


MAX_PAGES = 50  # only the first 5,000 labels of a repository are searched

LABELS_FRESH_S = 3600.0
"""Time for which the labels of a repository are known. If a person deletes one within it, GitHub
creates it again.
"""


class RepositoryLabels:
    """The labels of repositories, as last listed. Thread-safe: all workers of a process share
    it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        # with the time of the listing
        self._listed: dict[str, tuple[float, tuple[RepositoryLabel, ...]]] = {}

    def find_or_list(self, api: RepositoryApi) -> tuple[RepositoryLabel, ...]:
        """Return the labels, read from GitHub if they are not known or too old."""
        repository = api.repository
        with self._lock:
            read_at, labels = self._listed.get(repository, (0.0, None))
        if labels is None or self._clock() - read_at >= LABELS_FRESH_S:
            labels = tuple(
                api.items(lambda it: it.get_labels(), RepositoryLabel, max_pages=MAX_PAGES)
            )
            with self._lock:
                self._listed[repository] = (self._clock(), labels)
        return labels

    def add(self, repository: str, name: str) -> None:
        with self._lock:
            if repository in self._listed:
                read_at, labels = self._listed[repository]
                self._listed[repository] = (read_at, (*labels, RepositoryLabel(name, "")))
