"""Comparison of two results for the same deliveries: calls, replies, comments and labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import Usage
from hls_handler.trials.comparison import (
    Comparison,
    LabelCount,
    LabelSets,
    MarkedLabel,
    PromptResult,
    Report,
    Run,
    sum_calls,
)

RESULT = PromptResult("issues/a@1", (), frozenset())


def test_tokens_of_all_kinds_are_added_and_a_failed_call_costs_nothing() -> None:
    usages = [Usage("m", 1, 20, 300, 4000, cost_usd=0.5), Usage("m", 1, cost_usd=0.25)]
    assert sum_calls(usages) == {"calls": 2, "tokens": 4322, "cost_usd": 0.75}
    assert sum_calls([*usages, Usage("m")])["cost_usd"] == 0.75


def test_diff_marks_added_and_removed_lines() -> None:
    posted, new = (
        Run(RESULT, 1, 1, 0.5, replies=f"kind: {kind}\nsame: 1", comment="Hi.")
        for kind in ("a", "b")
    )
    compared = Comparison("g1", "issues.opened", "octo/widgets#7", None, posted, new)
    assert compared.reply_diff == (
        ("skipped", "@@ -1,2 +1,2 @@"),
        ("removed", "-kind: a"),
        ("added", "+kind: b"),
        ("same", " same: 1"),
    )
    assert compared.comment_diff == ()


@pytest.mark.parametrize(
    ("fixed", "broken", "compared", "summary", "chance"),
    [
        (10, 1, 16, "fixed 10, broke 1 of 16", "1.2%"),
        (10, 4, 16, "fixed 10, broke 4 of 16", "18.0%"),
        (0, 20, 20, "fixed 0, broke 20 of 20", "at most 0.1%"),
        (1, 1, 2, "fixed 1, broke 1 of 2", "100.0%"),
    ],
)
def test_counts_have_the_chance_that_equal_wordings_differ_as_much(
    fixed: int, broken: int, compared: int, summary: str, chance: str
) -> None:
    count = LabelCount("", compared, 9, fixed, broken)
    assert count.summary == summary
    assert (
        count.chance
        == f"the chance that equal wordings differ as much is {chance} (exact two-sided"
        f" sign test of the {fixed + broken} fixed or broken)"
    )


def test_nothing_is_tested_if_nothing_was_fixed_or_broken() -> None:
    count = LabelCount("", 3, 2, 0, 0)
    assert (count.new, count.chance) == (2, "no delivery was fixed or broken")


BUG = RequestedLabel("bug", "kind")
LOW = RequestedLabel("priority-low", "priority")
HIGH = RequestedLabel("priority-high", "priority")
REGRESSION = RequestedLabel("regression", "regression")


def compare(
    posted: set[RequestedLabel],
    new: set[RequestedLabel],
    left: set[RequestedLabel],
    *,
    added: tuple[str, ...] = (),
) -> Comparison:
    """A comparison of a wording with the fields kind and priority with one that has also `added`."""
    fields = frozenset({"kind", "priority"})
    result = replace(RESULT, label_fields=fields)
    before = replace(result, labels=tuple(posted))
    after = replace(result, labels=tuple(new), label_fields=fields.union(added))
    labels = LabelSets(before, after, frozenset(left))
    return Comparison("g1", "issues.opened", "octo/widgets#7", labels=labels)


def test_field_that_only_one_wording_has_is_listed_and_not_judged() -> None:
    same = compare({BUG, LOW}, {BUG, LOW, REGRESSION}, {BUG, LOW}, added=("regression",))
    unset = compare({BUG, LOW}, {BUG, LOW}, {BUG, LOW}, added=("regression",))
    report = Report((same, unset))
    total, *fields = report.label_counts
    assert total == LabelCount("", compared=2, posted=2, fixed=0, broken=0)
    assert [one.field for one in fields] == ["kind", "priority"]
    assert report.unjudged == ["regression: only the new wording has it, not judged; set on 1 of 2"]
    assert (same.change, unset.change) == ("same", "same")


@pytest.mark.parametrize(
    ("new", "left", "change"),
    [
        ({BUG, HIGH}, {BUG, HIGH}, "fixed"),
        ({BUG, HIGH}, {BUG, LOW}, "broken"),
        ({BUG, HIGH}, {BUG}, "still wrong"),
        ({BUG, LOW}, {BUG, HIGH}, "same"),
    ],
)
def test_delivery_is_judged_by_the_labels_that_people_left(
    new: set[RequestedLabel], left: set[RequestedLabel], change: str
) -> None:
    assert compare({BUG, LOW}, new, left).change == change


def test_labels_that_differ_are_shown_with_whether_people_left_them() -> None:
    compared = compare({BUG, LOW}, {BUG, HIGH, REGRESSION}, {BUG, HIGH}, added=("regression",))
    labels = compared.labels
    assert labels is not None
    assert labels.mark(labels.posted.labels) == [MarkedLabel("priority-low", False)]
    assert labels.mark(labels.new.labels) == [
        MarkedLabel("priority-high", True),
        MarkedLabel("regression", None),
    ]
