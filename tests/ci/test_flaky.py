"""Whether a failure is news."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hls_handler.ci.flaky import Attempt, News, judge


@dataclass(frozen=True)
class Failed:
    """A step that failed on another branch lately."""

    branch: str
    job: str = "test"
    step: str = "Run npm test"


def attempts(*conclusions: str | None, job: str = "test") -> list[Attempt]:
    return [Attempt(number, job, conclusion) for number, conclusion in enumerate(conclusions, start=1)]


def news(*others: Failed, of: list[Attempt]) -> News:
    return judge("test", "Run npm test", attempts=of, failures=others, default_branch="main")


@pytest.mark.parametrize(
    ("conclusions", "expected"),
    [
        (("success", "failure"), News("flaky", "attempt 1 at the same commit passed this job")),
        (("failure", "success", "success"), News("flaky", "attempts 2 and 3 at the same commit passed this job")),
        (("failure", "failure"), News("fails every time", "attempts 1 and 2 at the same commit failed this job")),
        (
            ("failure", "timed_out", None),
            News("fails every time", "attempts 1 and 2 at the same commit failed this job"),
        ),
        (("failure",), News("unknown", "")),
        (("skipped", "failure"), News("unknown", "")),
        ((None, "failure"), News("unknown", "")),
        ((), News("unknown", "")),
    ],
)
def test_other_attempts_at_the_same_commit_tell(conclusions: tuple[str | None, ...], expected: News) -> None:
    assert news(of=attempts(*conclusions)) == expected


def test_other_jobs_attempts_tell_nothing() -> None:
    assert news(of=attempts("success", "success", job="lint")).verdict == "unknown"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (
            (Failed("fix/b"), Failed("main"), Failed("fix/a"), Failed("fix/a")),
            News("fails elsewhere", "the same step failed on 3 other branches within 7 days: main, fix/a, fix/b"),
        ),
        ((Failed("main"),), News("fails elsewhere", "the same step failed on 1 other branch within 7 days: main")),
        ((Failed("fix/a"),), News("unknown", "the same step failed on 1 other branch within 7 days: fix/a")),
        ((Failed("main", job="lint"), Failed("main", step="Build")), News("unknown", "")),
    ],
    ids=["three", "the default branch", "one branch", "other steps"],
)
def test_other_branches_tell(others: tuple[Failed, ...], expected: News) -> None:
    assert news(*others, of=attempts("failure")) == expected


def test_a_pass_at_the_same_commit_tells_more_than_other_branches() -> None:
    assert news(Failed("main"), of=attempts("success", "failure")).verdict == "flaky"
    assert news(Failed("main"), of=attempts("failure", "failure")).verdict == "fails elsewhere"


def test_of_many_branches_a_few_are_named() -> None:
    others = [Failed(f"b{i}") for i in range(9)]
    assert news(*others, of=[]).evidence.endswith("9 other branches within 7 days: b0, b1, b2, b3, b4, ...")
