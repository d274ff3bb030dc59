"""Classifies a step's failure by other attempts at the same commit and by recent failures on other branches.

The decision uses results only, never the contents of logs:

- `flaky`: the job passed in another attempt at the same commit, so the code is not the difference;
- `fails elsewhere`: the same step recently failed on the default branch, or on two other branches, so this change is
  probably not the cause. The step may be broken for everybody, or flaky;
- `fails every time`: at least two attempts at this commit failed, and none passed;
- `unknown`: there are too few results.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from hls_handler.ci.steps import FAILED

FailureClass = Literal["flaky", "fails elsewhere", "fails every time", "unknown"]

RECENT_DAYS = 7
"""Failures on other branches count for this long."""

MIN_OTHER_BRANCHES = 2  # other than this one; a single one may contain the same change
MAX_BRANCHES_NAMED = 5


class Failure(Protocol):
    """A step that recently failed on another branch."""

    @property
    def job(self) -> str: ...

    @property
    def step(self) -> str: ...

    @property
    def branch(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """Result of a job in one attempt of a run. All attempts of a run are at the same commit."""

    number: int  # from 1
    job: str
    conclusion: str | None  # None while it runs


@dataclass(frozen=True, slots=True)
class FailureClassification:
    verdict: FailureClass
    evidence: str  # a sentence, or ""; it contains names of branches, which are untrusted text


def classify_failure(
    job: str, step: str, *, attempts: Iterable[Attempt], failures: Iterable[Failure], default_branch: str
) -> FailureClassification:
    """Classify the failure. `attempts` are those of the run, `failures` those of other branches."""
    conclusions = {attempt.number: attempt.conclusion for attempt in attempts if attempt.job == job}
    passed = sorted(number for number, conclusion in conclusions.items() if conclusion == "success")
    failed = sorted(number for number, conclusion in conclusions.items() if conclusion in FAILED)
    if passed:
        return FailureClassification("flaky", f"{_enumerate('attempt', passed)} at the same commit passed this job")
    branches = {other.branch for other in failures if (other.job, other.step) == (job, step)}
    if default_branch in branches or len(branches) >= MIN_OTHER_BRANCHES:
        ordered = sorted(branches, key=lambda branch: (branch != default_branch, branch))
        return FailureClassification("fails elsewhere", _describe_branches(ordered))
    if len(failed) >= 2:
        return FailureClassification(
            "fails every time", f"{_enumerate('attempt', failed)} at the same commit failed this job"
        )
    return FailureClassification("unknown", _describe_branches(sorted(branches)) if branches else "")


def _describe_branches(branches: list[str]) -> str:
    count = f"{len(branches)} other {'branch' if len(branches) == 1 else 'branches'}"
    named = ", ".join(branches[:MAX_BRANCHES_NAMED]) + (", ..." if len(branches) > MAX_BRANCHES_NAMED else "")
    return f"the same step failed on {count} within {RECENT_DAYS} days: {named}"


def _enumerate(noun: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
