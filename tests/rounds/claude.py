"""A stand-in for Claude that is honest, silent, contradictory, or proves its verdicts with lines that prove nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol, get_args

from hls_handler.analysis import (
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    PullRequestAnalysis,
    Unusable,
    UnusableReply,
    Usage,
    ValidReply,
)
from hls_handler.errors import DependencyDown
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.sandbox.reading import PatchOfFile, read_request
from tests.engine.fakes import CLAUDE_DOWN, FakeClaude
from tests.rounds.generated import DiffLine, Fault, SourceLine, Version

Mode = Literal["honest", "silent", "contradictory", "quotes what proves nothing", "plausible"]
MODES: Mapping[Mode, int] = {
    "honest": 10,
    "silent": 3,
    "contradictory": 3,
    "quotes what proves nothing": 4,
    "plausible": 1,
}
"""How a call answers, and how often. A plausible verdict quotes a new line of code that fixes nothing."""

UNUSABLE: tuple[Unusable, ...] = get_args(Unusable)
NO_REPLY = DependencyDown("no answer", dependency="claude", remedy="wait", may_have_succeeded=True)
FAULT_NAME = re.compile(r"[Ff]ault (\d+)\b")
"""Names a planted fault in the text of a finding."""


def visible(text: str) -> str:
    """Return the letters, digits and underscores of a line: prompts have no invisible characters."""
    return re.sub(r"\W", "", text)


@dataclass
class Answers:
    """What Claude said in one delivery."""

    refuted: set[Fault] = field(default_factory=set)  # faults with a true verdict that they are fixed or gone
    misled: set[Fault] = field(default_factory=set)  # faults with a plausible wrong verdict
    has_failed: bool = False  # a call had no usable reply
    reviews: int = 0  # calls that review


class ReviewedPullRequest(Protocol):
    """The pull request that Claude is asked about."""

    random: Random

    @property
    def answers(self) -> Answers: ...

    @property
    def first_seen(self) -> Mapping[Fault, Version]:
        """The version in which a finding about a fault was raised."""

    @property
    def version(self) -> Version: ...

    @property
    def faults(self) -> Mapping[int, Fault]: ...

    def maybe_push(self) -> None: ...

    def show(self, lines: Iterable[DiffLine]) -> None: ...

    def report(self, problem: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Question:
    """An earlier finding, as the prompt lists it."""

    number: int
    text: str


def find_questions(task: str) -> tuple[Sequence[Question], str]:
    """Return the earlier findings that a prompt lists, and the prompt without them."""
    head, begin, rest = task.partition("Earlier findings of this pull request.")
    if not begin:
        return (), task
    listed, file, files = rest.partition("\nFile: ")
    parts = re.split(r"^Finding (\d+), ", listed, flags=re.MULTILINE)[1:]
    questions = [Question(int(number), text) for number, text in zip(parts[::2], parts[1::2], strict=True)]
    return questions, f"{head}{file}{files}"


class ScriptedClaude(FakeClaude):
    pull_request: ReviewedPullRequest

    def __init__(self, faults: float) -> None:
        super().__init__([])
        self.share_of_faults, self.calls, self.findings = faults, 0, 0
        self.failures: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()  # by mode

    @property
    def random(self) -> Random:
        return self.pull_request.random

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        self.calls += 1
        self.pull_request.maybe_push()
        usage = Usage("claude-haiku-5-5", input_tokens=900, output_tokens=100, cost_usd=0.02)
        is_review = rendered.prompt.name != "pull_requests/verify"
        self.pull_request.answers.reviews += is_review
        if self.random.random() < self.share_of_faults:
            return self._fail(rendered, usage)
        reply = self._review(rendered.task) if is_review else self._look(rendered.task)
        return ValidReply(rendered.prompt.id, rendered.prompt.reply, reply, usage)

    def _fail(self, rendered: RenderedPrompt, usage: Usage) -> UnusableReply:
        self.pull_request.answers.has_failed = True
        if self.random.random() < 0.3:
            error = self.random.choice((CLAUDE_DOWN, NO_REPLY))
            self.failures[f"Claude: {error}"] += 1
            raise error
        why = self.random.choice(UNUSABLE)
        self.failures[why] += 1
        return UnusableReply(rendered.prompt.id, why, "it cannot be used", "{", usage)

    def _review(self, task: str) -> PullRequestAnalysis:
        mode = self.random.choices([*MODES], [*MODES.values()])[0]
        questions, rest = find_questions(task)
        patches = read_request({"messages": [{"role": "user", "content": rest}]}).patches
        shown = [one for patch in patches for one in self._read(patch)]
        self.pull_request.show(shown)
        asked = {fault: one for one in questions for fault in self._name_faults(one.text)}
        return PullRequestAnalysis(
            type="feature",
            summary="It changes some values.",
            earlier=[verdict for fault, one in asked.items() for verdict in self._verdict(mode, fault, one, shown)],
            findings=[*self._findings(mode, asked, shown)][:50],
            suggested_labels=[],
        )

    def _read(self, patch: PatchOfFile) -> Iterator[DiffLine]:
        for line in patch.lines:
            one = self.pull_request.version.lines.get((patch.path, line.side, line.number))
            if one is None or one.mark != line.mark or visible(one.line.text) != visible(line.text):
                self.pull_request.report(f"the prompt shows {patch.path} {line}, the pull request has {one}")
            else:
                yield one

    def _name_faults(self, text: str) -> list[Fault]:
        return [self.pull_request.faults[int(number)] for number in dict.fromkeys(FAULT_NAME.findall(text))]

    def _findings(self, mode: Mode, asked: Mapping[Fault, Question], shown: Sequence[DiffLine]) -> Iterator[Finding]:
        if mode == "silent":
            return
        seen: dict[Fault, DiffLine] = {}
        for one in shown:
            if one.line.fault in self.pull_request.version.faults and one.mark == "+":
                seen.setdefault(one.line.fault, one)
        for fault, one in seen.items():
            if fault not in asked or mode == "contradictory":
                yield self._finding(one, fault)
        if shown and self.random.random() < 0.1:  # something that is fine
            yield self._finding(self.random.choice(shown), None)

    def _finding(self, one: DiffLine, fault: Fault | None) -> Finding:
        self.findings += 1
        quote = self._misquote(one.line.text)
        is_exact = quote == one.line.text and len(quote.strip()) > 12
        moved = self.random.choice((0, 0, 0, 0, 0, 0, 1, -2, 7, 40)) if is_exact else 0
        number = max(one.number + moved, 1)
        text = f"Fault {fault.number}" if fault else f"Idea {self.findings}"
        return Finding(
            path=one.path,
            side=one.side,
            start_line=self.random.choice((None, None, max(number - self.random.randint(0, 9), 1), number + 3)),
            line=number,
            quote=quote,
            body=f"{text} fails for some input.",
            suggestion=self.random.choice((None, "    fixed = 1", "", "a\nb")),
            category="security" if fault else "performance",
            severity=fault.severity if fault else "low",
            confidence=0.9,
            continues=None,
            title=text,
        )

    def _misquote(self, text: str) -> str:
        """Return the text of a line as Claude quotes it: often exactly."""
        short = text[: len(text) * 3 // 4]
        variants = (f"`{text.strip()}`", text.upper(), short, text.replace("_", "-", 1), text.partition("  #")[0], "")
        return (self.random.choice(variants) if self.random.random() < 0.2 else text)[:1000]

    def _verdict(
        self, mode: Mode, fault: Fault, question: Question, shown: Sequence[DiffLine]
    ) -> Iterator[EarlierVerdict]:
        version, answers = self.pull_request.version, self.pull_request.answers
        answers.refuted.discard(fault)
        answers.misled.discard(fault)
        if mode == "silent":
            return
        self.verdicts[mode] += 1
        number, is_present = question.number, fault in version.faults
        if mode != "honest" and is_present:
            yield self._wrong_verdict(mode, fault, number)
            return
        code = visible(question.text)
        seen = {one.line: one for one in version.lines.values() if one in shown or visible(one.line.text) in code}
        if is_present:
            at = next((one for line, one in seen.items() if line.fault is fault and one.mark == "+"), None)
            quote = self._misquote(at.line.text) if at else ""
            yield _verdict(number, "present", at, quote, fault)
            return
        fixes = [line for lines in version.head.values() for line in lines if line.fixes is fault]
        at = next((seen[line] for line in fixes if line in seen), None)
        if not fixes or at is not None:
            answers.refuted.add(fault)
            yield _verdict(number, "fixed" if at else "gone", at, at.line.text if at else "")
        else:  # what fixes it is not shown
            yield _verdict(number, "present", None, "", fault)

    def _wrong_verdict(self, mode: Mode, fault: Fault, number: int) -> EarlierVerdict:
        """Return the verdict that a fault is fixed or gone, which it is not."""
        added = [one for one in self.pull_request.version.changed if one.mark == "+"]
        comments = [one for one in added if one.line.text.strip().startswith("#")]
        first = self.pull_request.first_seen.get(fault)
        known = Counter(one.line.text for one in first.changed if one.mark == "+") if first else Counter[str]()
        now = Counter(one.line.text for one in added)  # of equal lines of which there are more, one is new
        old = [one for one in added if one.line.text.strip() and now[one.line.text] <= known[one.line.text]]
        new = [one for one in added if one.line.text.strip() and one not in comments and one not in old]
        lines = new if mode == "plausible" else self.random.choice((comments, old, []))
        if lines:
            at = self.random.choice(lines)
            if at in new:
                self.pull_request.answers.misled.add(fault)
            return _verdict(number, "fixed", at, at.line.text)
        if mode == "plausible" or self.random.random() < 0.5:
            return _verdict(number, "gone", None, "")
        absent = DiffLine(self.pull_request.version.files[0].path, "RIGHT", 1, "+", SourceLine("raise Unreachable"))
        return _verdict(number, "fixed", absent, absent.line.text)

    def _look(self, task: str) -> FindingVerdicts:
        """Return honest verdicts of a second look."""
        parts = re.split(r"^Finding (\d+), ", task, flags=re.MULTILINE)[1:]
        verdicts = []
        for number, text in zip(parts[::2], parts[1::2], strict=True):
            faults = self._name_faults(text)
            is_present = bool(self.pull_request.version.faults.intersection(faults))
            agrees = is_present is ("It is fixed, because" not in text) and "its severity is only" not in text
            shown = next((line[9:] for line in text.split("\n") if re.match(r"[RL] +\d+ [-+ ] .*\w", line)), "")
            facts = [NeededFact(fact="It is so.", quote=shown if agrees else "not shown", is_decisive=True)]
            verdicts.append(FindingVerdict(number=int(number), facts=facts, agrees=agrees))
        return FindingVerdicts(verdicts=verdicts)


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
