"""Comparison of two results for the same deliveries: calls, replies, comments and labels."""

from __future__ import annotations

import pytest

from hls_handler.analysis import Usage
from hls_handler.engine.shadow import PromptResult
from hls_handler.trials.comparison import Comparison, LabelCount, Run, sum_calls

RESULT = PromptResult("issues/a@1", (), speaks=True)


def test_tokens_of_all_kinds_are_added_and_a_failed_call_costs_nothing() -> None:
    usages = [Usage("m", 1, 20, 300, 4000, cost_usd=0.5), Usage("m", 1, cost_usd=0.25)]
    assert sum_calls(usages) == {"calls": 2, "tokens": 4322, "cost_usd": 0.75}
    assert sum_calls([*usages, Usage("m")])["cost_usd"] == 0.75


def test_diff_marks_added_and_removed_lines() -> None:
    old, new = (
        Run(RESULT, 1, 1, 0.5, replies=f"kind: {kind}\nsame: 1", comment="Hi.")
        for kind in ("a", "b")
    )
    compared = Comparison("g1", "issues.opened", "octo/widgets#7", None, old, new)
    assert compared.reply_diff == (
        ("skipped", "@@ -1,2 +1,2 @@"),
        ("removed", "-kind: a"),
        ("added", "+kind: b"),
        ("same", " same: 1"),
    )
    assert compared.comment_diff == ()


@pytest.mark.parametrize(
    ("fixed", "broken", "compared", "sentence"),
    [
        (10, 4, 16, "10 fixed, 4 broken of 16: too few to tell"),
        (6, 0, 8, "6 fixed, 0 broken of 8: the new wording is better"),
        (1, 9, 20, "1 fixed, 9 broken of 20: the new wording is worse"),
        (0, 0, 3, "0 fixed, 0 broken of 3: no difference"),
    ],
)
def test_trial_says_whether_the_numbers_tell_anything(
    fixed: int, broken: int, compared: int, sentence: str
) -> None:
    assert LabelCount("", compared, 9, 9, fixed, broken).verdict == sentence
