"""Classification of failures."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hls_handler.ci.failure_classification import Attempt, FailureClassification, classify_failure


@dataclass(frozen=True)
class FailedStep:
    """A step that recently failed on another branch."""

    branch: str
    job: str = "test"
    step: str = "Run npm test"


def attempts(*conclusions: str | None, job: str = "test") -> list[Attempt]:
    return [Attempt(number, job, conclusion) for number, conclusion in enumerate(conclusions, start=1)]


def classify(*others: FailedStep, of: list[Attempt]) -> FailureClassification:
    return classify_failure("test", "Run npm test", attempts=of, failures=others, default_branch="main")


@pytest.mark.parametrize(
    ("conclusions", "expected"),
    [
        (("success", "failure"), FailureClassification("flaky", "attempt 1 at the same commit passed this job")),
        (
            ("failure", "success", "success"),
            FailureClassification("flaky", "attempts 2 and 3 at the same commit passed this job"),
        ),
        (
            ("failure", "failure"),
            FailureClassification("fails every time", "attempts 1 and 2 at the same commit failed this job"),
        ),
        (
            ("failure", "timed_out", None),
            FailureClassification("fails every time", "attempts 1 and 2 at the same commit failed this job"),
        ),
        (("failure",), FailureClassification("unknown", "")),
        (("skipped", "failure"), FailureClassification("unknown", "")),
        ((None, "failure"), FailureClassification("unknown", "")),
        ((), FailureClassification("unknown", "")),
    ],
)
def test_attempts_at_the_same_commit_classify_the_failure(
    conclusions: tuple[str | None, ...], expected: FailureClassification
) -> None:
    assert classify(of=attempts(*conclusions)) == expected


def test_attempts_of_other_jobs_are_ignored() -> None:
    assert classify(of=attempts("success", "success", job="lint")).verdict == "unknown"


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (
            (FailedStep("fix/b"), FailedStep("main"), FailedStep("fix/a"), FailedStep("fix/a")),
            FailureClassification(
                "fails elsewhere", "the same step failed on 3 other branches within 7 days: main, fix/a, fix/b"
            ),
        ),
        (
            (FailedStep("main"),),
            FailureClassification("fails elsewhere", "the same step failed on 1 other branch within 7 days: main"),
        ),
        (
            (FailedStep("fix/a"),),
            FailureClassification("unknown", "the same step failed on 1 other branch within 7 days: fix/a"),
        ),
        ((FailedStep("main", job="lint"), FailedStep("main", step="Build")), FailureClassification("unknown", "")),
    ],
    ids=["three", "the default branch", "one branch", "other steps"],
)
def test_failures_on_other_branches_classify_the_failure(
    others: tuple[FailedStep, ...], expected: FailureClassification
) -> None:
    assert classify(*others, of=attempts("failure")) == expected


def test_success_at_the_same_commit_outweighs_other_branches() -> None:
    assert classify(FailedStep("main"), of=attempts("success", "failure")).verdict == "flaky"
    assert classify(FailedStep("main"), of=attempts("failure", "failure")).verdict == "fails elsewhere"


def test_at_most_five_branches_are_named() -> None:
    others = [FailedStep(f"b{i}") for i in range(9)]
    assert classify(*others, of=[]).evidence.endswith("9 other branches within 7 days: b0, b1, b2, b3, b4, ...")
