"""Compares two results of prompts for the same deliveries with each other, and with the labels that
people left. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import cached_property
from math import comb
from typing import Any, Literal

from hls_handler.actions import Action, EnsureLabels, RequestedLabel
from hls_handler.analysis import TOKENS, Analysis, Usage
from hls_handler.store.calls import CallRow

Change = Literal["fixed", "broken", "still wrong", "same"]


@dataclass(frozen=True, slots=True)
class PromptResult:
    prompt_id: str  # "issues/strict@3f9c2a"; the first if `then` leads to others
    labels: tuple[RequestedLabel, ...]
    label_fields: frozenset[str]  # of the replies, that can lead to labels


def prompt_result(analysis: Analysis, actions: Iterable[Action]) -> PromptResult:
    """Return the labels of an analysis."""
    fields = set[str]()
    for answer in analysis.replies:
        fields |= type(answer.fields).label_rules.keys()
        fields |= type(answer.fields).model_fields.keys() & {"suggested_labels"}
    labels: list[RequestedLabel] = []
    for action in actions:
        if isinstance(action, EnsureLabels):
            labels += action.requested
    prompt_id = ""
    if analysis.replies:
        prompt_id = analysis.replies[0].prompt_id
    return PromptResult(prompt_id, tuple(labels), frozenset(fields))


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one run of a delivery's prompts."""

    result: PromptResult
    calls: int
    tokens: int  # input (including cached) and output
    cost_usd: float
    end: str = ""  # a sentence part: "done: added bug; commented"
    replies: str = ""  # Claude's replies as YAML, each below the id of its prompt
    comment: str = ""  # Markdown that was or would be posted, without invisible lines


def sum_calls(spent: Sequence[CallRow | Usage]) -> dict[str, Any]:
    """Return the sums of `Run`. A call that failed has no cost."""
    return {
        "calls": len(spent),
        "tokens": sum(getattr(call, name) or 0 for call in spent for name in TOKENS),
        "cost_usd": sum(call.cost_usd or 0 for call in spent),
    }


@dataclass(frozen=True, slots=True)
class MarkedLabel:
    name: str
    is_as_left: bool | None  # None if only one wording has its field


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels of a delivery."""

    posted: PromptResult
    new: PromptResult
    left: frozenset[RequestedLabel]  # the posted ones after people's corrections

    @property
    def judged(self) -> frozenset[str]:
        """The fields that both wordings have."""
        return self.posted.label_fields & self.new.label_fields

    def is_as_left(self, result: PromptResult, fields: Collection[str]) -> bool:
        return _names(result.labels, fields) == _names(self.left, fields)

    def judge(self, fields: Collection[str]) -> Change:
        """Return what the new wording did to the labels of `fields`."""
        if _names(self.posted.labels, fields) == _names(self.new.labels, fields):
            return "same"
        if self.is_as_left(self.new, fields):
            return "fixed"
        if self.is_as_left(self.posted, fields):
            return "broken"
        return "still wrong"

    def mark(self, labels: Iterable[RequestedLabel]) -> list[MarkedLabel]:
        """Return those of the labels whose fields differ between posted, new and left; if none
        does, all.
        """
        fields = self.posted.label_fields | self.new.label_fields
        sides = (self.posted.labels, self.new.labels, self.left)
        shown = {one for one in fields if len({_names(side, {one}) for side in sides}) > 1}
        marked: list[MarkedLabel] = []
        for label in sorted(labels, key=lambda one: one.name):
            is_as_left = None
            if label.field in self.judged:
                is_as_left = label.name.casefold() in _names(self.left, fields)
            if label.field in (shown or fields):
                marked.append(MarkedLabel(label.name, is_as_left))
        return marked


def _names(labels: Iterable[RequestedLabel], fields: Collection[str]) -> frozenset[str]:
    return frozenset(label.name.casefold() for label in labels if label.field in fields)


DiffLine = tuple[str, str]
"""The kind of a line ("added", "removed", "same" or "skipped"), and the line."""


def _diff(posted: str, new: str) -> tuple[DiffLine, ...]:
    """Return the changed lines with three lines of context; () if the texts are equal."""
    # without the names of files
    lines = list(unified_diff(posted.split("\n"), new.split("\n"), lineterm="", n=3))[2:]
    kinds = {"+": "added", "-": "removed", "@": "skipped"}
    return tuple((kinds.get(line[:1], "same"), line) for line in lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both results for one delivery, or the reason why there is no new one."""

    guid: str
    event_key: str  # "issues.opened"
    conversation: str  # "octo/widgets#7"
    subject: str | None = None  # title of the issue or pull request
    posted: Run | None = None
    new: Run | None = None
    labels: LabelSets | None = None  # None: there is no reply to one of the prompts
    problem: str = ""  # why there is no new result
    unusable: str = ""  # what Claude wrote, if it cannot be used

    @property
    def title(self) -> str:
        return f"{self.event_key} of {self.conversation}"

    @property
    def change(self) -> Change | None:
        """None if there is nothing to judge."""
        if self.labels is None or not self.labels.judged:
            return None
        return self.labels.judge(self.labels.judged)

    @property
    def reply_diff(self) -> tuple[DiffLine, ...]:
        if self.posted is None or self.new is None:
            return ()
        return _diff(self.posted.replies, self.new.replies)

    @property
    def comment_diff(self) -> tuple[DiffLine, ...]:
        if self.new is None:
            return ()
        posted = self.posted.comment if self.posted else ""
        return _diff(posted, self.new.comment)


