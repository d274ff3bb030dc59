"""Whether a failure is news: what other attempts at the same commit, and other branches lately, say of a job's step.

Decided from what happened, never from what a log looks like. The words are a maintainer's:

- `flaky`: the same commit passed the job in another attempt, so nothing in the code tells the two apart;
- `fails elsewhere`: the same step failed lately on the default branch, or on two branches more, so this change is
  hardly the cause. It may be broken for everybody, or flaky;
- `fails every time`: two attempts or more at this commit failed, and none passed;
- `unknown`: one failure says nothing of the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from hls_handler.ci.steps import FAILED

Verdict = Literal["flaky", "fails elsewhere", "fails every time", "unknown"]

LATELY_DAYS = 7
"""How long a failure elsewhere says something."""

ENOUGH_BRANCHES = 2  # beside this one; a single one may be the same change, stacked or copied
MOST_NAMED = 5


class Failure(Protocol):
    """A step that failed on another branch, lately."""

    @property
    def job(self) -> str: ...

    @property
    def step(self) -> str: ...

    @property
    def branch(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a job ended in one attempt of a run. All attempts of a run are at the same commit."""

    number: int  # from 1
    job: str
    conclusion: str | None  # None while it runs


@dataclass(frozen=True, slots=True)
class News:
    verdict: Verdict
    evidence: str  # a sentence with names of branches in it, which are strangers' text; "" where there is none


def judge(
    job: str, step: str, *, attempts: Iterable[Attempt], failures: Iterable[Failure], default_branch: str
) -> News:
    """`attempts` are those of the run, the failed one among them or not; `failures` are those of other branches."""
    ends = {attempt.number: attempt.conclusion for attempt in attempts if attempt.job == job}
    passed = sorted(number for number, conclusion in ends.items() if conclusion == "success")
    failed = sorted(number for number, conclusion in ends.items() if conclusion in FAILED)
    if passed:
        return News("flaky", f"{_counted('attempt', passed)} at the same commit passed this job")
    branches = {other.branch for other in failures if (other.job, other.step) == (job, step)}
    if default_branch in branches or len(branches) >= ENOUGH_BRANCHES:
        ordered = sorted(branches, key=lambda branch: (branch != default_branch, branch))
        return News("fails elsewhere", _elsewhere(ordered))
    if len(failed) >= 2:
        return News("fails every time", f"{_counted('attempt', failed)} at the same commit failed this job")
    return News("unknown", _elsewhere(sorted(branches)) if branches else "")


def _elsewhere(branches: list[str]) -> str:
    count = f"{len(branches)} other {'branch' if len(branches) == 1 else 'branches'}"
    named = ", ".join(branches[:MOST_NAMED]) + (", ..." if len(branches) > MOST_NAMED else "")
    return f"the same step failed on {count} within {LATELY_DAYS} days: {named}"


def _counted(noun: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
