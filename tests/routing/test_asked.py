"""Recognition of questions in comments, and routing of comments and workflow runs."""

from __future__ import annotations

import pytest

from hls_handler.events import Account
from hls_handler.routing import FAILED
from hls_handler.routing.asked import (
    MAX_SEARCHED_CHARACTERS,
    addressed_to_bot,
    asks_how_to_start,
    strip_code_and_quotes,
)
from tests.routing.world import decide, find_prompt, ignored, routing_input, settings

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
def test_question_about_how_to_start_is_recognized(text: str) -> None:
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
def test_other_text_is_not_a_question_about_how_to_start(text: str) -> None:
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
def test_mention_with_a_request_is_addressed_to_the_bot(text: str, asked: bool) -> None:
    assert addressed_to_bot(text, "hls-bot") is asked


def test_only_the_beginning_of_a_long_comment_is_searched() -> None:
    assert len(strip_code_and_quotes("x" * 1_000_000)) == MAX_SEARCHED_CHARACTERS
    assert not asks_how_to_start("x " * MAX_SEARCHED_CHARACTERS + "how can I start?")


def test_comment_without_a_question_is_ignored() -> None:
    by = settings(COMMENTS)
    reason = "the comment neither asks how to start nor asks @hls-bot anything"
    assert ignored(routing_input("issue_comment.created", comment_body="+1"), by, bot=WE) == ("nothing asked", reason)
    assert (
        find_prompt(routing_input("issue_comment.created", comment_body="How can I start?"), by, bot=WE)
        == "comments/answer"
    )
    assert find_prompt(routing_input("issue_comment.created", comment_body="@hls-bot why is that?"), by, bot=WE)


def test_any_mention_is_processed_while_the_bot_account_is_unknown() -> None:
    by = settings(COMMENTS)
    assert find_prompt(routing_input("issue_comment.created", comment_body="@ada why is that?"), by, bot=None)
    assert (
        ignored(routing_input("issue_comment.created", comment_body="@ada why is that?"), by, bot=WE)[0]
        == "nothing asked"
    )
    assert ignored(routing_input("issue_comment.created", comment_body="+1"), by, bot=None) == (
        "nothing asked",
        "the comment neither asks how to start nor asks HLS's account anything",
    )


RUNS = {"name": "octo/hello", "events": ["workflow_run"]}
RUN_PROMPTS = {"workflow_run.completed": ("workflows/analyze",)}


@pytest.mark.parametrize("conclusion", ["failure", "timed_out", "startup_failure", "success"])
def test_runs_that_failed_or_passed_are_processed(conclusion: str) -> None:
    rule = decide(routing_input("workflow_run.completed", conclusion=conclusion), settings(RUNS), prompts=RUN_PROMPTS)
    assert getattr(rule, "prompt", None) == "workflows/analyze"


@pytest.mark.parametrize(
    ("conclusion", "ended"),
    [("cancelled", "ended with cancelled"), ("skipped", "ended with skipped"), (None, "has not ended")],
)
def test_runs_with_another_conclusion_are_ignored(conclusion: str | None, ended: str) -> None:
    result = decide(routing_input("workflow_run.completed", conclusion=conclusion), settings(RUNS), prompts=RUN_PROMPTS)
    assert (getattr(result, "kind", None), getattr(result, "reason", None)) == (
        "nothing failed",
        f"the workflow run {ended}; prompts/workflows/analyze.j2 handles runs that failed: {', '.join(FAILED)}",
    )
