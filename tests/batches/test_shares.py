"""Intervals, and the decision between two prompts."""

from __future__ import annotations

import random

import pytest

from hls_handler.batches.closed import conclude, make_share

RUNS = 1000
PLANNED = 200


def test_share_is_shown_with_its_interval() -> None:
    assert str(make_share(164, 200)) == "82% (76% to 87%) of 200"
    assert str(make_share(0, 20)) == "0% (0% to 16%) of 20"
    assert str(make_share(0, 0)) == "none"


@pytest.mark.parametrize(
    ("fixed", "broken", "conclusion"),
    [
        (8, 0, "better"),  # 1 of 256
        (7, 0, "not decided"),
        (0, 8, "worse"),
        (20, 5, "better"),
        (19, 6, "not decided"),
        (0, 0, "not decided"),
    ],
)
def test_sign_test_decides(fixed: int, broken: int, conclusion: str) -> None:
    assert conclude(fixed, broken) == conclusion


@pytest.mark.parametrize(
    ("points", "wrong"), [(10, {"worse"}), (0, {"better", "worse"}), (-10, {"better"})]
)
def test_decisions_are_wrong_in_at_most_one_percent(points: int, wrong: set[str]) -> None:
    generator = random.Random(82)
    changed = 0.3
    weights = [(changed + points / 100) / 2, (changed - points / 100) / 2, 1 - changed]
    decisions = []
    for _ in range(RUNS):
        issues = generator.choices(("fixed", "broken", "same"), weights, k=PLANNED)
        decisions.append(conclude(issues.count("fixed"), issues.count("broken")))
    assert sum(decision in wrong for decision in decisions) <= RUNS / 100
    if points:
        right = {"better", "worse"} - wrong
        assert sum(decision in right for decision in decisions) >= 0.4 * RUNS
