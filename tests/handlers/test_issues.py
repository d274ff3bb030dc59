"""Conversations about issues: labels, type, checklist and comment, and older issues."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.handlers.issues import without_prefix
from hls_handler.routing import MARKER
from hls_handler.store.repositories import text_of_issue
from hls_handler.store.texts import issue_scope
from tests.handlers.conftest import OpenHome
from tests.handlers.conversation import REPOSITORY, Home, person
from tests.handlers.world import issue_analysis

CONFIDENCE = {"kind": 0.8, "priority": 0.5, "difficulty": 1, "component": 1}


def test_checklist_follows_what_the_author_adds(opened: OpenHome) -> None:
    home = opened(prompts={"use": {"issues.closed": "issues/analyze"}})
    home.says(issue_analysis(missing=["The version", "The log"]))
    issue = home.open_issue()
    assert issue.shown() == (
        "status/needs-info bug priority-high difficulty-easy component-backend\n"
        "--\n"
        "**Please add**, in the text above or in a comment:\n"
        "- [ ] The version\n"
        "- [ ] The log"
    )
    assert issue.comment("Me too.", by="zoe").startswith("ignored: ")
    issue.comment(f"Of HLS, whose account is mona's.\n{MARKER}issues -->")
    home.says(issue_analysis(worth_saying=False, missing=["the  version.", "The platform"]))
    issue.comment("Here is the log.")
    assert "Comments of the author, the oldest first:\nHere is the log.\n\nThat" in home.question
    assert issue.shown() == (
        "status/needs-info bug priority-high difficulty-easy component-backend\n"
        "--\n"
        "**Please add**, in the text above or in a comment:\n"
        "- [ ] The version\n"
        "- [x] The log\n"
        "- [ ] The platform"
    )
    home.says(issue_analysis(missing=["The log"]))  # an answered item stays answered
    issue.act("edited", body="Version 3, on Linux.")
    assert issue.shown() == (
        "bug priority-high difficulty-easy component-backend\n"
        "--\n"
        "Everything that was asked for is here:\n"
        "- [x] The version\n"
        "- [x] The log\n"
        "- [x] The platform"
    )
    home.says(issue_analysis(missing=["The log"], recommended_response="Fixed in 3.1."))
    issue.act("closed", state="closed")
    labels, _, closing = issue.shown().split("\n--\n")
    assert labels == "bug priority-high difficulty-easy component-backend"
    assert closing.startswith("Fixed in 3.1.\n")  # a comment of its own


def test_rule_14_sure_labels_are_set_as_the_repository_spells_them_and_named_in_the_summary(
    opened: OpenHome,
) -> None:
    allowed = ["bug", "status/*", "area/*", "x*", "size/*", "skip-hls"]
    labels = {"suggest": True, "allow": allowed}
    home = opened(comments={"summary": "always"}, labels=labels)
    for name in ("area/Cart", "area/mail", "secret", "size/small", "skip-hls", "x" * 16_000):
        home.add_label(name)
    names = {"AREA/cart": 0.7, "area/mail": 0.69, f"x\n\x1b[31mforged{'y' * 100}": 1.0}
    suggested = [{"name": name, "confidence": sure} for name, sure in names.items()]
    suggested.append({"name": "area/cart", "confidence": 0.2})  # of another spelling, less sure
    reply = issue_analysis(
        worth_saying=False, missing=["The version"], field_confidence=CONFIDENCE,
        suggested_labels=suggested,
    )  # fmt: skip
    home.says(reply)
    issue = home.open_issue()
    assert issue.shown() == (
        "status/needs-info area/Cart bug\n"
        "--\n"
        "It crashes.\n"
        "Suggested labels: `bug`, `area/Cart`\n"
        "**Please add**, in the text above or in a comment:\n"
        "- [ ] The version"
    )
    shown = re.findall("^- (.*)", home.question, re.MULTILINE)
    assert shown == ["area/Cart", "area/mail"]
    assert "\n  Not shown to Claude: 1 of 3 labels of the repository.\n" in home.why
    assert (
        "\n  Labels: added status/needs-info, area/Cart, bug;"
        " area/mail not added: Claude's confidence is 0.69, and labels.min_confidence is 0.7;"
        f" x [31mforged{'y' * 38} not added: it is not among the labels that the prompt listed;"
        " priority-high not added: labels.allow in the settings does not allow it;"
        " difficulty-easy not added: labels.allow in the settings does not allow it;"
        " component-backend not added: labels.allow in the settings does not allow it ("
    ) in home.why
    issue.unlabel("bug")
    ended = issue.act("edited", body="Twice.")
    assert "; bug not added: a person removed it; " in ended


def test_without_a_comment_nothing_is_asked_for(home: Home) -> None:
    home.says(issue_analysis(worth_saying=False, missing=["The version"]))
    assert home.open_issue().shown() == "bug priority-high difficulty-easy component-backend"


def test_priority_and_difficulty_of_issues_can_be_switched_off(opened: OpenHome) -> None:
    home = opened(labels={"assess": ["pull_requests"]}, comments={"summary": "always"})
    home.says(issue_analysis())
    issue = home.open_issue()
    assert issue.shown() == (
        "bug component-backend\n--\nIt crashes.\nSuggested labels: `bug`, `component-backend`"
    )


@pytest.mark.parametrize(
    ("kind", "settings", "type_"),
    [
        ("bug", {}, " (Bug)"),
        ("enhancement", {}, " (Feature)"),
        ("documentation", {}, " (Task)"),
        ("question", {}, ""),
        ("bug", {"issue_type": False}, ""),
    ],
)
def test_type_of_an_issue_follows_from_its_kind(
    opened: OpenHome, kind: str, settings: dict[str, Any], type_: str
) -> None:
    home = opened(labels={"issue_type": True, "allow": ["none"], **settings})
    home.says(issue_analysis(kind=kind, field_confidence=CONFIDENCE))
    assert home.open_issue().shown().split("\n")[0] == type_


def test_issue_of_a_person_has_no_type(opened: OpenHome) -> None:
    home = opened(labels={"issue_type": True})
    home.owner = {"login": "octo", "id": 7, "type": "User"}
    home.says(issue_analysis())
    home.open_issue()
    assert "type" not in home.why


# Older issues


@pytest.mark.parametrize(
    ("title", "rest"),
    [
        ("[bug] - It crashes", "It crashes"),
        ("Invoice PDF: names are cut off", "Invoice PDF: names are cut off"),
        ("[Bug]: ", "[Bug]: "),
    ],
)
def test_tag_before_a_title_is_dropped(title: str, rest: str) -> None:
    assert without_prefix(title) == rest


SIMILAR = {"similar": {"enabled": True}}
LOST = "The cart is lost\nafter login."


def store_issue(home: Home, number: int, body: str = LOST, **known: Any) -> None:
    """Add an older issue, whose text is stored."""
    issue = {"title": f"Cart {number}", "body": body, "number": number, "user": person("zoe")}
    home.seed("issues", "opened", issue={**issue, **known})
    text = text_of_issue(home.client.reader(REPOSITORY).issue(number))
    home.world.store.texts.replace(issue_scope(1), (), [text])


def open_similar(home: Home, number: int = 40, **reply: Any) -> str:
    home.says(issue_analysis(worth_saying=False, **reply))
    issue = home.open_issue(
        number, title="[Bug]: Cart is empty", body="The cart is lost after login,\nand it is empty."
    )
    return issue.shown()


def test_the_first_three_open_ones_of_five_similar_issues_are_shown(opened: OpenHome) -> None:
    home = opened(**SIMILAR)
    for number in (31, 32, 33, 34, 35):
        store_issue(home, number, state="closed" if number == 31 else "open")
    for number in (1, 2, 3):
        store_issue(home, number, "A typo in the guide.", title="Typo")
    present = {key: one for key, one in home.state.world.threads.items() if one.number != 32}
    home.state.change(lambda world: replace(world, threads=present))
    open_similar(home)
    assert home.question.endswith(
        "Older open issues that share words with this one:\n\n"
        "Issue 33: Cart 33\nThe cart is lost\nafter login.\n\n"
        "Issue 34: Cart 34\nThe cart is lost\nafter login.\n\n"
        "Issue 35: Cart 35\nThe cart is lost\nafter login.\n\n"
        "That is all there is. Sort this issue."
    )


def test_closed_issues_are_forgotten_after_five_were_read(opened: OpenHome) -> None:
    home = opened(**SIMILAR)
    for number in (21, 22, 23, 24, 25, 26):
        store_issue(home, number, state="open" if number == 26 else "closed")
    for number in (1, 2, 3):
        store_issue(home, number, "A typo in the guide.", title="Typo")
    open_similar(home)
    assert "Older open issues" not in home.question
    open_similar(home, 41)
    assert "Issue 26: Cart 26\n" in home.question


def test_older_issues_are_not_searched_by_default(home: Home) -> None:
    store_issue(home, 31)
    open_similar(home)
    assert "Issue 31" not in home.question


QUOTES = {"number": 31, "quote": "and it is empty", "quote_there": "The cart is lost after login."}


def test_comment_that_names_the_same_issue_asks_for_nothing(opened: OpenHome) -> None:
    home = opened(**SIMILAR)
    home.says(issue_analysis(worth_saying=False))
    older = home.open_issue(31, title="Cart 31", body=LOST)
    assert open_similar(home, missing=["The version"], same_as=QUOTES) == (
        "bug priority-high difficulty-easy component-backend\n"
        "--\n"
        "This may be about the same as"
        " [#31](https://redirect.github.com/octo/hello/issues/31): Cart 31\n"
        "> `The cart is lost after login.`"
    )
    assert older.shown() == "bug priority-high difficulty-easy component-backend"


@pytest.mark.parametrize(
    "changes",
    [{"quote": "it is full"}, {"quote_there": "and it is empty"}, {"quote": ""}, {"number": 32}],
    ids=["invented quote", "quote of the other issue", "no quote", "issue that was not shown"],
)
def test_issue_is_not_named_without_proof(opened: OpenHome, changes: dict[str, object]) -> None:
    home = opened(**SIMILAR)
    store_issue(home, 31)
    shown = open_similar(home, same_as={**QUOTES, **changes})
    assert shown == "bug priority-high difficulty-easy component-backend"


def test_six_of_the_newest_label_corrections_are_shown(home: Home) -> None:
    home.says(issue_analysis())
    for number in range(1, 9):
        issue = home.open_issue(number, title=f"Crash {number}")
        issue.unlabel("priority-high")
        label = {"name": "priority-high"}
        home.send("issues", "unlabeled", issue=issue.document, label=label)
    home.open_issue(9)
    assert re.findall(r"Crash (\d)", home.question) == ["8", "7", "6", "5", "4", "3"]
