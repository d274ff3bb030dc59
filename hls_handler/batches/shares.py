"""Shares with intervals, and the sign test between two prompts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist
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


def estimate_power(issues: int) -> float:
    """Return how likely `conclude` finds such a draft better, by the normal approximation."""
    spread = NormalDist().inv_cdf(1 - ERROR) * sqrt(issues * (FIXED + BROKEN))
    gain = issues * (FIXED - BROKEN)
    deviation = sqrt(issues * (FIXED + BROKEN - (FIXED - BROKEN) ** 2))
    return NormalDist().cdf((gain - spread) / deviation)


def _upper_tail(least: int, of: int) -> float:
    ways: int = sum(comb(of, number) for number in range(least, of + 1))
    return float(ways / 2**of)
