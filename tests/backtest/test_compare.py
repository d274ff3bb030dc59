"""Labels of replies against those that people left."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hls_handler.analysis import IssueAnalysis, ReplyFields
from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.compare import (
    compare_issue,
    find_groups,
    find_own_label,
    find_suggested_groups,
    list_answers,
)
from hls_handler.backtest.decision import ComparedIssue
from hls_handler.backtest.first_text import FirstIssue, PastIssue, Truth
from hls_handler.events import Account
from hls_handler.github.values import RepositoryLabel
from tests.handlers.world import issue_analysis

LABELS = [RepositoryLabel(name, "") for name in ("type: bug", "enhancement", "area/cart")]
GROUPS = find_groups([IssueAnalysis], LABELS, {})
SURE = {"kind": 0.9, "priority": 0.9, "difficulty": 0.9, "component": 0.9}
BUG = issue_analysis(kind="bug", field_confidence=SURE)


def past(
    *labels: str,
    first: tuple[str, ...] = (),
    rejected: tuple[str, ...] = (),
    undecided: tuple[str, ...] = (),
) -> PastIssue:
    opened = datetime(2026, 11, 2, tzinfo=UTC)
    issue = FirstIssue(7, Account("mona", 11, "User"), opened, "Title", "Body", first)
    return PastIssue(issue, Truth(labels, rejected, undecided))


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


def test_given_name_precedes_a_similar_one() -> None:
    (kind,) = find_groups([IssueAnalysis], LABELS, {"bug": "defect"})
    assert kind.labels == {"bug": "defect", "enhancement": "enhancement"}


@pytest.mark.parametrize(
    ("issue", "answers"),
    [
        (past("type: bug"), {"kind": Answer("type: bug", 0.9, "type: bug")}),
        (past("Type: Bug"), {"kind": Answer("type: bug", 0.9, "type: bug")}),
        (past("enhancement"), {"kind": Answer("type: bug", 0.9, "enhancement")}),
        # a person took the label away and set no other
        (past(rejected=("type: bug",)), {"kind": Answer("type: bug", 0.9, None)}),
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
    issue: PastIssue, answers: dict[str, Answer]
) -> None:
    assert list_answers(GROUPS, issue, [BUG]) == answers


def test_each_suggested_label_is_compared_on_issues_with_a_label() -> None:
    groups = find_suggested_groups([RepositoryLabel("area/cart", "")])
    suggestion = [{"name": "Area/Cart", "confidence": 0.8}]
    reply: ReplyFields = issue_analysis(suggested_labels=suggestion)
    name = "suggested_labels area/cart"
    assert list_answers(groups, past("area/cart"), [reply]) == {
        name: Answer("area/cart", 0.8, "area/cart")
    }
    assert list_answers(groups, past("enhancement"), [reply]) == {
        name: Answer("area/cart", 0.8, None)
    }
    assert list_answers(groups, past(), [reply]) == {}


def test_sides_are_compared_on_what_both_answered() -> None:
    right = {"kind": Answer("bug", 0.9, "bug"), "priority": Answer("low", 0.9, "low")}
    wrong = {"kind": Answer("question", 0.9, "bug")}
    assert compare_issue(right, wrong, {}) == ComparedIssue(True, False)
    assert compare_issue(right, wrong, {"kind": 0.95}) == ComparedIssue(False, False)
    assert compare_issue({"priority": right["priority"]}, wrong, {}) is None
