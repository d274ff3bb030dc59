"""Compares two results of prompts for the same deliveries with each other, and with the labels that people left. Pure.

The old result was posted, or is that of a prompt which a person compares with. The new one is of a trial or a shadow.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from functools import cached_property
from itertools import zip_longest
from math import comb
from typing import Any, Literal

from hls_handler.actions import Action, EnsureComment, RequestedLabel
from hls_handler.analysis import TOKENS, Finding, Usage
from hls_handler.clients.comment_body import marker, parse_sections
from hls_handler.engine.shadow import PromptResult
from hls_handler.store.calls import CallRow
from hls_handler.store.conversations import field_of
from hls_handler.wording import add_usd

FINDINGS = "findings"
"""Field of a reply that is compared finding by finding."""

MAX_CHANCE = 0.05

_MARKS = re.compile(r"^<!-- hls:.*-->$\n?", re.MULTILINE)

Change = Literal["added", "removed", "same"]


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one run of a delivery's prompts."""

    result: PromptResult
    calls: int
    tokens: int  # input (including cached) and output
    cost_usd: float | None  # None if a price is unknown
    end: str = ""  # a sentence part: "done: added bug; commented"
    replies: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # prompt id, and Claude's reply as JSON
    findings: tuple[Finding, ...] | None = None  # that the review raised; None: it is no review, or they are unknown
    actions: tuple[Action, ...] = ()  # that were planned
    comment: str | None = None  # Markdown that was posted

    @property
    def text(self) -> str:
        return "\n".join(json.dumps(reply, indent=2, ensure_ascii=False) for _, reply in self.replies)


def sum_calls(spent: Sequence[CallRow | Usage]) -> dict[str, Any]:
    return {
        "calls": len(spent),
        "tokens": sum(getattr(call, name) or 0 for call in spent for name in TOKENS),
        "cost_usd": add_usd(call.cost_usd for call in spent),
    }


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels that the replies to a delivery lead to, as settings, people and existing labels allow."""

    old: frozenset[RequestedLabel]
    new: frozenset[RequestedLabel]
    left: frozenset[RequestedLabel]  # the old ones after people's corrections

    def is_as_left(self, labels: Collection[RequestedLabel], field: str = "") -> bool:
        """Return True if `labels` are those that people left; with `field`, only labels of this field count."""
        return _names(labels, field) == _names(self.left, field)


def _names(labels: Collection[RequestedLabel], field: str) -> set[str]:
    return {label.name.casefold() for label in labels if not field or field_of(label.group) == field}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a reply in both runs; None: the reply has no such field."""

    prompt: str  # name of the prompt
    name: str
    old: str | None
    new: str | None

    @property
    def is_same(self) -> bool:
        return self.old == self.new


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A label group for which two prompts requested different labels; () stands for no label."""

    group: str  # "priority"
    new: tuple[str, ...]
    old: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Both results for one delivery, or the reason why there is no new one."""

    guid: str | None  # None for a recorded event
    event_key: str  # "issues.opened"
    conversation: str  # "octo/widgets#7"
    subject: str | None = None  # title of the issue or pull request
    old: Run | None = None
    new: Run | None = None
    labels: LabelSets | None = None  # None: neither reply can lead to labels, or there is no old reply
    requested: tuple[str, ...] = ()  # labels that the new reply leads to
    problem: str = ""  # why there is no new result
    unusable: str = ""  # what Claude wrote, if it cannot be used

    @property
    def title(self) -> str:
        return (
            f"the recorded event {self.event_key}" if self.guid is None else f"{self.event_key} of {self.conversation}"
        )

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the replies, without findings."""
        fields: list[Field] = []
        before_and_after = (run.replies if run is not None else () for run in (self.old, self.new))
        for one, other in zip_longest(*before_and_after):
            prompt = (other or one)[0].partition("@")[0]
            before, after = one[1] if one else {}, other[1] if other else {}
            names = [name for name in dict.fromkeys([*before, *after]) if name != FINDINGS]
            fields += [Field(prompt, name, _show(before, name), _show(after, name)) for name in names]
        return tuple(fields)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The label groups for which the two prompts requested different labels."""
        old, new = (_by_group(run.result.labels if run is not None else ()) for run in (self.old, self.new))
        found = (Difference(group, new.get(group, ()), old.get(group, ())) for group in dict.fromkeys([*new, *old]))
        return tuple(difference for difference in found if difference.new != difference.old)

    @cached_property
    def findings(self) -> tuple[tuple[Finding, Change], ...] | None:
        """The findings of both reviews, new ones first. Two are the same if file, category and quoted line are.

        None if one of the runs is no review.
        """
        if self.new is None or self.new.findings is None or (self.old is not None and self.old.findings is None):
            return None
        before = self.old.findings or () if self.old is not None else ()
        unmatched = Counter(map(_identity, before))
        shown: list[tuple[Finding, Change]] = []
        for finding in self.new.findings:
            is_old = unmatched[_identity(finding)] > 0
            unmatched[_identity(finding)] -= is_old
            shown.append((finding, "same" if is_old else "added"))
        for finding in reversed(before):
            if unmatched[_identity(finding)] > 0:
                unmatched[_identity(finding)] -= 1
                shown.append((finding, "removed"))
        order: tuple[Change, ...] = ("added", "removed", "same")
        return tuple(sorted(shown, key=lambda one: order.index(one[1])))

    @cached_property
    def comments(self) -> tuple[str | None, str | None]:
        """The part of the old comment that the new one would replace, and the new one; without invisible lines."""
        posted = self.old.comment if self.old is not None else None
        actions = self.new.actions if self.new is not None else ()
        planned = next((action for action in actions if isinstance(action, EnsureComment)), None)
        is_written = planned is not None and (planned.create or posted is not None)
        new = _without_marks(planned.body) if planned is not None and is_written else None
        if posted is None:
            return None, new
        if planned is not None and planned.section is not None:
            section = parse_sections(posted, marker=marker(planned.family)).get(planned.section)
            posted = posted if section is None else section.text
        return _without_marks(posted), new

    @cached_property
    def comment_diff(self) -> tuple[tuple[str, str], ...]:
        """The lines of both comments with their kinds: "added", "removed", "same", "skipped". () if they are equal."""
        before, after = ((text or "").split("\n") for text in self.comments)
        lines = list(unified_diff(before, after, lineterm="", n=3))[2:]  # without the names of the files
        kinds = {"+": "added", "-": "removed", "@": "skipped"}
        return tuple((kinds.get(line[:1], "same"), line) for line in lines)


