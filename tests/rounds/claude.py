"""A stand-in for Claude that is honest, silent, contradictory, or proves its verdicts with lines
that prove nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from hls_handler.analysis import (
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    PullRequestAnalysis,
    ReplyFields,
)
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.handlers.asking import VERIFY_PROMPT
from hls_handler.handlers.changed_files import PatchedFile
from hls_handler.handlers.finding_views import EarlierFinding
from hls_handler.handlers.second_look import Candidate
from hls_handler.review.patches import parse_numbered
from tests.rounds.generated import DiffLine, Fault, SourceLine, Version

Mode = Literal["honest", "silent", "contradictory", "quotes what proves nothing", "plausible"]
MODES: Mapping[Mode, int] = {
    "honest": 10,
    "silent": 3,
    "contradictory": 3,
    "quotes what proves nothing": 4,
    "plausible": 1,
}
"""How a call answers, and how often. A plausible verdict quotes a new line of code that fixes
nothing.
"""

FAULT_NAME = re.compile(r"[Ff]ault (\d+)\b")
"""Names a planted fault in the text of a finding."""


def visible(text: str) -> str:
    """Return the letters, digits and underscores of a line: prompts have no invisible
    characters.
    """
    return re.sub(r"\W", "", text)


@dataclass
class Claude:
    """The replies about one version of a pull request."""

    random: Random
    version: Version
    named: Mapping[int, Fault]  # by number
    first_seen: Mapping[Fault, Version]  # the version in which a finding about a fault was raised
    share_of_faults: float
    # faults with a true verdict that they are fixed or gone
    refuted: set[Fault] = field(default_factory=set)
    misled: set[Fault] = field(default_factory=set)  # faults with a plausible wrong verdict
    shown: list[DiffLine] = field(default_factory=list)  # what replies are about
    modes: Counter[Mode] = field(default_factory=Counter)  # of verdicts
    has_failed: bool = False  # a call had no usable reply
    reviews: int = 0  # calls that review
    problems: list[str] = field(default_factory=list)

    def ask(self, name: str, variables: Mapping[str, object]) -> ReplyFields:
        self.reviews += name != VERIFY_PROMPT
        if self.random.random() < self.share_of_faults:
            self.has_failed = True
            raise self.random.choice(
                (Permanent("it cannot be used"), BudgetExceeded("2 USD are spent"))
            )
        if name == VERIFY_PROMPT:
            return self._look(
                one for one in _list(variables["candidates"]) if isinstance(one, Candidate)
            )
        files = [one for one in _list(variables["files"]) if isinstance(one, PatchedFile)]
        earlier = [
            one for one in _list(variables["earlier_findings"]) if isinstance(one, EarlierFinding)
        ]
        return self._review(files, earlier)

    def _review(
        self, files: Iterable[PatchedFile], earlier: Iterable[EarlierFinding]
    ) -> PullRequestAnalysis:
        mode = self.random.choices([*MODES], [*MODES.values()])[0]
        shown = [one for file in files for one in self._read(file)]
        self.shown += shown
        asked = {
            fault: one for one in earlier for fault in self._name_faults(f"{one.title} {one.body}")
        }
        return PullRequestAnalysis(
            type="feature",
            summary="It changes some values.",
            earlier=[
                verdict
                for fault, one in asked.items()
                for verdict in self._verdict(mode, fault, one, shown)
            ],
            findings=[*self._findings(mode, asked, shown)][:50],
            suggested_labels=[],
        )

    def _read(self, file: PatchedFile) -> Iterator[DiffLine]:
        for line in parse_numbered(file.numbered).lines:
            one = self.version.lines.get((file.path, line.side, line.number))
            if one is not None and one.mark == line.mark:
                text = one.line.text
                yield one
            elif line.mark == " ":
                text = self.version.head[file.path][line.number - 1].text
            else:
                text = f"not in the patch: {line}"
            if visible(text) != visible(line.text):
                self.problems.append(f"Claude is shown {file.path} {line}, there is {text}")

    def _name_faults(self, text: str) -> list[Fault]:
        return [self.named[int(number)] for number in dict.fromkeys(FAULT_NAME.findall(text))]

    def _findings(
        self, mode: Mode, asked: Mapping[Fault, EarlierFinding], shown: Sequence[DiffLine]
    ) -> Iterator[Finding]:
        if mode == "silent":
            return
        first: dict[Fault, DiffLine] = {}  # another call may show the other lines of a fault
        for one in self.version.lines.values():
            if one.line.fault in self.version.faults and one.mark == "+":
                first.setdefault(one.line.fault, one)
        for fault, one in ((fault, one) for fault, one in first.items() if one in shown):
            if fault not in asked or mode == "contradictory":
                yield self._finding(one, fault)
        if shown and self.random.random() < 0.1:  # something that is fine
            yield self._finding(self.random.choice(shown), None)

    def _finding(self, one: DiffLine, fault: Fault | None) -> Finding:
        quote = self._misquote(one.line.text)
        is_exact = quote == one.line.text and len(quote.strip()) > 12
        moved = self.random.choice((0, 0, 0, 0, 0, 0, 1, -2, 7, 40)) if is_exact else 0
        number = max(one.number + moved, 1)
        text = f"Fault {fault.number}" if fault else f"Idea {self.random.random()}"
        return Finding(
            path=one.path,
            side=one.side,
            start_line=self.random.choice(
                (None, None, max(number - self.random.randint(0, 9), 1), number + 3)
            ),
            line=number,
            quote=quote,
            body=f"{text} fails for some input.",
            suggestion=self.random.choice((None, "    fixed = 1", "", "a\nb")),
            category="security" if fault else "performance",
            severity=fault.severity if fault else "low",
            confidence=0.9,
            rests_on="",
            look_up=[],
            continues=None,
            title=text,
        )

    def _misquote(self, text: str) -> str:
        """Return the text of a line as Claude quotes it: often exactly."""
        short = text[: len(text) * 3 // 4]
        variants = (
            f"`{text.strip()}`",
            text.upper(),
            short,
            text.replace("_", "-", 1),
            text.partition("  #")[0],
            "",
        )
        return (self.random.choice(variants) if self.random.random() < 0.2 else text)[:1000]

    def _verdict(
        self, mode: Mode, fault: Fault, earlier: EarlierFinding, shown: Sequence[DiffLine]
    ) -> Iterator[EarlierVerdict]:
        self.refuted.discard(fault)
        self.misled.discard(fault)
        if mode == "silent":
            return
        self.modes[mode] += 1
        number, is_present = earlier.number, fault in self.version.faults
        if mode != "honest" and is_present:
            yield self._wrong_verdict(mode, fault, number)
            return
        code = visible(earlier.quote + earlier.code)
        seen = {
            one.line: one
            for one in self.version.lines.values()
            if one in shown or visible(one.line.text) in code
        }
        if is_present:
            at = next(
                (one for line, one in seen.items() if line.fault is fault and one.mark == "+"), None
            )
            yield _verdict(number, "present", at, self._misquote(at.line.text) if at else "", fault)
            return
        fixes = [
            line for lines in self.version.head.values() for line in lines if line.fixes is fault
        ]
        at = next((seen[line] for line in fixes if line in seen), None)
        if not fixes or at is not None:
            self.refuted.add(fault)
            yield _verdict(number, "fixed" if at else "gone", at, at.line.text if at else "")
        else:  # what fixes it is not shown
            yield _verdict(number, "present", None, "", fault)

    def _wrong_verdict(self, mode: Mode, fault: Fault, number: int) -> EarlierVerdict:
        """Return the verdict that a fault is fixed or gone, which it is not."""
        added = [one for one in self.version.changed if one.mark == "+"]
        comments = [one for one in added if one.line.text.strip().startswith("#")]
        first = self.first_seen.get(fault)
        known = (
            Counter(one.line.text for one in first.changed if one.mark == "+")
            if first
            else Counter[str]()
        )
        # of equal lines of which there are more, one is new
        now = Counter(one.line.text for one in added)
        old = [
            one
            for one in added
            if one.line.text.strip() and now[one.line.text] <= known[one.line.text]
        ]
        new = [
            one for one in added if one.line.text.strip() and one not in comments and one not in old
        ]
        lines = new if mode == "plausible" else self.random.choice((comments, old, []))
        if lines:
            at = self.random.choice(lines)
            if at in new:
                self.misled.add(fault)
            return _verdict(number, "fixed", at, at.line.text)
        if mode == "plausible" or self.random.random() < 0.5:
            return _verdict(number, "gone", None, "")
        absent = DiffLine(
            self.version.files[0].path, "RIGHT", 1, "+", SourceLine("raise Unreachable")
        )
        return _verdict(number, "fixed", absent, absent.line.text)

    def _look(self, candidates: Iterable[Candidate]) -> FindingVerdicts:
        """Return honest verdicts of a second look."""
        verdicts = []
        for one in candidates:
            is_present = bool(
                self.version.faults.intersection(self._name_faults(f"{one.title} {one.body}"))
            )
            agrees = (
                is_present is ("It is fixed, because" not in one.claim)
                and "its severity is only" not in one.claim
            )
            code = [
                line[9:] for line in one.code.split("\n") if re.match(r"[RL] +\d+ [-+ ] .*\w", line)
            ]
            shown = next(iter([*code, one.quote]))
            fact = NeededFact(fact="It is so.", state="proved", quote=shown, is_decisive=True)
            if not agrees:
                fact = fact.model_copy(update={"state": "not shown", "quote": ""})
            verdicts.append(
                FindingVerdict(number=one.number, facts=[fact], unseen="", agrees=agrees)
            )
        return FindingVerdicts(verdicts=verdicts)


def _list(value: object) -> tuple[object, ...]:
    assert isinstance(value, tuple)
    return value


def _verdict(
    number: int,
    verdict: Literal["present", "fixed", "gone"],
    at: DiffLine | None,
    quote: str,
    fault: Fault | None = None,
) -> EarlierVerdict:
    return EarlierVerdict(
        number=number,
        path=at.path if at else None,
        line=at.number if at else None,
        quote=quote[:1000],
        verdict=verdict,
        severity=fault.severity if fault else None,
    )
