"""Rules for `.github/hls.md` that Claude drafts from decisions of people: which of them people may
approve, and what they would have hidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hls_handler.analysis import DraftedRules, HiddenFindings, Severity
from hls_handler.review.guidance import HLS_PATH, GuidancePart
from hls_handler.review.ledger import is_failing
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.values import find_glob_problem
from hls_handler.untrusted.cleaning import clean_and_redact
from hls_handler.wording import count

CaseKind = Literal["dismissed finding", "corrected label", "review comment"]


@dataclass(frozen=True, slots=True)
class Case:
    """A stored decision of a person. Its texts are redacted and cut."""

    number: int  # from 1, as in the prompt
    kind: CaseKind
    where: str  # "octo/shop#7, finding 3"
    path: str  # "" if it is about no file
    about: str  # title of the finding or of the pull request; "" for a review comment
    text: str  # the reason, the change of the label, or the comment


@dataclass(frozen=True, slots=True)
class ListedFinding:
    """A stored finding as the prompt shows it, without its state: Claude must not judge by it."""

    number: int  # from 1, as in the prompt
    path: str
    category: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class RaisedFinding:
    pull_request: int  # number
    entry: LedgerEntry

    @property
    def is_true(self) -> bool:
        """True if people fixed or accepted it."""
        return self.entry.state == "fixed" or self.entry.is_accepted

    @property
    def name(self) -> str:
        return f"#{self.pull_request} finding {self.entry.number} ({self.entry.title})"

    def fails_check(self, fail_on: Severity | None) -> bool:
        """Return True if it fails the check, or did until it was fixed."""
        return is_failing(self.entry.severity, fail_on) and (
            self.entry.counts or self.entry.state == "fixed"
        )


@dataclass(frozen=True, slots=True)
class DraftRule:
    number: int  # from 1, as in the prompt
    globs: tuple[str, ...]  # () for all files
    text: str  # one line
    cases: tuple[int, ...]  # numbers

    @property
    def heading(self) -> str:
        """The heading of `.github/hls.md` that it belongs below; "" for all files."""
        if not self.globs:
            return ""
        return f"## {', '.join(self.globs)}"

    def is_for(self, path: str) -> bool:
        return GuidancePart(HLS_PATH, self.text, self.globs).applies_to([path])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A drafted rule that is not offered."""

    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Drafts:
    rules: tuple[DraftRule, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class ComparedRule:
    """A rule that people may approve, with the stored findings that it would have hidden."""

    rule: DraftRule
    hidden: tuple[RaisedFinding, ...]

    @property
    def true_ones(self) -> tuple[RaisedFinding, ...]:
        return tuple(one for one in self.hidden if one.is_true)


@dataclass(frozen=True, slots=True)
class ComparedRules:
    rules: tuple[ComparedRule, ...]
    left_out: tuple[LeftOut, ...]
    checked: int  # stored findings that the rules were compared with


def keep_drafts(reply: DraftedRules, cases: Sequence[Case]) -> Drafts:
    """Return the rules that name a given case, and whose globs can stand in a heading."""
    known = {case.number for case in cases}
    kept: list[DraftRule] = []
    left_out: list[LeftOut] = []
    for drafted in reply.rules:
        text = _to_line(drafted.text)
        globs = tuple(dict.fromkeys(drafted.globs))
        numbers = tuple(sorted(known.intersection(drafted.cases)))
        why = _find_problem(text, globs, numbers)
        if why:
            left_out.append(LeftOut(text, why))
        else:
            kept.append(DraftRule(len(kept) + 1, globs, text, numbers))
    return Drafts(tuple(kept), tuple(left_out))


def judge(
    drafts: Drafts,
    reply: HiddenFindings,
    findings: Sequence[RaisedFinding],
    fail_on: Severity | None,
) -> ComparedRules:
    """Return the rules that hide nothing that fails the check.

    `reply` names the findings by their places in `findings`, from 1. One whose file a rule is not
    for cannot be hidden by it.
    """
    rules: list[ComparedRule] = []
    left_out = [*drafts.left_out]
    by_number = dict(enumerate(findings, start=1))
    for rule in drafts.rules:
        named = [one.findings for one in reply.hidden if one.rule == rule.number]
        if not named:
            left_out.append(LeftOut(rule.text, "Claude did not say what it would have hidden"))
            continue
        numbers = {number for numbers in named for number in numbers}
        chosen = [one for number, one in by_number.items() if number in numbers]
        hidden = tuple(one for one in chosen if rule.is_for(one.entry.path))
        failing = [one.name for one in hidden if one.fails_check(fail_on)]
        if failing:
            why = (
                f"it would have hidden {', '.join(failing)}, and HLS never silences what fails the"
                " check"
            )
            left_out.append(LeftOut(rule.text, why))
        else:
            rules.append(ComparedRule(rule, hidden))
    return ComparedRules(tuple(rules), tuple(left_out), len(findings))


def keep_uncompared(drafts: Drafts) -> ComparedRules:
    """Return the drafts if no finding is stored with which they could be compared."""
    return ComparedRules(tuple(ComparedRule(rule, ()) for rule in drafts.rules), drafts.left_out, 0)


def describe_hidden(one: ComparedRule, checked: int) -> str:
    """Return "would have hidden 3 of 64 stored findings: 2 dismissed, 1 fixed; people fixed or
    accepted #12 finding 3 (Leaks)".
    """
    if not checked:
        return "no finding is stored with which it could be compared"
    total = f"would have hidden {len(one.hidden)} of {count(checked, 'stored finding')}"
    if not one.hidden:
        return total
    states = Counter(finding.entry.state for finding in one.hidden)
    parts = ", ".join(f"{number} {state}" for state, number in states.most_common())
    names = ", ".join(finding.name for finding in one.true_ones)
    if not names:
        return f"{total}: {parts}; people fixed or accepted none of them"
    return f"{total}: {parts}; people fixed or accepted {names}"


def format_guidance(rules: Iterable[ComparedRule]) -> str:
    """Return the text for `.github/hls.md`: the rules for all files first, because a heading of
    paths is for all that follows it.
    """
    by_heading: dict[str, list[str]] = {"": []}
    for one in rules:
        by_heading.setdefault(one.rule.heading, []).append(f"- {one.rule.text}")
    blocks: list[str] = []
    for heading, lines in by_heading.items():
        text = "\n".join(lines)
        if heading:
            blocks.append(f"{heading}\n\n{text}")
        elif text:
            blocks.append(f"## Decisions of reviewers\n\n{text}")
    return "\n\n".join(blocks)


def _find_problem(text: str, globs: Sequence[str], cases: Sequence[int]) -> str:
    """Return why a drafted rule is not offered; "" if it may be."""
    if not text:
        return "it has no text"
    if not cases:
        return "it names none of the cases"
    for glob in globs:
        problem = _find_heading_problem(glob)
        if problem is not None:
            return f"its glob {glob!r} {problem}"
    return ""


def _find_heading_problem(glob: str) -> str | None:
    """Return why a glob cannot stand in a heading of `.github/hls.md`."""
    if not glob.isprintable() or not {" ", ",", "`"}.isdisjoint(glob):
        return "has a character that a heading of paths cannot have"
    if "/" not in glob and not glob.startswith("*."):
        return "is no path: it needs a / or begins with *."
    return find_glob_problem(glob)


def _to_line(text: str) -> str:
    """Return one line, so that a drafted text has neither headings nor fences."""
    return " ".join(clean_and_redact(text).split())
