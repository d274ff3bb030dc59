"""Similar issues: which older ones are read and shown, and when a reply may name one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Issue
from hls_handler.handlers import issues
from hls_handler.handlers.issues import IssueFacts, IssueHandler
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.reader import EmptyHistory, HistoryUpdate, StoredIssue
from hls_handler.handlers.similar import SameIssueView, SimilarIssue, find_same, without_prefix
from tests.engine.fakes import FakeReader
from tests.handlers.world import (
    analysis,
    comment_of,
    event,
    fake_reader,
    issue,
    issue_analysis,
    labels_of,
)

HANDLER = IssueHandler()
NEW = issue(number=40, title="[Bug]: Cart is empty", body="I sign in,\nand the cart is empty.")
OPENED = replace(event(NEW), is_recent=True)
LIMITS = PromptLimits(1_000, similar=True)


@dataclass(frozen=True, slots=True)
class History(EmptyHistory):
    """A history in which the issues with these numbers are similar to each one."""

    numbers: tuple[int, ...] = ()

    def similar_issues(
        self, number: int, title: str, body: str, labels: Collection[str]
    ) -> tuple[StoredIssue, ...]:
        assert (number, title, body) == (40, "Cart is empty", NEW.body)
        return tuple(StoredIssue(one, 0.5) for one in self.numbers)


def reader_of(*issues: Issue) -> FakeReader:
    reader = fake_reader(NEW)
    reader.github.issues |= {one.number: one for one in issues}
    return reader


def older(number: int, **known: Any) -> Issue:
    return issue(number=number, title=f"Cart {number}", body="Empty after login.", **known)


@pytest.mark.parametrize(
    ("title", "rest"),
    [
        ("[Bug]: It crashes", "It crashes"),
        ("[bug] - It crashes", "It crashes"),
        ("Invoice PDF: names are cut off", "Invoice PDF: names are cut off"),
        ("[Bug]: ", "[Bug]: "),
    ],
)
def test_tag_before_a_title_is_dropped(title: str, rest: str) -> None:
    assert without_prefix(title) == rest


def test_first_three_open_issues_of_five_are_shown_and_the_closed_ones_forgotten() -> None:
    reader = reader_of(*map(older, (31, 33, 34, 35)), older(32, state="closed"))
    facts = issues.gather(Source(OPENED, reader, History(numbers=(32, 31, 33, 34, 35)), LIMITS))
    assert facts.similar is not None
    assert [one.number for one in facts.similar] == [31, 33, 34]
    assert facts.similar[0] == SimilarIssue(
        31, "Cart 31", "Empty after login.", "https://github.com/o/r/issues/31"
    )
    assert issues.list_texts(facts) == HistoryUpdate(issue=NEW, closed_issues=(32,))
    assert reader.github.calls == ["issue 32", "issue 31", "issue 33", "issue 34"]


def test_at_most_five_issues_are_read() -> None:
    reader = reader_of(*(older(number, state="closed") for number in range(1, 10)))
    facts = issues.gather(Source(OPENED, reader, History(numbers=tuple(range(1, 10))), LIMITS))
    assert (facts.similar, facts.closed_issues) == ((), (1, 2, 3, 4, 5))


GONE = Permanent("GET /repos/o/r/issues/31: 301, the issue was transferred")
UNREADABLE = DependencyDown(
    "bad JSON", dependency="github", remedy="wait", applies_to_all_calls=False
)


@pytest.mark.parametrize(
    ("error", "gone"), [(GONE, (31,)), (UNREADABLE, ())], ids=["transferred", "unreadable"]
)
def test_issue_that_cannot_be_read_is_left_out(
    error: Permanent | DependencyDown, gone: tuple[int, ...]
) -> None:
    reader = reader_of(older(31), older(33))
    reader.github.failing = [error]
    facts = issues.gather(Source(OPENED, reader, History(numbers=(31, 33)), LIMITS))
    assert facts.similar is not None
    assert [one.number for one in facts.similar] == [33]
    assert facts.closed_issues == gone


def test_nothing_is_read_or_stored_unless_similar_issues_are_wanted() -> None:
    reader = reader_of(older(31))
    facts = issues.gather(Source(OPENED, reader, History(numbers=(31,)), PromptLimits(1_000)))
    assert (facts.similar, reader.github.calls) == (None, [])
    assert issues.list_texts(facts) == HistoryUpdate()


def test_closed_issue_is_not_stored() -> None:
    facts = IssueFacts(replace(NEW, state="closed"), similar=())
    assert issues.list_texts(facts).issue is None


OTHER = SimilarIssue(
    31, "Cart lost", "The cart is lost\nafter login.", "https://github.com/o/r/issues/31"
)
FACTS = IssueFacts(NEW, similar=(OTHER,))
QUOTE, QUOTE_THERE = "and the cart is empty", "The cart is lost after login."


def same(number: int = 31, quote: str = QUOTE, quote_there: str = QUOTE_THERE) -> dict[str, object]:
    return {"number": number, "quote": quote, "quote_there": quote_there}


def test_issue_is_named_if_both_contain_their_quotes() -> None:
    reply = issue_analysis(worth_saying=False, same_as=same())
    view = SameIssueView(31, "Cart lost", "https://github.com/o/r/issues/31", QUOTE_THERE)
    assert issues.list_comment_variables(FACTS, reply)["same"] == view
    assert comment_of(issues.plan(OPENED, FACTS, analysis(reply))).create


def test_comment_that_only_names_the_same_issue_asks_for_nothing() -> None:
    reply = issue_analysis(worth_saying=False, same_as=same(), missing=["The version"])
    assert issues.list_comment_variables(FACTS, reply)["checklist"] == ()
    actions = issues.plan(OPENED, FACTS, analysis(reply))
    assert "status/needs-info" not in [one.name for one in labels_of(actions).requested]
    assert comment_of(actions).state is None


@pytest.mark.parametrize(
    "changes",
    [
        {"quote": "the cart is full"},
        {"quote_there": "and the cart is empty"},
        {"quote": ""},
        {"number": 32},
    ],
    ids=["invented quote", "quote of the other issue", "no quote", "issue that was not shown"],
)
def test_issue_is_not_named_without_proof(changes: dict[str, object]) -> None:
    reply = issue_analysis(worth_saying=False, same_as={**same(), **changes})
    assert find_same(reply, NEW, (OTHER,)) is None
    assert not comment_of(issues.plan(OPENED, FACTS, analysis(reply))).create
