"""What GitHub says about the merge of a pull request."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.github.reader import WireMergeState
from hls_handler.github.values import MergeState
from tests.contracts.github import violations
from tests.github.review_world import NUMBER, ReviewWorld
from tests.github.test_review_queries import reader


def state_of(*checks: dict[str, Any], required: list[str] | None = None, **pull: Any) -> MergeState:
    contexts = {"totalCount": len(checks), "nodes": list(checks)}
    shown = {
        "mergeable": "MERGEABLE",
        "mergeStateStatus": "BLOCKED",
        "reviewDecision": None,
        "baseRef": {
            "refUpdateRule": None if required is None else {"requiredStatusCheckContexts": required}
        },
        "commits": {
            "nodes": [{"commit": {"statusCheckRollup": {"contexts": contexts} if checks else None}}]
        },
    }
    return WireMergeState.model_validate({"repository": {"pullRequest": shown | pull}}).value()


def test_required_checks_without_success_are_missing() -> None:
    def run(name: str, conclusion: str | None, *, required: bool = True) -> dict[str, Any]:
        return {"name": name, "conclusion": conclusion, "isRequired": required}

    status = {"name": "lint", "state": "PENDING", "isRequired": True}
    checks = (
        run("build", "FAILURE"),
        run("test", None),
        run("docs", "SKIPPED"),
        run("fuzz", "FAILURE", required=False),
    )
    found = state_of(*checks, status, required=["deploy", "docs"])
    assert (found.missing_checks, found.is_blocked) == (("build", "deploy", "lint", "test"), False)


@pytest.mark.parametrize(
    ("pull", "expected"),
    [
        (
            {"mergeable": "CONFLICTING", "mergeStateStatus": "DIRTY"},
            MergeState(True, (), "", False, False),
        ),
        (
            {"mergeable": "UNKNOWN", "mergeStateStatus": "UNKNOWN"},
            MergeState(None, (), "", False, False),
        ),
        ({"mergeStateStatus": "UNKNOWN"}, MergeState(None, (), "", False, False)),
        (
            {"mergeStateStatus": "DIRTY"},
            MergeState(None, (), "", False, False),
        ),  # contradicts "MERGEABLE"
        ({"mergeStateStatus": "DRAFT"}, MergeState(False, (), "", False, False)),
        (
            {"mergeable": "CONFLICTING", "mergeStateStatus": "UNKNOWN"},
            MergeState(True, (), "", False, False),
        ),
        (
            {"mergeable": "UNKNOWN", "mergeStateStatus": "CLEAN"},
            MergeState(None, (), "", False, False),
        ),
        ({"mergeStateStatus": "BEHIND", "baseRef": None}, MergeState(False, (), "", True, False)),
        (
            {"reviewDecision": "REVIEW_REQUIRED"},
            MergeState(False, (), "review_required", False, False),
        ),
        ({"reviewDecision": "APPROVED"}, MergeState(False, (), "approved", False, True)),
    ],
)
def test_state_is_that_of_github(pull: dict[str, Any], expected: MergeState) -> None:
    assert state_of(**pull) == expected


def test_one_request_reads_the_state(world: ReviewWorld) -> None:
    assert reader(world).merge_state(NUMBER) == MergeState(False, (), "", False, False)
    assert world.calls() == ["POST /graphql"]
    assert violations(one.document() for one in world.seen()) == []
