"""Decides between two prompts or models that answered the same issues. Pure.

An issue is right if all compared labels are as people left them. Issues on which both are right, or
both are wrong, show no difference; of the others, the candidate fixed some and broke some. If the
two are equally good, each of these issues is fixed with a probability of 50%.

- At the planned number of issues, an exact sign test decides, one-sided for each end (McNemar, Note
  on the sampling error of the difference between correlated proportions, Psychometrika 12, 1947).
- At any number of issues, before and after, a second test decides. It stays valid under looking
  again: a beta-binomial mixture of likelihood ratios is, for equal prompts, a nonnegative
  martingale with the mean 1, so it ever reaches 1 / error with a probability of at most `error`
  (Ville, Étude critique de la notion de collectif, 1939; Robbins, Statistical methods related to
  the law of the iterated logarithm, Annals of Mathematical Statistics 41, 1970; Ramdas, Grünwald,
  Vovk and Shafer, Game-theoretic statistics and safe anytime-valid inference, Statistical Science
  38, 2023). The same holds for the promotion of a worse candidate: the half of the mixture above
  50% is then a supermartingale, and where more is fixed than broken it is the larger half.

The first test that decides ends the comparison, and more issues do not change it. So a decision is
wrong at most with the sum of the three errors below: 0.9%. The promotion gets the largest part:
after a wrong or a missing rejection, the prompt in use stays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log
from typing import Literal

from hls_handler.backtest.intervals import Share, probability, upper_tail

Conclusion = Literal["promote", "reject", "inconclusive"]
Test = Literal["planned size", "looking again"]

PROMOTE_ERROR = 0.006
"""Probability that an equal or worse candidate is promoted at the planned size."""
REJECT_ERROR = 0.002
"""Probability that an equal or better candidate is rejected at the planned size."""
SEQUENTIAL_ERROR = 0.001
"""Probability of either by looking again, however often."""
PRIOR = 5.0
"""Both parameters of the beta distribution. Other values from 3 to 10 decide as early if the
candidate fixes 65 to 75% of the issues that it changes, and 40 does later.
"""
DIFFERENCE = 0.1
"""The difference in accuracy for which a plan states its power: 10 points."""
CHANGED = 0.3
"""Assumed share of issues that the candidate fixes or breaks, before the first comparison."""

ALMOST_ALL = 1 - 1e-9  # binomial probabilities need a chance below 1
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True)
class ComparedIssue:
    is_current_right: bool
    is_candidate_right: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """The test that decided, after so many issues."""

    conclusion: Conclusion
    test: Test
    issues: int


@dataclass(frozen=True, slots=True)
class Decision:
    planned: int
    current: Share  # right, of all compared issues
    candidate: Share
    fixed: int  # issues on which only the candidate is right
    broken: int  # issues on which only the current one is right
    ending: Ending | None  # None as long as no test decides

    @property
    def conclusion(self) -> Conclusion:
        if self.ending is None:
            return "inconclusive"
        return self.ending.conclusion

    @property
    def missing(self) -> int:
        """The number of issues that are missing to the planned number."""
        return max(0, self.planned - self.current.of)


def decide(issues: Sequence[ComparedIssue], planned: int) -> Decision:
    """Decide about issues in the order in which they were answered, or in any other that does not
    depend on the answers.

    `planned` is fixed before the first answer, and stays the same if issues are added.
    """
    current = sum(issue.is_current_right for issue in issues)
    candidate = sum(issue.is_candidate_right for issue in issues)
    both = sum(issue.is_current_right and issue.is_candidate_right for issue in issues)
    return Decision(
        planned=planned,
        current=Share(current, len(issues)),
        candidate=Share(candidate, len(issues)),
        fixed=candidate - both,
        broken=current - both,
        ending=_find_ending(issues, planned),
    )


def _find_ending(issues: Sequence[ComparedIssue], planned: int) -> Ending | None:
    fixed = 0
    broken = 0
    for number, issue in enumerate(issues, 1):
        is_changed = issue.is_candidate_right != issue.is_current_right
        if is_changed:
            fixed += issue.is_candidate_right
            broken += issue.is_current_right
        if number == planned:
            conclusion = _conclude_at_planned_size(fixed, broken)
            if conclusion != "inconclusive":
                return Ending(conclusion, "planned size", number)
        if is_changed:
            conclusion = _conclude_sequentially(fixed, broken)
            if conclusion != "inconclusive":
                return Ending(conclusion, "looking again", number)
    return None


def _conclude_at_planned_size(fixed: int, broken: int) -> Conclusion:
    changed = fixed + broken
    if upper_tail(fixed, changed, 0.5) <= PROMOTE_ERROR:
        return "promote"
    if upper_tail(broken, changed, 0.5) <= REJECT_ERROR:
        return "reject"
    return "inconclusive"


def _conclude_sequentially(fixed: int, broken: int) -> Conclusion:
    if _log_likelihood_ratio(fixed, broken) < -log(SEQUENTIAL_ERROR):
        return "inconclusive"
    if fixed > broken:
        return "promote"
    return "reject"


def _log_likelihood_ratio(fixed: int, broken: int) -> float:
    """Return the logarithm of the ratio between the beta-binomial mixture and a chance of 50%."""
    mixture = _log_beta(PRIOR + fixed, PRIOR + broken) - _log_beta(PRIOR, PRIOR)
    return mixture + (fixed + broken) * log(2)


def _log_beta(first: float, second: float) -> float:
    return lgamma(first) + lgamma(second) - lgamma(first + second)


def power(planned: int, difference: float = DIFFERENCE, changed: float = CHANGED) -> float:
    """Return the probability that a candidate whose accuracy is higher by `difference` is promoted
    at the planned size.

    `changed` is the share of issues that it fixes or breaks: an assumption, or the share that an
    earlier comparison observed. It is at least `difference`, and the higher it is, the lower is the
    power.
    """
    share = min(max(changed, difference), ALMOST_ALL)
    chance = min((1 + difference / share) / 2, ALMOST_ALL)
    total = 0.0
    for number in range(planned + 1):
        weight = probability(number, planned, share)
        if weight > NEGLIGIBLE:
            total += weight * upper_tail(_fewest_fixed(number), number, chance)
    return total


def _fewest_fixed(changed: int) -> int:
    """Return how many of the changed issues must be fixed for a promotion; `changed` + 1 if all are
    too few.
    """

    def is_enough(fixed: int) -> bool:
        return upper_tail(fixed, changed, 0.5) <= PROMOTE_ERROR

    return bisect_left(range(changed + 1), True, key=is_enough)
