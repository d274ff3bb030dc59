"""Compares the labels that replies ask for with those that people left. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.actions import field_of
from hls_handler.analysis import IssueAnalysis, ReplyFields
from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.decision import ComparedIssue
from hls_handler.backtest.first_text import PastIssue
from hls_handler.github.labels import fold
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import list_labels_in, list_labels_of

SUGGESTED = "suggested_labels"

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Group:
    """Labels of which an issue has at most one: those of a field, or one label of a list."""

    name: str  # "kind"; for a label of a list: "areas docs"
    labels: Mapping[str, str]  # the label that a reply asks for -> the repository's own

    @property
    def field(self) -> str:
        return field_of(self.name)


def find_groups(
    models: Iterable[type[ReplyFields]],
    repository: Sequence[RepositoryLabel],
    given: Mapping[str, str],
) -> tuple[Group, ...]:
    """Return the groups of labels that prompts can ask for, and what the repository calls them.

    `given` names the repository's label of a prompt's label. Without an entry it is the label with
    the same name, or the only one that has its words: "type: bug" for "bug".
    """
    names = [label.name for label in repository]
    found: dict[str, dict[str, str]] = {}
    for model in models:
        for label in list_labels_of(model):
            own = given.get(label.name) or find_own_label(label.name, names)
            if own is not None:
                found.setdefault(label.group, {})[label.name] = own
    return tuple(Group(name, labels) for name, labels in found.items())


def find_own_label(wanted: str, names: Iterable[str]) -> str | None:
    words = _split(wanted)
    exact = [name for name in names if fold(name) == fold(wanted)]
    similar = [name for name in names if words <= _split(name)]
    for found in (exact, similar):
        if len(found) == 1:
            return found[0]
    return None


def _split(name: str) -> set[str]:
    return set(_WORDS.findall(name.casefold()))


def find_suggested_groups(offered: Iterable[RepositoryLabel]) -> tuple[Group, ...]:
    """Return a group for each label of the repository that the prompt lists."""
    return tuple(Group(f"{SUGGESTED} {label.name}", {label.name: label.name}) for label in offered)


def list_answers(
    groups: Iterable[Group], issue: PastIssue, replies: Sequence[ReplyFields]
) -> Mapping[str, Answer]:
    """Return the answer of replies to each group of which people decided the label.

    Left out are groups whose label the issue had when it was opened, because the prompt shows it.
    """
    asked = _list_asked(replies)
    found: dict[str, Answer] = {}
    for group in groups:
        own = {fold(name): name for name in group.labels.values()}
        if own.keys() & {fold(name) for name in issue.first.labels}:
            continue
        if own.keys() & {fold(name) for name in issue.truth.undecided}:
            continue
        # an old issue may have the name in another case: GitHub compares names without it
        left = [own[fold(name)] for name in issue.truth.labels if fold(name) in own]
        rejected = [name for name in issue.truth.rejected if fold(name) in own]
        is_list = group.name != group.field
        is_decided = len(left) == 1 or (not left and bool(rejected))
        if is_list:
            is_decided = bool(issue.truth.labels)
        if not is_decided:
            continue
        given = asked.get(fold(group.name))
        found[group.name] = _make_answer(group, given, left)
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    label: str
    confidence: float


def _make_answer(group: Group, given: _Asked | None, left: Sequence[str]) -> Answer:
    label = None
    confidence = 0.0
    if given is not None:
        own = {fold(asked): name for asked, name in group.labels.items()}
        label = own.get(fold(given.label), given.label)
        confidence = given.confidence
    return Answer(label, confidence, next(iter(left), None))


def _list_asked(replies: Sequence[ReplyFields]) -> Mapping[str, _Asked]:
    """Return the labels that replies ask for, by case-folded group. Without a stated confidence it
    is 1.
    """
    asked: dict[str, _Asked] = {}
    for reply in replies:
        stated: Mapping[str, float] = {}
        if isinstance(reply, IssueAnalysis) and reply.field_confidence is not None:
            stated = reply.field_confidence.model_dump()
        for label in list_labels_in(reply):
            asked[fold(label.group)] = _Asked(label.name, stated.get(label.field, 1.0))
        for suggested in getattr(reply, SUGGESTED, ()):
            group = f"{SUGGESTED} {suggested.name.strip()}"
            asked[fold(group)] = _Asked(suggested.name.strip(), suggested.confidence)
    return asked


def compare_issue(
    current: Mapping[str, Answer], candidate: Mapping[str, Answer], thresholds: Mapping[str, float]
) -> ComparedIssue | None:
    """Compare the answers of both sides to the groups that both have; None if there is none.

    `thresholds` are by field the confidence below which no label is set.
    """
    common = [name for name in current if name in candidate]
    if not common:
        return None

    def is_right(answers: Mapping[str, Answer]) -> bool:
        return all(
            answers[name].label_at(thresholds.get(field_of(name), 0.0)) == answers[name].left
            for name in common
        )

    return ComparedIssue(is_right(current), is_right(candidate))
