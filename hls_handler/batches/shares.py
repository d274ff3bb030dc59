"""Shares with intervals, and the sign test between two prompts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, sqrt
from typing import Literal

Conclusion = Literal["better", "worse", "not decided"]

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

    def __str__(self) -> str:
        """Return "82% (76% to 88%) of 200", or "none"."""
        if not self.of:
            return "none"
        low = self._end(-1)
        high = self._end(1)
        return f"{self.part / self.of:.0%} ({low:.0%} to {high:.0%}) of {self.of:,}"

    def _end(self, side: int) -> float:
        share = self.part / self.of
        spread = sqrt(share * (1 - share) / self.of + Z**2 / (4 * self.of**2))
        end = (share + Z**2 / (2 * self.of) + side * Z * spread) / (1 + Z**2 / self.of)
        return min(max(end, 0.0), 1.0)

    def to_dict(self) -> dict[str, float]:
        document: dict[str, float] = {"part": self.part, "of": self.of}
        if self.of:
            document |= {"low": self._end(-1), "high": self._end(1)}
        return document


def conclude(fixed: int, broken: int) -> Conclusion:
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


def _upper_tail(least: int, of: int) -> float:
    ways: int = sum(comb(of, number) for number in range(least, of + 1))
    return float(ways / 2**of)
