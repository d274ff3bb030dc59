"""Handler for issues: facts, labels and the comment."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import Action, EnsureComment, EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.issues import IssueFacts, IssueHandler
from hls_handler.handlers.labels import SHIPPED_LABELS
from hls_handler.handlers.reader import EMPTY_HISTORY, Correction, EmptyHistory
from tests.handlers.world import FakeReader, analysis, event, issue, issue_analysis, issue_response

HANDLER = IssueHandler()
FACTS = IssueFacts(issue())
GROUPS = ("kind", "priority", "difficulty", "component")


def plan(given: Analysis) -> tuple[Action, ...]:
    return HANDLER.plan(event(issue()), FACTS, given)


def test_the_current_issue_is_read() -> None:
    now = issue(title="Crash at start")
    facts = HANDLER.gather(event(issue(title="Crash")), FakeReader(now), EMPTY_HISTORY, PromptLimits(1_000))
    assert facts == IssueFacts(now)
    assert HANDLER.variables(facts) == {"issue": now, "corrections": (), "repository_labels": ()}
    assert HANDLER.skip_reason(facts) is None


def test_the_newest_label_corrections_are_shown() -> None:
    class Corrected(EmptyHistory):
        def corrections(self, *, most: int) -> tuple[Correction, ...]:
            return (Correction("priority", "priority-high", "priority-low", "Typo"),) * most

    facts = HANDLER.gather(event(issue()), FakeReader(issue()), Corrected(), PromptLimits(1_000))
    assert HANDLER.variables(facts)["corrections"] == (
        (Correction("priority", "priority-high", "priority-low", "Typo"),) * 6
    )


def test_an_analysis_becomes_labels_and_a_comment() -> None:
    assert plan(analysis(issue_analysis(), comment="Looks like a bug.")) == (
        EnsureLabels(
            (
                RequestedLabel("bug", "kind"),
                RequestedLabel("priority-high", "priority"),
                RequestedLabel("difficulty-easy", "difficulty"),
                RequestedLabel("component-backend", "component"),
            ),
            GROUPS,
            prompt_ids=dict.fromkeys(GROUPS, "p@1"),
        ),
        EnsureComment("issues", "Looks like a bug.", create=True),
    )


def test_component_none_gives_no_label_but_its_group_is_covered() -> None:
    labels = plan(analysis(issue_analysis(component="none")))[0]
    assert isinstance(labels, EnsureLabels)
    assert [label.name for label in labels.requested] == ["bug", "priority-high", "difficulty-easy"]
    assert labels.groups == GROUPS


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "enhancement", "priority": "medium", "difficulty": "moderate", "component": "frontend"},
        {"kind": "question", "priority": "low", "difficulty": "complex", "component": "database"},
        {"kind": "documentation"},
        {"kind": "maintenance"},
    ],
)
def test_every_label_is_in_the_catalogue(fields: dict[str, Any]) -> None:
    labels = plan(analysis(issue_analysis(**fields)))[0]
    assert isinstance(labels, EnsureLabels)
    assert {(label.name, label.group) for label in labels.requested} <= {
        (spec.name, spec.group) for spec in SHIPPED_LABELS
    }


def test_an_answer_to_a_question_adds_no_labels_and_decides_about_the_comment() -> None:
    actions = plan(
        analysis(issue_analysis(kind="question", worth_saying=True), issue_response(worth_saying=False), comment="42")
    )
    assert [type(action) for action in actions] == [EnsureLabels, EnsureComment]
    assert actions[0] == EnsureLabels(
        (
            RequestedLabel("question", "kind"),
            RequestedLabel("priority-high", "priority"),
            RequestedLabel("difficulty-easy", "difficulty"),
            RequestedLabel("component-backend", "component"),
        ),
        GROUPS,
        prompt_ids=dict.fromkeys(GROUPS, "p@1"),
    )
    assert actions[1] == EnsureComment("issues", "42", create=False)


def test_labels_come_from_every_analysis_of_a_chain() -> None:
    labels = plan(analysis(issue_analysis(component="none"), issue_analysis(component="database")))[0]
    assert isinstance(labels, EnsureLabels)
    assert [label.name for label in labels.requested] == [
        *("bug", "priority-high", "difficulty-easy"),
        *("bug", "priority-high", "difficulty-easy", "component-database"),
    ]


def test_an_existing_comment_is_edited_if_the_analysis_is_not_worth_saying() -> None:
    assert plan(analysis(issue_analysis(worth_saying=False)))[1] == EnsureComment("issues", "Hello.", create=False)


@pytest.mark.parametrize("comment", [None, ""], ids=["no template", "an empty template"])
def test_no_comment_without_a_text(comment: str | None) -> None:
    assert [type(action) for action in plan(analysis(issue_analysis(), comment=comment))] == [EnsureLabels]


def test_an_answer_alone_does_not_change_labels() -> None:
    assert plan(analysis(issue_response(), comment="42")) == (EnsureComment("issues", "42", create=True),)
