"""A stand-in for Claude that answers only from what its prompt shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, get_args

from hls_handler.analysis import (
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    PullRequestAnalysis,
    ReplyFields,
    Severity,
    Verdict,
)
from hls_handler.review.patches import NUMBERED_LINE, Line, Mark, Side
from tests.rounds.code import COMMON_TEXTS, FAULTY, GUARD, HEADER, SAFE, Fault, Files, find_calls

ClaudeKind = Literal["perfect", "sloppy", "literal", "wrong"]
KINDS: Sequence[ClaudeKind] = get_args(ClaudeKind)
"""A literal one says that a finding is gone if its place is not shown, the others say present.

A sloppy one omits 5 % of its verdicts, misquotes 10 % of its lines, and calls 30 % of deletions
fixed, without a line. A wrong one calls faults fixed that are there, with lines that prove nothing,
repeats findings, has findings about anything, and names other lines than it quotes.
"""

FAULT_NAME = re.compile(r"Fault (\d+)\b")
TAG = re.compile(r"</?untrusted \w+>")
FINDING = re.compile(r"Finding (\d+), (.+?)(?:, line (\d+))?, (critical|high|medium|low)\b")
FILE = re.compile(r"(.+?) \((?:added|removed|modified|renamed|copied|changed|unchanged)\b")
SITE = re.compile(r"(?:(?:call|use|definition) of|still has) \S+ in (.+)$")
PRESENT_LINES = re.compile(r"Its present lines, in (.+):$")
CHANGED = re.compile(r"([LR]) (\d+)(?: to (\d+))?")
NOT_THERE = re.compile(r"file is gone|lines are as in the base")
"""What a prompt says of a finding whose lines it cannot show because they are not there."""


@dataclass
class ShownFinding:
    """An earlier finding, or one that gets a second look."""

    number: int
    path: str
    severity: Severity
    lines_path: str  # of the file that has `lines`
    lines: list[Line] = field(default_factory=list)  # that it is shown with
    text: str = ""

    @property
    def fault(self) -> int:
        """The number of the fault; 0 if it names none."""
        found = FAULT_NAME.search(self.text)
        return int(found[1]) if found is not None else 0

    @property
    def says_not_there(self) -> bool:
        return NOT_THERE.search(self.text) is not None


@dataclass
class ShownPrompt:
    """The contents of a prompt."""

    findings: list[ShownFinding] = field(default_factory=list)
    known: set[int] = field(default_factory=set)  # faults that are not to be repeated
    patches: dict[str, list[Line]] = field(default_factory=dict)  # by path
    new: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)  # by path
    others: dict[str, list[Line]] = field(default_factory=dict)  # lines beside the patches, by path
    again: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)  # by path
    removed: dict[str, list[Line]] = field(default_factory=dict)  # with lines around, by path

    def has_lost_guard(self, number: int) -> bool:
        lines = [line for of_file in self.removed.values() for line in of_file]
        return number in find_calls(GUARD, [line.text for line in lines if line.mark == "-"])


@dataclass(frozen=True, slots=True)
class Seen:
    """A line that shows a fault or what prevents it."""

    path: str
    line: Line


def read_prompt(task: str) -> ShownPrompt:
    shown = ShownPrompt()
    lines: list[Line] = []
    new: list[tuple[str, int, int]] = []  # ranges of the file that follows
    again: list[tuple[str, int, int]] = []
    finding: ShownFinding | None = None
    is_in_list = False
    is_in_removed = False
    for text in TAG.sub("", task).split("\n"):
        numbered = NUMBERED_LINE.fullmatch(text)
        if numbered is not None:
            lines.append(_to_line(numbered))
            continue
        if found := FINDING.match(text):
            severity = next(one for one in get_args(Severity) if one == found[4])
            finding = ShownFinding(int(found[1]), found[2], severity, found[2], text=text)
            is_in_removed = False
            shown.findings.append(finding)
            lines = finding.lines
        elif found := FILE.match(text):
            finding, is_in_removed = None, False
            lines = shown.patches.setdefault(found[1], [])
            shown.new.setdefault(found[1], []).extend(new)
            shown.again.setdefault(found[1], []).extend(again)
            new, again = [], []
        elif found := SITE.match(text):
            finding, is_in_removed = None, False
            lines = shown.others.setdefault(found[1], [])
        elif text.startswith("Changed since the last review:"):
            new += _find_ranges(text)
        elif text.startswith("Shown again:"):
            again += _find_ranges(text)
        elif text.startswith("Removed since the last review"):
            finding, is_in_removed = None, True
        elif is_in_removed and text and not text.startswith("@@"):
            lines = shown.removed.setdefault(text, [])
        elif text == "Open findings, not to be repeated:":
            is_in_list = True
        elif finding is not None:
            finding.text += f"\n{text}"
            elsewhere = PRESENT_LINES.match(text)
            finding.lines_path = elsewhere[1] if elsewhere is not None else finding.lines_path
        elif is_in_list and text.startswith("- "):
            shown.known.update(map(int, FAULT_NAME.findall(text)))
        else:
            is_in_list = is_in_list and bool(text)
    return shown


def _find_ranges(text: str) -> Iterator[tuple[str, int, int]]:
    for side, first, last in CHANGED.findall(text):
        yield side, int(first), int(last or first)


def _to_line(numbered: re.Match[str]) -> Line:
    side: Side = "LEFT" if numbered["side"] == "L" else "RIGHT"
    mark = next(one for one in get_args(Mark) if one == (numbered["mark"] or " "))
    return Line(side, int(numbered["number"]), mark, numbered["text"] or "")


def find_seen(pattern: re.Pattern[str], path: str, lines: Sequence[Line]) -> Mapping[int, Seen]:
    """Return the line of each call that a reader sees in the new file."""
    there = sorted({line.number: line for line in lines if line.side == "RIGHT"}.items())
    runs: list[list[Line]] = []
    for number, line in there:
        if not runs or runs[-1][-1].number != number - 1:
            runs.append([])
        runs[-1].append(line)
    found: dict[int, Seen] = {}
    for run in runs:
        calls = find_calls(pattern, [line.text for line in run])
        for fault, index in calls.items():
            found.setdefault(fault, Seen(path, run[index]))
    return found


@dataclass
class Reader:
    """A Claude who answers the prompts about one pull request."""

    random: Random
    kind: ClaudeKind
    faults: Mapping[int, Fault]  # what a reader understands of a fault: its severity
    omitted: set[int] = field(default_factory=set)  # faults whose last verdict was left out
    # the files of the head when the finding about a fault was raised
    old: dict[int, Files] = field(default_factory=dict)

    def answer(self, shown: ShownPrompt, *, is_second_look: bool) -> ReplyFields:
        if is_second_look:
            return FindingVerdicts(verdicts=[self._look(one, shown) for one in shown.findings])
        return PullRequestAnalysis(
            type="feature",
            summary="It changes some values.",
            earlier=[*self._judge(shown)],
            findings=[*self._find(shown)],
            suggested_labels=[],
        )

    def _happens(self, share: float, kind: ClaudeKind = "sloppy") -> bool:
        return self.kind == kind and self.random.random() < share

    def _find(self, shown: ShownPrompt) -> Iterator[Finding]:
        """Yield the faults on new lines that are not known and not guarded."""
        guarded: set[int] = set()
        for path, lines in _all_lines(shown):
            guarded |= find_seen(GUARD, path, lines).keys()
        known = {one.fault for one in shown.findings} | shown.known | guarded
        for path, lines in shown.patches.items():
            for number, seen in find_seen(FAULTY, path, lines).items():
                is_known = number in known or not _is_new(shown, seen, number)
                if seen.line.mark != "+" or (is_known and not self._happens(0.1, "wrong")):
                    continue
                known.add(number)
                severity = self.faults[number].severity
                yield self._report(f"Fault {number}", seen, severity)
            if lines and self._happens(0.2, "wrong"):
                seen = Seen(path, self.random.choice(lines))
                yield self._report(f"Idea {self.random.random()}", seen, "low")

    def _report(self, title: str, seen: Seen, severity: Severity) -> Finding:
        line = seen.line.number
        start = None
        if self._happens(0.5, "wrong"):
            line = max(line + self.random.choice((0, 0, 1, -2, 7, 40)), 1)
            start = self.random.choice((max(line - self.random.randint(0, 9), 1), line + 3))
        return Finding(
            path=seen.path,
            side=seen.line.side,
            start_line=start,
            line=line,
            quote=self._quote(seen.line.text),
            body=f"{title} can be used from outside.",
            suggestion=self.random.choice((None, "    fixed = 1", "a\nb")) if start else None,
            category="security",
            severity=severity,
            confidence=0.9,
            rests_on=[],
            look_up=[],
            continues=None,
            title=title,
        )

    def _quote(self, text: str) -> str:
        if not self._happens(0.1):
            return text
        short = text[: len(text) * 2 // 3]
        variants = (short, text.replace("_", "-"), text.upper(), f"`{text.strip()}`")
        return self.random.choice(variants)

    def _judge(self, shown: ShownPrompt) -> Iterator[EarlierVerdict]:
        for one in shown.findings:
            self.omitted.discard(one.fault)
            if self._happens(0.05) or self._happens(0.2, "wrong"):
                self.omitted.add(one.fault)
                continue
            yield self._decide(one, shown)

    def _decide(self, one: ShownFinding, shown: ShownPrompt) -> EarlierVerdict:
        faulty = _find_everywhere(FAULTY, one, shown)
        guard = _find_everywhere(GUARD, one, shown)
        safe = _find_everywhere(SAFE, one, shown)
        proof = guard or (None if faulty else safe)
        is_added = proof is not None and proof.line.mark == "+"
        if faulty is not None and guard is None:
            if self._happens(0.6, "wrong"):
                return self._lie(one, shown, faulty)
            return self._say(one, "present", faulty)
        if proof is not None and (is_added or faulty is not None):
            return self._say(one, "fixed", proof)
        if proof is not None or _sees_place(one, shown):
            return self._say_gone(one)
        return self._say_gone(one) if self.kind == "literal" else self._say(one, "present", None)

    def _lie(self, one: ShownFinding, shown: ShownPrompt, faulty: Seen) -> EarlierVerdict:
        """Say that a fault is fixed, by a comment, a line that was there before, or one that is not
        there; or that its line is gone, although it is only moved.
        """
        if faulty.line.text.strip() in one.text and self.random.random() < 0.3:
            return self._say(one, "gone", None)
        old = self.old.get(one.fault, {})
        proofs = [Seen(one.path, Line("RIGHT", 1, "+", "raise Unreachable"))]
        for path, lines in shown.patches.items():
            for line in lines:
                is_old = line.text in old.get(path, ()) and line.text.strip() not in COMMON_TEXTS
                is_comment = line.text.strip().startswith(("#", "//"))
                if line.side == "RIGHT" and (is_old or is_comment):
                    proofs.append(Seen(path, line))
        return self._say(one, "fixed", self.random.choice(proofs))

    def _say_gone(self, one: ShownFinding) -> EarlierVerdict:
        return self._say(one, "fixed" if self._happens(0.3) else "gone", None)

    def _say(self, one: ShownFinding, verdict: Verdict, seen: Seen | None) -> EarlierVerdict:
        return EarlierVerdict(
            number=one.number,
            path=seen.path if seen else None,
            line=seen.line.number if seen else None,
            quote=self._quote(seen.line.text) if seen else "",
            verdict=verdict,
            severity=one.severity if verdict == "present" else None,
        )

    def _look(self, one: ShownFinding, prompt: ShownPrompt) -> FindingVerdict:
        """Return whether the lines shown prove a new finding, or the claim about an earlier one."""
        claim = re.search(r"^Claim: (.*)$", one.text, re.MULTILINE)
        is_new = claim is None
        shown = replace(prompt, findings=[one]) if is_new else ShownPrompt(findings=[one])
        faulty = _find_everywhere(FAULTY, one, shown)
        guard = _find_everywhere(GUARD, one, shown)
        safe = _find_everywhere(SAFE, one, shown)
        fixed = guard or (None if faulty else safe)
        if claim is None:
            proof = faulty
        elif "severity" in claim[1]:
            proof = None
        elif "deleted" in claim[1] and faulty is None:
            telling = (line for line in one.lines if re.search(r"\w", line.text))
            proof = next((Seen(one.path, line) for line in telling), None)
        else:
            proof = fixed
        fact = NeededFact(fact="It is so.", state="not shown", quote="", is_decisive=True)
        if proof is not None:
            fact = fact.model_copy(update={"state": "proved", "quote": proof.line.text})
        return FindingVerdict(number=one.number, facts=[fact], unseen="", agrees=proof is not None)


def _all_lines(shown: ShownPrompt) -> Iterator[tuple[str, Sequence[Line]]]:
    for path in {**shown.patches, **shown.others}:
        yield path, [*shown.others.get(path, ()), *shown.patches.get(path, ())]
    yield from shown.removed.items()
    for one in shown.findings:
        yield one.lines_path, one.lines


def _find_everywhere(
    pattern: re.Pattern[str], one: ShownFinding, shown: ShownPrompt
) -> Seen | None:
    """Return the line with a call about the fault of a finding, an added one if there is one."""
    found = [find_seen(pattern, path, lines).get(one.fault) for path, lines in _all_lines(shown)]
    seen = [each for each in found if each is not None]
    added = [each for each in seen if each.line.mark == "+"]
    return next(iter([*added, *seen]), None)


def _is_new(shown: ShownPrompt, seen: Seen, number: int) -> bool:
    """Return True if the line of a fault changed since the last review, or lost its guard. In the
    first review, all lines changed.
    """
    again = shown.again.get(seen.path, ())
    ranges = shown.new.get(seen.path, ())
    if not again and not ranges:
        return True
    at = seen.line.number
    if any(side == "R" and first <= at <= last for side, first, last in ranges):
        return True
    return shown.has_lost_guard(number) and any(first <= at <= last for _, first, last in again)


def _sees_place(one: ShownFinding, shown: ShownPrompt) -> bool:
    """Return True if a reader sees the place of a finding: its lines, or its whole function."""
    if one.lines or one.says_not_there:
        return True
    for _, lines in _all_lines(shown):
        there = {line.number: line.text for line in lines if line.side == "RIGHT"}
        for number, text in there.items():
            header = HEADER.match(text)
            if (
                header is not None
                and int(header[1]) == one.fault
                and _shows_end(there, number, one.fault)
            ):
                return True
    return False


def _shows_end(there: Mapping[int, str], number: int, fault: int) -> bool:
    while number in there:
        if there[number].strip() == f"return value_{fault}":
            return True
        number += 1
    return False
