"""Compares the labels that replies ask for with those that people left. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.actions import field_of
from hls_handler.analysis import ReplyFields
from hls_handler.batches.first_text import PastIssue
from hls_handler.github.labels import fold
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import list_labels_in, list_labels_of

SUGGESTED = "suggested_labels"

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class LabelGroup:
    """Labels of which an issue has at most one: those of a field, or one label of a list."""

    name: str  # "kind"; for a label of a list: "areas docs"
    labels: Mapping[str, str]  # the label that a reply asks for -> the repository's own

    @property
    def is_list(self) -> bool:
        return field_of(self.name) != self.name


@dataclass(frozen=True, slots=True)
class LabelGuess:
    """Claude's answer about a group of which people decided the label."""

    label: str | None  # None: Claude asked for none of the group
    true_label: str | None  # None: people left none of the group

    @property
    def is_right(self) -> bool:
        return self.label == self.true_label


def find_groups(
    model: type[ReplyFields], repository: Sequence[RepositoryLabel]
) -> tuple[LabelGroup, ...]:
    """Return the groups of labels that a prompt can ask for, and what the repository calls them:
    the same name, or the only one that has its words, "type: bug" for "bug".
    """
    names = [label.name for label in repository]
    groups: dict[str, dict[str, str]] = {}
    for label in list_labels_of(model):
        own = find_own_label(label.name, names)
        if own is not None:
            groups.setdefault(label.group, {})[label.name] = own
    return tuple(LabelGroup(name, labels) for name, labels in groups.items())


def find_own_label(name: str, names: Iterable[str]) -> str | None:
    words = _split(name)
    exact = [own for own in names if fold(own) == fold(name)]
    similar = [own for own in names if words <= _split(own)]
    for candidates in (exact, similar):
        if len(candidates) == 1:
            return candidates[0]
    return None


def _split(name: str) -> set[str]:
    return set(_WORDS.findall(name.casefold()))


def find_suggested_groups(offered: Iterable[RepositoryLabel]) -> tuple[LabelGroup, ...]:
    """Return a group for each label of the repository that the prompt lists."""
    return tuple(
        LabelGroup(f"{SUGGESTED} {label.name}", {label.name: label.name}) for label in offered
    )


def list_answers(
    groups: Iterable[LabelGroup],
    issue: PastIssue,
    reply: ReplyFields | None,
    min_confidence: float = 0.0,
) -> Mapping[str, LabelGuess]:
    """Return the answer of a reply to each group of which people decided the label.

    Left out are groups whose label the issue had when it was opened, because the prompt shows it.
    Without a reply, no label is given. Suggested labels have at least `min_confidence`.
    """
    requested: Mapping[str, str] = {}
    if reply is not None:
        requested = _list_requested(reply, min_confidence)
    answers: dict[str, LabelGuess] = {}
    for group in groups:
        own = {fold(name): name for name in group.labels.values()}
        if _has_any(own, issue.first_labels) or _has_any(own, issue.truth.undecided):
            continue
        # an old issue may have the name in another case: GitHub compares names without it
        true_labels = [own[fold(name)] for name in issue.truth.labels if fold(name) in own]
        is_decided = len(true_labels) == 1 or (
            not true_labels and _has_any(own, issue.truth.rejected)
        )
        if group.is_list:
            is_decided = bool(issue.truth.labels)
        if is_decided:
            by_name = {fold(name): label for name, label in group.labels.items()}
            label = requested.get(fold(group.name))
            if label is not None:
                label = by_name.get(fold(label), label)
            answers[group.name] = LabelGuess(label, next(iter(true_labels), None))
    return answers


def _has_any(own: Mapping[str, str], names: Iterable[str]) -> bool:
    return any(fold(name) in own for name in names)


def _list_requested(reply: ReplyFields, min_confidence: float) -> Mapping[str, str]:
    """Return the labels that a reply asks for, by case-folded group."""
    requested = {fold(label.group): label.name for label in list_labels_in(reply)}
    for suggested in getattr(reply, SUGGESTED, ()):
        if suggested.confidence >= min_confidence:
            name = suggested.name.strip()
            requested[fold(f"{SUGGESTED} {name}")] = name
    return requested
