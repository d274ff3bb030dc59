"""Handler for issues: facts, labels and the comment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment, EnsureIssueType, RequestedLabel
from hls_handler.events import Account, Comment
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers import issues
from hls_handler.handlers.issues import (
    InformationRequest,
    IssueFacts,
    IssueHandler,
    update_requests,
)
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.labels import LabelOffer
from hls_handler.handlers.reader import Correction, EmptyHistory
from hls_handler.routing import MARKER
from hls_handler.settings.model import EffectiveLabels
from tests.handlers.world import (
    MONA,
    ZOE,
    RecordedJob,
    analysis,
    comment_of,
    event,
    fake_reader,
    issue,
    issue_analysis,
    issue_response,
    labels_of,
)

HANDLER = IssueHandler()
FACTS = IssueFacts(issue())
BUDGET = PromptLimits(1_000)


def test_closed_issue_has_a_comment_of_its_own_and_needs_no_information() -> None:
    closed = replace(event(issue(state="closed")), action="closed")
    actions = issues.plan(closed, FACTS, analysis(issue_analysis(missing=["The version"])))
    assert "status" not in [label.group for label in labels_of(actions).requested]
    assert comment_of(actions) == EnsureComment("issues-closed-7", "Hello.", create=True)


ORGANIZATION, PERSON = (
    {"repository": {"owner": {"type": kind, "id": 7}}} for kind in ("Organization", "User")
)


@pytest.mark.parametrize(
    ("kind", "settings", "payload", "expected"),
    [
        ("bug", {"issue_type": True}, ORGANIZATION, ["Bug"]),
        ("enhancement", {"issue_type": True}, ORGANIZATION, ["Feature"]),
        ("documentation", {"issue_type": True}, ORGANIZATION, ["Task"]),
        ("maintenance", {"issue_type": True, "min_field_confidence": 0.8}, ORGANIZATION, ["Task"]),
        ("question", {"issue_type": True}, ORGANIZATION, []),
        ("bug", {"issue_type": True, "min_field_confidence": 0.81}, ORGANIZATION, []),
        ("bug", {"issue_type": True}, PERSON, []),
        ("bug", {}, ORGANIZATION, []),
    ],
)
def test_type_of_an_issue_follows_from_its_kind(
    kind: str, settings: dict[str, object], payload: dict[str, object], expected: list[str]
) -> None:
    facts = replace(FACTS, labels=EffectiveLabels.model_validate(settings))
    confidence = {"kind": 0.8, "priority": 1, "difficulty": 1, "component": 1}
    reply = issue_analysis(kind=kind, field_confidence=confidence)
    given = replace(event(issue()), payload=payload)
    for answered in (analysis(reply), analysis(issue_response(), reply)):
        types = [
            one.name
            for one in issues.plan(given, facts, answered)
            if isinstance(one, EnsureIssueType)
        ]
        assert types == expected


def test_the_newest_label_corrections_are_shown() -> None:
    correction = Correction("priority", "priority-high", "priority-low", "Typo")
    history = EmptyHistory(corrected=(correction,) * 9)
    facts = issues.gather(
        Source(event(issue()), fake_reader(issue()), history, PromptLimits(1_000))
    )
    assert HANDLER.variables(facts)["corrections"] == (correction,) * 6


OPEN = '[{"text":"The version","answered":false},{"text":"The log","answered":true}]'
REQUESTS = (
    InformationRequest("The version", answered=False),
    InformationRequest("The log", answered=True),
)


def test_comments_of_the_author_are_read_if_something_was_asked_for() -> None:
    ours = f"Please add the version.\n{MARKER}issues -->"
    comments = (by(MONA, "Version 3."), by(ZOE, "Me too.", number=2), by(MONA, ours, number=3))
    facts = issues.gather(
        Source(
            event(issue()),
            fake_reader(issue(), comments=comments),
            EmptyHistory(states={"issues": OPEN}),
            BUDGET,
        )
    )
    assert (facts.requests, [comment.body for comment in facts.author_comments]) == (
        REQUESTS,
        ["Version 3."],
    )


def by(author: Account, body: str, number: int = 1) -> Comment:
    return Comment(number, author, body, "NONE", "", None)


@pytest.mark.parametrize(
    ("missing", "checklist"),
    [
        (["the  version."], ["[ ] The version", "[x] The log"]),
        (["The platform"], ["[x] The version", "[x] The log", "[ ] The platform"]),
        ([], ["[x] The version", "[x] The log"]),
    ],
    ids=["one is missing", "something else is missing", "nothing is missing"],
)
def test_request_is_answered_if_the_reply_does_not_repeat_it(
    missing: list[str], checklist: list[str]
) -> None:
    assert [
        f"[{'x' if r.answered else ' '}] {r.text}" for r in update_requests(REQUESTS, missing)
    ] == checklist


@pytest.mark.parametrize(
    ("known", "worth_saying", "status"),
    [((), True, ["status/needs-info"]), ((), False, []), (REQUESTS, False, ["status/needs-info"])],
    ids=["asked for", "not posted", "still missing"],
)
def test_label_needs_info_is_set_while_the_checklist_is_open(
    known: tuple[InformationRequest, ...], worth_saying: bool, status: list[str]
) -> None:
    reply = issue_analysis(worth_saying=worth_saying, missing=["The version"])
    labels = labels_of(
        issues.plan(event(issue()), IssueFacts(issue(), requests=known), analysis(reply))
    )
    assert [label.name for label in labels.requested if label.group == "status"] == status
    # so that the label is removed when nothing is missing any more
    assert "status" in labels.groups


def test_an_answer_to_a_question_adds_no_labels_and_decides_about_the_comment() -> None:
    replies = issue_analysis(kind="question", worth_saying=True), issue_response(worth_saying=False)
    actions = issues.plan(event(issue()), FACTS, analysis(*replies, comment="42"))
    assert [label.name for label in labels_of(actions).requested][:2] == [
        "question",
        "priority-high",
    ]
    assert comment_of(actions) == EnsureComment("issues", "42", create=False)


def test_summary_is_posted_on_every_issue_if_settings_ask_for_it() -> None:
    facts = replace(FACTS, summary="always")
    reply = issue_analysis(worth_saying=False, missing=["The version"])
    actions = issues.plan(event(issue()), facts, analysis(reply))
    assert comment_of(actions).create is True
    needs_info = RequestedLabel("status/needs-info", "status")
    assert needs_info in labels_of(actions).requested  # because the comment shows what is missing
    closed = replace(event(issue(state="closed")), action="closed")
    assert comment_of(issues.plan(closed, facts, analysis(reply))).create is False


def test_comment_names_only_labels_that_settings_allow() -> None:
    labels = EffectiveLabels(
        allow=("bug", "*-low", "component-*"), repository_allow=("bug", "component-*")
    )
    offer = LabelOffer((RepositoryLabel("area/cart", ""), RepositoryLabel("bug-tracker", "")), 0.7)
    suggested = [
        {"name": "area/cart", "confidence": 0.9},
        {"name": "bug-tracker", "confidence": 0.2},
    ]
    reply = issue_analysis(
        kind="bug", priority="low", component="backend", suggested_labels=suggested
    )
    facts = replace(FACTS, labels=labels, offer=offer)
    assert issues.list_comment_variables(facts, reply)["labels"] == ("bug", "component-backend")
    allowed = replace(facts, labels=EffectiveLabels())
    assert issues.list_comment_variables(allowed, reply)["labels"] == (
        *("bug", "priority-low", "difficulty-easy", "component-backend", "area/cart"),
    )


def test_labels_that_the_prompt_does_not_list_are_noted() -> None:
    offer = LabelOffer((RepositoryLabel("area/cart", ""),), 0.7, missing=30)
    job = RecordedJob(event(issue()), replace(FACTS, offer=offer), (issue_analysis(),))
    HANDLER.run(job)
    assert job.done[0] == "30 of 31 labels of the repository"


def test_priority_and_difficulty_of_issues_can_be_switched_off() -> None:
    facts = replace(FACTS, labels=EffectiveLabels(assess=("pull_requests",)))
    reply = issue_analysis(kind="bug", priority="high", component="backend")
    labels = labels_of(issues.plan(event(issue()), facts, analysis(reply)))
    assert [label.name for label in labels.requested] == ["bug", "component-backend"]
    assert labels.groups == ("status", "kind", "component")  # a label that was set before stays
    assert issues.list_comment_variables(facts, reply)["labels"] == ("bug", "component-backend")
