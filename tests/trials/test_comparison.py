"""Comparison of two results for the same deliveries: replies, labels, findings, comments and cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment
from hls_handler.analysis import Usage
from hls_handler.engine.shadow import PromptResult
from hls_handler.trials.comparison import (
    Comparison,
    LabelCount,
    Run,
    sum_calls,
)
from tests.handlers.world import finding

RUN = Run(PromptResult("issues/a@1", (), speaks=True), calls=1, tokens=100, cost_usd=0.25)


def compare(new: Run, old: Run) -> Comparison:
    return Comparison("g1", "issues.opened", "octo/widgets#7", None, old, new)


def test_tokens_of_all_kinds_are_added_and_one_unknown_price_makes_the_cost_unknown() -> None:
    usages = [Usage("m", 1, 20, 300, 4000, cost_usd=0.5), Usage("m", 1, cost_usd=0.25)]
    assert sum_calls(usages) == {"calls": 2, "tokens": 4322, "cost_usd": 0.75}
    assert sum_calls([*usages, Usage("m")])["cost_usd"] is None


def test_findings_are_the_same_by_file_category_and_quoted_line() -> None:
    first, moved = finding(line=1, quote="x = 1"), finding(line=9, quote="x  = 1", title="Another title")
    lost, won = finding(quote="y = 1"), finding(path="b.py", quote="x = 1")
    result = compare(replace(RUN, findings=(moved, won)), replace(RUN, findings=(first, lost)))
    assert result.findings == ((won, "added"), (lost, "removed"), (moved, "same"))
    twice = compare(replace(RUN, findings=(first, moved)), replace(RUN, findings=(first,)))
    assert twice.findings == ((moved, "added"), (first, "same"))
    assert compare(replace(RUN, findings=()), RUN).findings is None


def test_only_the_section_that_would_be_replaced_is_compared() -> None:
    whole = EnsureComment("issues", "New.", create=False)
    section = replace(whole, family="reviews", section="reviewer-2", footer="Footer.")
    body = (
        "<!-- hls:section reviewer-1 0123456789abcdef -->\nOne.\n\n<!-- hls:section reviewer-2 0123456789abcdef -->\n"
        "Two.\n\n<!-- hls:sections end -->\nFooter.\n<!-- hls:reviews -->"
    )

    def comments(old: str | None, *actions: EnsureComment) -> tuple[str | None, str | None]:
        return compare(replace(RUN, actions=actions), replace(RUN, comment=old)).comments

    assert comments(body, section) == ("Two.", "New.")
    assert comments("Old.\n<!-- hls:issues -->", whole) == ("Old.", "New.")
    assert comments("Old.\n<!-- hls:issues -->") == ("Old.", None)
    assert comments(None, whole) == (None, None)


@pytest.mark.parametrize(
    ("fixed", "broken", "compared", "sentence"),
    [
        (10, 4, 16, "10 fixed, 4 broken of 16: too few to tell"),
        (6, 0, 8, "6 fixed, 0 broken of 8: the new wording is better"),
        (1, 9, 20, "1 fixed, 9 broken of 20: the new wording is worse"),
        (0, 0, 3, "0 fixed, 0 broken of 3: no difference"),
    ],
)
def test_trial_says_whether_the_numbers_tell_anything(fixed: int, broken: int, compared: int, sentence: str) -> None:
    assert LabelCount("", compared, 9, 9, fixed, broken).verdict == sentence
