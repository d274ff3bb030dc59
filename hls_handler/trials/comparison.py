"""Compares two results of prompts for the same deliveries with each other, and with the labels that
people left. Pure.

The old result was posted. The new one is of a trial or a shadow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from functools import cached_property
from math import comb
from typing import Any

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import TOKENS, Usage
from hls_handler.engine.shadow import PromptResult
from hls_handler.store.calls import CallRow
from hls_handler.store.conversations import field_of

MAX_CHANCE = 0.05


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
class LabelSets:
    """The labels that the replies to a delivery lead to."""

    old: frozenset[RequestedLabel]
    new: frozenset[RequestedLabel]
    left: frozenset[RequestedLabel]  # the old ones after people's corrections

    def is_as_left(self, labels: Collection[RequestedLabel], field: str = "") -> bool:
        """Return True if `labels` are those that people left; with `field`, only labels of this
        field count.
        """
        return _names(labels, field) == _names(self.left, field)


def _names(labels: Collection[RequestedLabel], field: str) -> set[str]:
    return {
        label.name.casefold() for label in labels if not field or field_of(label.group) == field
    }


DiffLine = tuple[str, str]
"""The kind of a line ("added", "removed", "same" or "skipped"), and the line."""


def _diff(old: str, new: str) -> tuple[DiffLine, ...]:
    """Return the changed lines with three lines of context; () if the texts are equal."""
    # without the names of files
    lines = list(unified_diff(old.split("\n"), new.split("\n"), lineterm="", n=3))[2:]
    kinds = {"+": "added", "-": "removed", "@": "skipped"}
    return tuple((kinds.get(line[:1], "same"), line) for line in lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both results for one delivery, or the reason why there is no new one."""

    guid: str
    event_key: str  # "issues.opened"
    conversation: str  # "octo/widgets#7"
    subject: str | None = None  # title of the issue or pull request
    old: Run | None = None
    new: Run | None = None
    labels: LabelSets | None = None  # None: there is no reply to one of the prompts
    problem: str = ""  # why there is no new result
    unusable: str = ""  # what Claude wrote, if it cannot be used

    @property
    def title(self) -> str:
        return f"{self.event_key} of {self.conversation}"

    @property
    def has_labels(self) -> bool:
        """True if one of the results has labels to compare."""
        return self.labels is not None and bool(self.labels.old or self.labels.new)

    @property
    def reply_diff(self) -> tuple[DiffLine, ...]:
        if self.old is None or self.new is None:
            return ()
        return _diff(self.old.replies, self.new.replies)

    @property
    def comment_diff(self) -> tuple[DiffLine, ...]:
        if self.new is None:
            return ()
        old = self.old.comment if self.old else ""
        return _diff(old, self.new.comment)


@dataclass(frozen=True, slots=True)
class LabelCount:
    """In how many deliveries the labels of a field are as people left them."""

    field: str  # "priority"; "" for all fields together
    compared: int
    old: int
    new: int
    fixed: int  # as people left them only with the new wording
    broken: int  # as people left them only with the old wording

    @property
    def unchanged(self) -> int:
        return self.compared - self.fixed - self.broken

    @property
    def verdict(self) -> str:
        """ "10 fixed, 4 broken of 16: too few to tell".

        Decided by the sign test: with wordings of the same quality, a changed delivery is fixed or
        broken by chance, and a difference as large as this one has a probability of at most 5%
        (two-sided).
        """
        changed = self.fixed + self.broken
        fewest = min(self.fixed, self.broken)
        by_chance = 2 * sum(comb(changed, one) for one in range(fewest + 1)) / 2**changed
        if not changed:
            verdict = "no difference"
        elif by_chance > MAX_CHANCE:
            verdict = "too few to tell"
        elif self.fixed > self.broken:
            verdict = "the new wording is better"
        else:
            verdict = "the new wording is worse"
        return f"{self.fixed} fixed, {self.broken} broken of {self.compared}: {verdict}"


@dataclass(frozen=True)
class Report:
    """The comparisons of a trial, and what they show together."""

    comparisons: tuple[Comparison, ...]
    # "failed" -> 2: deliveries without a result to compare
    excluded: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def label_counts(self) -> Sequence[LabelCount]:
        """The counts of all fields together, then of each field; empty if no labels were
        compared.
        """
        compared = [one.labels for one in self.comparisons if one.labels is not None]
        fields = set[str]()
        for one in compared:
            fields |= {field_of(label.group) for label in one.old | one.new | one.left}
        if not fields:
            return []
        return [_count_labels(compared, field) for field in ("", *sorted(fields))]

    @property
    def corrected(self) -> int:
        """The number of deliveries of which people changed labels."""
        return sum(
            one.labels is not None and one.labels.left != one.labels.old for one in self.comparisons
        )


def _count_labels(compared: Sequence[LabelSets], field: str) -> LabelCount:
    found = [(one.is_as_left(one.old, field), one.is_as_left(one.new, field)) for one in compared]
    old = sum(was for was, _ in found)
    new = sum(now for _, now in found)
    return LabelCount(
        field, len(found), old, new, found.count((False, True)), found.count((True, False))
    )
