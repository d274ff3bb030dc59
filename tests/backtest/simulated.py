"""Simulated answers with known accuracy, precision and recall."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from hls_handler.backtest.agreement import Answer, measure_agreement
from hls_handler.backtest.calibration import BAND_EDGES, measure_calibration
from hls_handler.backtest.decision import ComparedIssue, Decision, decide
from hls_handler.backtest.intervals import Share

Condition = Callable[[Answer], bool]
RUNS = 1000
SEED = 67

BOTH = ComparedIssue(is_current_right=True, is_candidate_right=True)
FIXED = ComparedIssue(is_current_right=False, is_candidate_right=True)
BROKEN = ComparedIssue(is_current_right=True, is_candidate_right=False)
NEITHER = ComparedIssue(is_current_right=False, is_candidate_right=False)


@dataclass(frozen=True)
class Prompts:
    """Two prompts that answer the same issues."""

    current: float  # accuracy
    difference: float  # accuracy of the candidate less that of the current one
    changed: float  # share of issues on which only one of them is right

    @classmethod
    def independent(cls, current: float, difference: float) -> Prompts:
        """Prompts of which one is right as often where the other is wrong as where it is right."""
        candidate = current + difference
        return cls(current, difference, current * (1 - candidate) + candidate * (1 - current))

    def answer(self, generator: random.Random, issues: int) -> list[ComparedIssue]:
        fixed = (self.changed + self.difference) / 2
        broken = (self.changed - self.difference) / 2
        both = self.current - broken
        shares = (both, fixed, broken, 1 - both - fixed - broken)
        assert min(shares) >= 0
        return generator.choices((BOTH, FIXED, BROKEN, NEITHER), shares, k=issues)

    def decide(self, planned: int, issues: int, runs: int = RUNS) -> list[Decision]:
        """Decide in each run about all issues. As the first test that decides ends a comparison,
        the decision is that of a person who looks again after each issue, and stops as soon as one
        is reached.
        """
        generator = random.Random(SEED)
        return [decide(self.answer(generator, issues), planned) for _ in range(runs)]


LABELS = {"bug": 0.5, "enhancement": 0.3, "question": 0.2}
CONFIDENCES = (0.55, 0.65, 0.75, 0.85, 0.95)
ABSTAINS = 0.05


def honest(left: str) -> Iterator[tuple[float, str, float]]:
    """Yield (probability, label, confidence). Labels are right as often as the confidence says."""
    for confidence in CONFIDENCES:
        for label in LABELS:
            chance = (1 - confidence) / 2
            if label == left:
                chance = confidence
            yield chance / 5, label, confidence


def biased(left: str) -> Iterator[tuple[float, str, float]]:
    """Half of all issues are called bugs."""
    for chance, label, confidence in honest(left):
        yield chance / 2, label, confidence
        yield chance / 2, "bug", confidence


def overconfident(left: str) -> Iterator[tuple[float, str, float]]:
    """70% of the labels are right, with a stated confidence of 92% or 98%."""
    for confidence, label in product((0.92, 0.98), LABELS):
        chance = 0.15
        if label == left:
            chance = 0.7
        yield chance / 2, label, confidence


def guessing(_left: str) -> Iterator[tuple[float, str, float]]:
    """Labels and confidence are random."""
    for confidence, label in product(CONFIDENCES, LABELS):
        yield 1 / 15, label, confidence


@dataclass(frozen=True)
class Answerer:
    """All possible answers with their probabilities. 5% are abstentions."""

    name: str
    answers: Mapping[Answer, float]

    @classmethod
    def of(cls, describe: Callable[[str], Iterable[tuple[float, str, float]]]) -> Answerer:
        answers: dict[Answer, float] = {}
        for left, share in LABELS.items():
            answers[Answer(None, 0.0, left)] = share * ABSTAINS
            for chance, label, confidence in describe(left):
                answer = Answer(label, confidence, left)
                added = share * (1 - ABSTAINS) * chance
                answers[answer] = answers.get(answer, 0.0) + added
        return cls(describe.__name__, answers)

    def answer(self, generator: random.Random, issues: int) -> list[Answer]:
        return generator.choices(self._population, self._weights, k=issues)

    @cached_property
    def _population(self) -> Sequence[Answer]:
        return tuple(self.answers)

    @cached_property
    def _weights(self) -> Sequence[float]:
        return tuple(self.answers.values())

    def probability(self, part: Condition, of: Condition = lambda _answer: True) -> float:
        """Return the true share of answers that are `part` among those that are `of`."""
        whole = {answer: chance for answer, chance in self.answers.items() if of(answer)}
        return sum(chance for answer, chance in whole.items() if part(answer)) / sum(whole.values())


HONEST = Answerer.of(honest)
BIASED = Answerer.of(biased)
OVERCONFIDENT = Answerer.of(overconfident)
GUESSING = Answerer.of(guessing)


def is_right(answer: Answer) -> bool:
    return answer.given == answer.left


def gave(label: str) -> Condition:
    return lambda answer: answer.given == label


def left(label: str) -> Condition:
    return lambda answer: answer.left == label


def gave_label_in_band(low: float) -> Condition:
    return lambda answer: answer.given is not None and find_band(answer) == low


def true_shares(answerer: Answerer) -> Mapping[str, float]:
    """Name of a share -> its true value."""
    shares = {"accuracy": answerer.probability(is_right)}
    for label in LABELS:
        shares[f"precision of {label}"] = answerer.probability(is_right, gave(label))
        shares[f"recall of {label}"] = answerer.probability(is_right, left(label))
    for low in sorted({find_band(answer) for answer in answerer.answers if answer.given}):
        shares[f"right from {low:.0%}"] = answerer.probability(is_right, gave_label_in_band(low))
    return shares


def find_band(answer: Answer) -> float:
    return max(low for low in BAND_EDGES if low <= answer.confidence)


def stated_shares(answers: Sequence[Answer]) -> Mapping[str, Share]:
    agreement = measure_agreement(answers)
    shares = {"accuracy": agreement.accuracy}
    for label in agreement.labels:
        shares[f"precision of {label.label}"] = label.precision
        shares[f"recall of {label.label}"] = label.recall
    for band in measure_calibration(answers):
        shares[f"right from {band.low:.0%}"] = band.right
    return shares


def measure_coverage(answerer: Answerer, issues: int = 400, runs: int = RUNS) -> Counter[str]:
    """Count by name of a share the runs in which its interval has the true value."""
    generator = random.Random(SEED)
    true = true_shares(answerer)
    covered = Counter[str]()
    for _ in range(runs):
        stated = stated_shares(answerer.answer(generator, issues))
        covered.update(name for name, value in true.items() if holds(stated[name], value))
    return covered


def holds(share: Share, true: float) -> bool:
    return share.low <= true <= share.high


def count_wrong(decisions: Iterable[Decision], difference: float) -> int:
    """Count the promotions of an equal or worse candidate, and the rejections of an equal or better
    one.
    """
    counts = Counter(decision.conclusion for decision in decisions)
    wrong = 0
    if difference <= 0:
        wrong += counts["promote"]
    if difference >= 0:
        wrong += counts["reject"]
    return wrong