@dataclass(frozen=True, slots=True)
class LabelCount:
    """In how many deliveries the labels of a field are as people left them."""

    field: str  # "priority"; "" for all fields together
    compared: int
    posted: int
    fixed: int  # as people left them only with the new wording
    broken: int  # as people left them only with the posted wording

    @property
    def new(self) -> int:
        return self.posted + self.fixed - self.broken

    @property
    def summary(self) -> str:
        """ "fixed 10, broke 1 of 16"."""
        return f"fixed {self.fixed}, broke {self.broken} of {self.compared}"

    @property
    def chance(self) -> str:
        """The result of an exact two-sided sign test as a sentence part: with wordings of the same
        quality, each changed delivery is fixed or broken by chance.
        """
        changed = self.fixed + self.broken
        if not changed:
            return "no delivery was fixed or broken"
        fewest = min(self.fixed, self.broken)
        tail = sum(comb(changed, one) for one in range(fewest + 1)) / 2**changed
        chance = f"{min(1, 2 * tail):.1%}"
        if tail < 0.0005:
            chance = "at most 0.1%"
        test = f"exact two-sided sign test of the {changed} fixed or broken"
        return f"the chance that equal wordings differ as much is {chance} ({test})"


@dataclass(frozen=True)
class Report:
    """The comparisons of a trial, and what they show together."""

    comparisons: tuple[Comparison, ...]

    @property
    def label_sets(self) -> list[LabelSets]:
        return [one.labels for one in self.comparisons if one.labels is not None]

    @cached_property
    def label_counts(self) -> Sequence[LabelCount]:
        """The counts of all fields together that both wordings have, then of each of them; empty if
        they lead to no labels.
        """
        compared = self.label_sets
        fields = set[str]()
        for one in compared:
            labels = (*one.posted.labels, *one.new.labels)
            fields |= {label.field for label in labels} & one.judged
        if not fields:
            return []
        return [_count_labels(compared, field) for field in ("", *sorted(fields))]

    @property
    def unjudged(self) -> list[str]:
        """A sentence part for each field that only one wording has."""
        compared = self.label_sets
        only_posted = _list_unjudged("posted", [(one.posted, one.new) for one in compared])
        only_new = _list_unjudged("new", [(one.new, one.posted) for one in compared])
        return [*only_posted, *only_new]

    @property
    def corrected(self) -> int:
        """The number of deliveries of which people changed labels."""
        return sum(one.left != {*one.posted.labels} for one in self.label_sets)


def _list_unjudged(wording: str, pairs: Iterable[tuple[PromptResult, PromptResult]]) -> list[str]:
    """Describe the fields that only the first of each pair has."""
    asked = Counter[str]()
    labelled = Counter[str]()
    for own, other in pairs:
        fields = own.label_fields - other.label_fields
        asked.update(fields)
        labelled.update(fields & {label.field for label in own.labels})
    return [
        f"{field}: only the {wording} wording has it, not judged; set on {labelled[field]} of"
        f" {number}"
        for field, number in sorted(asked.items())
    ]


def _count_labels(compared: Iterable[LabelSets], field: str) -> LabelCount:
    """Count the labels of a field; with "", of all fields that both wordings have."""
    changes: list[Change] = []
    posted = 0
    for one in compared:
        fields = one.judged
        if field:
            fields &= {field}
        if fields:
            changes.append(one.judge(fields))
            posted += one.is_as_left(one.posted, fields)
    return LabelCount(field, len(changes), posted, changes.count("fixed"), changes.count("broken"))
