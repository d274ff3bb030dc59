"""Labels of replies against those that people left."""

from __future__ import annotations

import pytest

from hls_handler.analysis import IssueAnalysis, ReplyFields
from hls_handler.batches.closed import (
    LabelGuess,
    find_groups,
    find_own_label,
    find_suggested_groups,
    list_answers,
)
from hls_handler.batches.first_text import PastIssue, Truth
from hls_handler.github.values import RepositoryLabel
from tests.handlers.world import issue_analysis

LABELS = [RepositoryLabel(name, "") for name in ("type: bug", "enhancement", "area/cart")]
GROUPS = find_groups(IssueAnalysis, LABELS)
SURE = {"kind": 0.9, "priority": 0.9, "difficulty": 0.9, "component": 0.9}
BUG = issue_analysis(kind="bug", field_confidence=SURE)


def past(
    *labels: str,
    first: tuple[str, ...] = (),
    rejected: tuple[str, ...] = (),
    undecided: tuple[str, ...] = (),
) -> PastIssue:
    return PastIssue(first, Truth(labels, rejected, undecided))


@pytest.mark.parametrize(
    ("wanted", "names", "own"),
    [
        ("bug", ["Bug"], "Bug"),
        ("bug", ["type: bug", "debugging"], "type: bug"),
        ("bug", ["bug", "type: bug"], "bug"),
        ("bug", ["type: bug", "kind/bug"], None),
        ("priority-high", ["Priority: High"], "Priority: High"),
        ("question", ["bug"], None),
    ],
)
def test_label_of_the_repository_has_the_words_of_the_prompts_label(
    wanted: str, names: list[str], own: str | None
) -> None:
    assert find_own_label(wanted, names) == own


@pytest.mark.parametrize(
    ("issue", "answers"),
    [
        (past("type: bug"), {"kind": LabelGuess("type: bug", "type: bug")}),
        (past("Type: Bug"), {"kind": LabelGuess("type: bug", "type: bug")}),
        (past("enhancement"), {"kind": LabelGuess("type: bug", "enhancement")}),
        # a person took the label away and set no other
        (past(rejected=("type: bug",)), {"kind": LabelGuess("type: bug", None)}),
        # nobody decided, or the truth is not one label
        (past(), {}),
        (past("area/cart"), {}),
        (past("type: bug", "enhancement"), {}),
        (past("enhancement", undecided=("type: bug",)), {}),
        # the prompt showed it
        (past("type: bug", first=("type: bug",)), {}),
    ],
)
def test_only_labels_that_people_decided_later_are_compared(
    issue: PastIssue, answers: dict[str, LabelGuess]
) -> None:
    assert list_answers(GROUPS, issue, BUG) == answers


def test_each_suggested_label_is_compared_on_issues_with_a_label() -> None:
    groups = find_suggested_groups([RepositoryLabel("area/cart", "")])
    suggestion = [{"name": "Area/Cart", "confidence": 0.8}]
    reply: ReplyFields = issue_analysis(suggested_labels=suggestion)
    name = "suggested_labels area/cart"
    assert list_answers(groups, past("area/cart"), reply) == {
        name: LabelGuess("area/cart", "area/cart")
    }
    assert list_answers(groups, past("enhancement"), reply) == {name: LabelGuess("area/cart", None)}
    assert list_answers(groups, past(), reply) == {}


def test_suggestion_below_the_confidence_of_the_settings_is_no_label() -> None:
    groups = find_suggested_groups([RepositoryLabel("area/cart", "")])
    reply = issue_analysis(suggested_labels=[{"name": "area/cart", "confidence": 0.6}])
    (answer,) = list_answers(groups, past("area/cart"), reply, 0.7).values()
    assert answer == LabelGuess(None, "area/cart")
