"""Shares with intervals, and the sign test between two prompts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, exp, lgamma, log, sqrt
from typing import Literal

ShareConclusion = Literal["better", "worse", "not decided"]

ERROR = 0.005
"""Probability that an equal draft is called better, and that it is called worse."""
Z = 1.96
"""Of an interval that holds in 95% of samples."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some issues, with Wilson's interval around the true share (Probable inference, the
    law of succession, and statistical inference, Journal of the American Statistical Association
    22, 1927).
    """

    part: int
    of: int
    low: float = 0.0
    high: float = 1.0

    def __str__(self) -> str:
        """Return "82% (76% to 88%) of 200", or "none"."""
        if not self.of:
            return "none"
        interval = f"{self.low:.0%} to {self.high:.0%}"
        return f"{self.part / self.of:.0%} ({interval}) of {self.of:,}"


def make_share(part: int, of: int) -> Share:
    if not of:
        return Share(part, of)
    share = part / of
    spread = Z * sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    centre = share + Z**2 / (2 * of)
    scale = 1 + Z**2 / of
    return Share(part, of, max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0))


def conclude(fixed: int, broken: int) -> ShareConclusion:
    """Return the result of an exact sign test. With equal prompts, each issue on which they differ
    is fixed or broken by chance (McNemar, Psychometrika 12, 1947).

    It holds for the planned number of issues only: looking again until it decides would not.
    """
    changed = fixed + broken
    if _upper_tail(fixed, changed) <= ERROR:
        return "better"
    if _upper_tail(broken, changed) <= ERROR:
        return "worse"
    return "not decided"


FIXED = 0.15
BROKEN = 0.05
"""Shares of issues that a draft fixes and breaks which is better by ten points."""


def find_power(issues: int) -> float:
    """Return the probability that `conclude` finds such a draft better."""
    changed_share = FIXED + BROKEN
    power = 0.0
    for changed, probability in enumerate(_list_binomial(issues, changed_share)):
        if probability > NEGLIGIBLE:
            fixed = _list_binomial(changed, FIXED / changed_share)
            power += probability * sum(fixed[_find_least(changed) :])
    return power


NEGLIGIBLE = 1e-6


def _find_least(changed: int) -> int:
    """Return how many of the changed issues must be fixed so that the draft is better."""
    tail = 0.0
    equal = _list_binomial(changed, 0.5)
    for fixed in range(changed, -1, -1):
        tail += equal[fixed]
        if tail > ERROR:
            return fixed + 1
    return 0


def _list_binomial(number: int, share: float) -> list[float]:
    """Return the probability of each number of hits, from 0."""
    logs = [lgamma(hits + 1) for hits in range(number + 1)]
    return [
        exp(
            logs[number]
            - logs[hits]
            - logs[number - hits]
            + hits * log(share)
            + (number - hits) * log(1 - share)
        )
        for hits in range(number + 1)
    ]


def _upper_tail(least: int, of: int) -> float:
    ways: int = sum(comb(of, number) for number in range(least, of + 1))
    return float(ways / 2**of)
