from __future__ import annotations

import random
from collections import Counter

import pytest

from hls_handler.backtest.decision import Decision, Ending, decide, power
from hls_handler.backtest.intervals import Share
from tests.backtest.simulated import BOTH, BROKEN, FIXED, NEITHER, Prompts, count_wrong


def test_a_decision_counts_what_the_candidate_fixed_and_broke() -> None:
    issues = [*[BOTH] * 50, *[FIXED] * 5, *[BROKEN] * 4, *[NEITHER] * 41]

    assert decide(issues, planned=100) == Decision(
        planned=100,
        current=Share(54, 100),
        candidate=Share(55, 100),
        fixed=5,
        broken=4,
        ending=None,
    )


@pytest.mark.parametrize(
    ("fixed", "broken", "conclusion"),
    [
        (7, 0, "inconclusive"),  # 0.5 ** 7 is above 0.6%
        (8, 0, "promote"),
        (40, 19, "promote"),
        (39, 20, "inconclusive"),
        (0, 8, "inconclusive"),  # 0.5 ** 8 is above 0.2%
        (0, 9, "reject"),
        (50, 50, "inconclusive"),
        (0, 0, "inconclusive"),
    ],
)
def test_the_planned_size_decides_by_a_sign_test(fixed: int, broken: int, conclusion: str) -> None:
    issues = [*[FIXED, BROKEN] * min(fixed, broken)]
    issues += [FIXED] * (fixed - broken)
    issues += [BROKEN] * (broken - fixed)
    issues = [*[BOTH] * (100 - len(issues)), *issues]

    assert decide(issues, planned=100).conclusion == conclusion


def test_before_the_planned_size_only_the_test_for_looking_again_decides() -> None:
    assert decide([FIXED] * 9, planned=400).conclusion == "inconclusive"
    assert decide([FIXED] * 9, planned=400).missing == 391
    assert decide([FIXED] * 30, planned=400).ending == Ending("promote", "looking again", 20)


def test_issues_after_the_planned_size_need_the_test_for_looking_again() -> None:
    issues = [BROKEN, *[FIXED] * 10]

    assert decide(issues, planned=11).ending == Ending("promote", "planned size", 11)
    assert decide(issues, planned=10).conclusion == "inconclusive"


@pytest.mark.full
def test_issues_that_are_added_after_a_decision_do_not_change_it() -> None:
    generator = random.Random(67)
    for _ in range(50):
        issues = Prompts(current=0.7, difference=0.05, changed=0.3).answer(generator, 1000)
        looks = [decide(issues[:number], planned=400) for number in range(50, 1001, 50)]
        endings = [look.ending for look in looks if look.ending is not None]
        assert set(endings) <= {decide(issues, planned=400).ending}


@pytest.mark.full
@pytest.mark.parametrize("changed", [0.2, 0.3])
@pytest.mark.parametrize(("current", "difference"), [(0.8, -0.1), (0.7, 0.0)])
def test_at_most_one_percent_of_decisions_are_wrong(
    current: float, difference: float, changed: float
) -> None:
    decisions = Prompts(current, difference, changed).decide(planned=400, issues=400)

    assert count_wrong(decisions, difference) <= 10


@pytest.mark.full
@pytest.mark.parametrize("changed", [0.2, 0.25, 0.3, 0.35])
def test_ten_points_are_promoted_in_three_of_four_comparisons_of_400_issues(changed: float) -> None:
    decisions = Prompts(0.7, 0.1, changed).decide(planned=400, issues=400)
    counts = Counter(decision.conclusion for decision in decisions)

    assert counts["promote"] >= 750
    assert counts["reject"] <= 10


@pytest.mark.full
@pytest.mark.parametrize(("current", "difference"), [(0.8, -0.1), (0.7, 0.0), (0.7, 0.1)])
def test_at_most_one_percent_of_decisions_are_wrong_after_looking_again(
    current: float, difference: float
) -> None:
    decisions = Prompts(current, difference, changed=0.3).decide(planned=400, issues=1000)

    assert count_wrong(decisions, difference) <= 10


@pytest.mark.parametrize(
    ("planned", "difference", "changed", "expected"),
    [
        (200, 0.1, 0.3, 0.490),
        (400, 0.1, 0.3, 0.866),
        (400, 0.1, 0.2, 0.978),
        (400, 0.1, 0.38, 0.753),
        (400, 0.0, 0.3, 0.0047),
        (400, 0.1, 0.05, 1.0),  # with fewer changes than the difference, all of them fix
        (5, 0.1, 0.3, 0.0),
    ],
)
def test_power(planned: int, difference: float, changed: float, expected: float) -> None:
    assert power(planned, difference, changed) == pytest.approx(expected, abs=0.0005)


@pytest.mark.full
def test_the_stated_power_is_the_simulated_one() -> None:
    decisions = Prompts(0.7, 0.1, 0.3).decide(planned=200, issues=200)
    promoted = Counter(decision.conclusion for decision in decisions)["promote"]

    assert promoted / 1000 == pytest.approx(power(200, 0.1, 0.3), abs=0.05)
