"""Classification of failures."""

from __future__ import annotations

import pytest

from hls_handler.handlers.failed_steps import Attempt, FailureHistory
from hls_handler.handlers.reader import Failure


def elsewhere(branch: str, job: str = "test", step: str = "Run npm test") -> Failure:
    """A step that recently failed on another branch."""
    return Failure(5, 70, 1, job, step, branch, "0123456789")


def attempts(*conclusions: str | None, job: str = "test") -> list[Attempt]:
    return [Attempt(number, job, conclusion) for number, conclusion in enumerate(conclusions, start=1)]


def classify(*others: Failure, of: list[Attempt]) -> tuple[str, str]:
    return FailureHistory(tuple(of), others, "main").classify("test", "Run npm test")


@pytest.mark.parametrize(
    ("conclusions", "expected"),
    [
        (("success", "failure"), ("flaky", "attempt 1 at the same commit passed this job")),
        (
            ("failure", "timed_out", None),
            ("fails every time", "attempts 1 and 2 at the same commit failed this job"),
        ),
        (("failure",), ("unknown", "")),
        ((None, "failure"), ("unknown", "")),
    ],
)
def test_attempts_at_the_same_commit_classify_the_failure(
    conclusions: tuple[str | None, ...], expected: tuple[str, str]
) -> None:
    assert classify(of=attempts(*conclusions)) == expected


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (
            (elsewhere("fix/b"), elsewhere("main"), elsewhere("fix/a"), elsewhere("fix/a")),
            ("fails elsewhere", "the same step failed on 3 other branches within 7 days: main, fix/a, fix/b"),
        ),
        (
            (elsewhere("main"),),
            ("fails elsewhere", "the same step failed on 1 other branch within 7 days: main"),
        ),
        (
            (elsewhere("fix/a"),),
            ("unknown", "the same step failed on 1 other branch within 7 days: fix/a"),
        ),
        ((elsewhere("main", job="lint"), elsewhere("main", step="Build")), ("unknown", "")),
    ],
    ids=["three", "the default branch", "one branch", "other steps"],
)
def test_failures_on_other_branches_classify_the_failure(
    others: tuple[Failure, ...], expected: tuple[str, str]
) -> None:
    assert classify(*others, of=attempts("failure")) == expected


def test_success_at_the_same_commit_outweighs_other_branches() -> None:
    assert classify(elsewhere("main"), of=attempts("success", "failure"))[0] == "flaky"
    assert classify(elsewhere("main"), of=attempts("failure", "failure"))[0] == "fails elsewhere"


def test_at_most_five_branches_are_named() -> None:
    others = [elsewhere(f"b{i}") for i in range(9)]
    assert classify(*others, of=[])[1].endswith("9 other branches within 7 days: b0, b1, b2, b3, b4, ...")
