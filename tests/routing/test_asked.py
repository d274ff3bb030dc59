"""What a comment asks of us, told by its words alone."""

from __future__ import annotations

import pytest

from hls_handler.events import Account
from hls_handler.routing import FAILED
from hls_handler.routing.asked import LONGEST_READ, asks_account, asks_how_to_start, own_words
from tests.routing.world import candidate, decide, no, settings, yes

WE = Account("hls-bot", 1, "User")
COMMENTS = {"name": "octo/hello", "events": ["issue_comment"]}


@pytest.mark.parametrize(
    "text",
    [
        "Hi! How can I start with this?",
        "how do i   get started\nhere",
        "Where should I start?",
        "This would be my first contribution to open source.",
        "I'd like to work on this.",
        "I\u2019d love to contribute",
        "Can I take this up?",
        "Please assign me",
        "Wie kann ich mithelfen?",
        "¿Cómo puedo contribuir?",
        "Comment puis-je commencer ?",
        "Como posso ajudar?",
        "Как мне начать?",
        "我如何参与这个项目？",
        "> @ada said no\n\nHow could we help?",
    ],
)
def test_newcomers_who_ask_for_a_way_in_are_heard(text: str) -> None:
    assert asks_how_to_start(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+1",
        "I can reproduce this on 3.12.",
        "> How can I start?\n\nSee the guide.",
        "```\nhow can i start\n```\nprints this",
        "The output is `how can I start`.",
        "~~~\nhow can I start",
        "- see:\n\n  ```\n  how can I start\n  ```\n- done",
        "1. ```\n   how can I start\n   ```",
        "It prints:\n\n    how can I start",
        "Fine. <!-- how can I start -->",
        "Fine. <!-- how can I start",
    ],
    ids=[
        "nothing",
        "a vote",
        "a report",
        "a quote",
        "a code block",
        "code",
        "an open code block",
        "a block in a list",
        "a block that is a list item",
        "indented code",
        "an HTML comment",
        "an open HTML comment",
    ],
)
def test_who_asks_for_nothing_is_not_taken_for_a_newcomer(text: str) -> None:
    assert not asks_how_to_start(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("@hls-bot why does the build fail?", True),
        ("Could @HLS-Bot explain the label?", True),
        ("@hls-bot, explain the label please", True),
        ("@hls-bot ?", True),
        ("@hls-bot пожалуйста объясни", True),
        ("@hls-bot", False),
        ("@hls-bot hi", False),
        ("Thanks @hls-bot!", False),
        ("@hls-bot thank you very much", False),
        ("Thanks @hls-bot, but why is it a bug?", True),
        ("@hls-bot-2 why does the build fail?", False),
        ("mail@hls-bot why does the build fail?", False),
        ("see github.com/@hls-bot for what it does", False),
        ("> @hls-bot why does the build fail?\n\nIt does not.", False),
        ("`@hls-bot why does the build fail?`", False),
        ("why does the build fail?", False),
    ],
)
def test_a_mention_counts_where_something_is_asked_with_it(text: str, asked: bool) -> None:
    assert asks_account(text, "hls-bot") is asked


def test_only_the_beginning_of_a_long_comment_is_looked_at() -> None:
    assert len(own_words("x" * 1_000_000)) == LONGEST_READ
    assert not asks_how_to_start("x " * LONGEST_READ + "how can I start?")


def test_a_comment_that_asks_nothing_costs_nothing() -> None:
    by = settings(COMMENTS)
    reason = "the comment neither asks how to start nor asks @hls-bot anything"
    assert no(candidate("issue_comment.created", comment_body="+1"), by, we=WE) == ("nothing asked", reason)
    assert yes(candidate("issue_comment.created", comment_body="How can I start?"), by, we=WE) == "comments/answer"
    assert yes(candidate("issue_comment.created", comment_body="@hls-bot why is that?"), by, we=WE)


def test_while_we_are_unknown_the_worker_decides_who_is_mentioned() -> None:
    by = settings(COMMENTS)
    assert yes(candidate("issue_comment.created", comment_body="@ada why is that?"), by, we=None)
    assert no(candidate("issue_comment.created", comment_body="@ada why is that?"), by, we=WE)[0] == "nothing asked"
    assert no(candidate("issue_comment.created", comment_body="+1"), by, we=None) == (
        "nothing asked",
        "the comment neither asks how to start nor asks HLS's account anything",
    )


RUNS = {"name": "octo/hello", "events": ["workflow_run"]}
TELLING = {"workflow_run.completed": ("workflows/analyze",)}


@pytest.mark.parametrize("conclusion", ["failure", "timed_out", "startup_failure", "success"])
def test_runs_that_failed_or_passed_are_worked_on(conclusion: str) -> None:
    rule = decide(candidate("workflow_run.completed", conclusion=conclusion), settings(RUNS), prompts=TELLING)
    assert getattr(rule, "prompt", None) == "workflows/analyze"


@pytest.mark.parametrize(
    ("conclusion", "ended"),
    [("cancelled", "ended with cancelled"), ("skipped", "ended with skipped"), (None, "has not ended")],
)
def test_runs_that_ended_otherwise_are_not(conclusion: str | None, ended: str) -> None:
    verdict = decide(candidate("workflow_run.completed", conclusion=conclusion), settings(RUNS), prompts=TELLING)
    assert (getattr(verdict, "kind", None), getattr(verdict, "reason", None)) == (
        "nothing failed",
        f"the workflow {ended}; prompts/workflows/analyze.j2 is for those that fail: {', '.join(FAILED)}",
    )