def _show(reply: Mapping[str, Any], name: str) -> str | None:
    value = reply.get(name)
    if name not in reply or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=1)


def _by_group(labels: Sequence[RequestedLabel]) -> dict[str, tuple[str, ...]]:
    groups = dict.fromkeys(label.group for label in labels)
    return {group: tuple(sorted(label.name for label in labels if label.group == group)) for group in groups}


def _identity(finding: Finding) -> tuple[str, str, str]:
    return finding.path, finding.category, " ".join(finding.quote.split())


def _without_marks(text: str) -> str:
    return _MARKS.sub("", text).strip()


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

        Decided by the sign test: with wordings of the same quality, a changed delivery is fixed or broken by chance,
        and a difference as large as this one has a probability of at most 5% (two-sided).
        """
        changed = self.fixed + self.broken
        fewest = min(self.fixed, self.broken)
        by_chance = 2 * sum(comb(changed, one) for one in range(fewest + 1)) / 2**changed
        if not changed:
            verdict = "no difference"
        elif by_chance > MAX_CHANCE:
            verdict = "too few to tell"
        else:
            verdict = "the new wording is better" if self.fixed > self.broken else "the new wording is worse"
        return f"{self.fixed} fixed, {self.broken} broken of {self.compared}: {verdict}"


@dataclass(frozen=True)
class Report:
    """The comparisons of a trial, and what they show together."""

    comparisons: tuple[Comparison, ...]
    excluded: Mapping[str, int] = field(default_factory=dict)  # "failed" -> 2: deliveries without a result to compare

    @cached_property
    def label_counts(self) -> Sequence[LabelCount]:
        """The counts of all fields together, then of each field; empty if no labels were compared."""
        compared = [one.labels for one in self.comparisons if one.labels is not None]
        labels = [label for one in compared for labels in (one.old, one.new, one.left) for label in labels]
        fields = sorted({field_of(label.group) for label in labels})
        return [_count_labels(compared, field) for field in ("", *fields)] if compared else []

    @property
    def corrected(self) -> int:
        """The number of deliveries of which people changed labels."""
        return sum(one.labels is not None and one.labels.left != one.labels.old for one in self.comparisons)


def _count_labels(compared: Sequence[LabelSets], field: str) -> LabelCount:
    found = [(one.is_as_left(one.old, field), one.is_as_left(one.new, field)) for one in compared]
    old, new = sum(was for was, _ in found), sum(now for _, now in found)
    return LabelCount(field, len(found), old, new, found.count((False, True)), found.count((True, False)))
