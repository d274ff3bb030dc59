"""Enabled events that filters ignore: own actions, bots, drafts, irrelevant edits, and skip requests."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import FAILED, MARKER, Ignored, Rule, asked_to_skip
from hls_handler.routing.filters import (
    MAX_SEARCHED_CHARACTERS,
    addressed_to_bot,
    asks_how_to_start,
    strip_code_and_quotes,
)
from hls_handler.settings.model import Settings
from tests.routing.world import decide, find_prompt, ignored, routing_input, settings

WE = Account("hls-bot", 1, "User")
COMMENTS = {"name": "octo/hello", "events": ["issue_comment"]}


@pytest.mark.parametrize(
    "text",
    [
        "Hi! How can I start with this?",
        "Where should I start?",
        "This would be my first contribution to open source.",
        "I'd like to work on this.",
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
        "> How can I start?\n\nSee the guide.",
        "```\nhow can i start\n```\nprints this",
        "The output is `how can I start`.",
        "- see:\n\n  ```\n  how can I start\n  ```\n- done",
        "1. ```\n   how can I start\n   ```",
        "It prints:\n\n    how can I start",
        "Fine. <!-- how can I start -->",
    ],
)
def test_other_text_is_not_a_question_about_how_to_start(text: str) -> None:
    assert not asks_how_to_start(text)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("@hls-bot why does the build fail?", True),
        ("Could @HLS-Bot explain the label?", True),
        ("@hls-bot пожалуйста объясни", True),
        ("@hls-bot", False),
        ("Thanks @hls-bot!", False),
        ("@hls-bot thank you very much", False),
        ("Thanks @hls-bot, but why is it a bug?", True),
        ("@hls-bot-2 why does the build fail?", False),
        ("mail@hls-bot why does the build fail?", False),
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


def test_comment_of_the_author_is_routed_like_an_edit_of_the_issue() -> None:
    comment = routing_input("issue_comment.created", comment_author="mona", comment_body="It is version 3.")
    rule = decide(comment, settings(), bot=WE)
    assert isinstance(rule, Rule)
    assert (rule.event_key, rule.prompt, rule.is_author_comment) == ("issues.edited", "issues/analyze", True)
    assert rule.why(settings().sources) == (
        "hls.yaml:10 (repositories[0].events) enables issues.edited, as which a comment of the issue's author counts, "
        "and prompts/issues/analyze.j2 is for it"
    )


@pytest.mark.parametrize(
    ("entry", "known", "kind"),
    [
        ({}, {"comment_author": "ada"}, "event not enabled"),
        ({}, {"comment_author": None}, "event not enabled"),
        ({}, {"is_pull_request": True}, "event not enabled"),
        ({"events": ["issues.opened", "pull_request"]}, {}, "event not enabled"),
        ({"events": ["issues", "issue_comment"]}, {"comment_author": "ada"}, "nothing asked"),
        ({}, {"labels": ("skip-hls",)}, "event not enabled"),
        ({}, {"comment_body": "Please add\n<!-- hls:issues -->", "comment_author": "hls-bot", "author": "hls-bot"},
         "event not enabled"),
    ],
    ids=["of somebody else", "of a deleted account", "on a pull request", "edits are not enabled",
         "of somebody else with comments enabled", "to be skipped", "by HLS"],
)  # fmt: skip
def test_other_comments_stay_ignored(entry: dict[str, Any], known: dict[str, Any], kind: str) -> None:
    comment = {"comment_author": "mona", "comment_body": "It is version 3.", **known}
    result = decide(
        routing_input("issue_comment.created", **comment), settings({"name": "octo/hello", **entry}), bot=WE
    )
    assert isinstance(result, Ignored)
    assert result.kind == kind


def test_any_mention_is_processed_while_the_bot_account_is_unknown() -> None:
    mention = routing_input("issue_comment.created", comment_body="@ada why is that?")
    assert find_prompt(mention, settings(COMMENTS), bot=None)
    assert ignored(mention, settings(COMMENTS), bot=WE)[0] == "nothing asked"
    vote = routing_input("issue_comment.created", comment_body="+1")
    assert ignored(vote, settings(COMMENTS), bot=None)[1].endswith("nor asks HLS's account anything")


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


OWNER = Account("hubot", 1, "User")  # a personal token's account
APP = Account("hls[bot]", 2, "Bot")

EVERYTHING = {"name": "octo/hello", "events": ["issues", "pull_request", "issue_comment", "status"]}


@pytest.mark.parametrize("changed", [{"title"}, {"body"}, {"title", "body"}, {"body", "a"}])
def test_edit_of_title_or_body_is_processed(changed: set[str]) -> None:
    assert find_prompt(routing_input("issues.edited", changed=frozenset(changed))) == "issues/analyze"


def test_pull_request_with_another_base_branch_is_processed() -> None:
    edited = routing_input("pull_request.edited", changed=frozenset({"base"}))
    assert find_prompt(edited) == "pull_requests/analyze"


@pytest.mark.parametrize(
    ("key", "changed", "what", "file"),
    [
        ("pull_request.edited", {"b", "a"}, "a, b", "prompts/pull_requests/analyze.j2"),
        ("issues.edited", set(), "nothing", "prompts/issues/analyze.j2"),
    ],
    ids=["others", "nothing"],
)
def test_other_edits_are_ignored(key: str, changed: set[str], what: str, file: str) -> None:
    reason = f"{key} changed {what}; {file} runs again only when the title, the body or the base branch changes"
    assert ignored(routing_input(key, changed=frozenset(changed))) == ("nothing relevant changed", reason)


def test_rule_17_actions_of_the_bot_account_are_ignored() -> None:
    by = settings(EVERYTHING, features={"bots": True})
    reason = "hls[bot] is the account of HLS, whose token is set at hls.yaml:4 (github.token); its own actions are "
    reason += "ignored, because otherwise HLS would answer itself"
    assert ignored(routing_input(sender="HLS[bot]", sender_is_bot=True), by, bot=APP) == ("own account", reason)


@pytest.mark.parametrize(
    "known",
    [
        {"sender": "hls[bot]", "sender_is_bot": True, "author": "mona"},
        {"sender": "mona", "author": "hls[bot]", "author_is_bot": True},
    ],
    ids=["sent", "opened"],
)
def test_rule_17_issues_of_the_bot_account_are_ignored(known: dict[str, Any]) -> None:
    assert ignored(routing_input(**known), settings(features={"bots": True}), bot=APP)[0] == "own account"


def test_rule_17_issues_and_pull_requests_by_the_owner_of_the_token_are_processed() -> None:
    """The owner of a personal token usually opens the first test issue."""
    assert find_prompt(routing_input(sender="hubot", author="hubot"), bot=OWNER) == "issues/analyze"
    assert (
        find_prompt(routing_input("pull_request.opened", sender="hubot", author="hubot"), bot=OWNER)
        == "pull_requests/analyze"
    )
    edited = routing_input("issues.edited", sender="hubot", author="mona", changed=frozenset({"body"}))
    assert find_prompt(edited, bot=OWNER) == "issues/analyze"


def test_rule_17_label_events_of_the_bot_account_are_ignored() -> None:
    assert ignored(routing_input("issues.labeled", sender="Hubot"), bot=OWNER)[0] == "own account"
    assert ignored(routing_input("pull_request.unlabeled", sender="hubot"), bot=OWNER)[0] == "own account"
    assert find_prompt(routing_input("issues.labeled", sender="mona"), bot=OWNER) == "issues/triage"


COMMENT = {"sender": "hubot", "comment_author": "hubot"}


@pytest.mark.parametrize(
    ("known", "bot", "kind"),
    [
        ({**COMMENT, "comment_body": f"Hi {MARKER}issues -->"}, OWNER, "own account"),
        ({**COMMENT, "comment_body": f"Hi {MARKER}issues -->", "sender": "mona"}, OWNER, "own account"),
        ({**COMMENT, "comment_body": "Hi"}, OWNER, None),
        ({"comment_author": "mallory", "comment_body": f"Hi {MARKER}issues -->"}, OWNER, None),
        ({"comment_author": "hls[bot]", "comment_body": "Hi"}, APP, "own account"),
        ({"comment_author": "mallory", "comment_body": f"Hi {MARKER}issues -->"}, APP, None),
    ],
)
def test_rule_17_own_comment_is_recognized_by_author_and_marker(
    known: dict[str, Any], bot: Account, kind: str | None
) -> None:
    asks = {**known, "comment_body": f"How can I start? {known['comment_body']}"}
    result = decide(routing_input("issue_comment.created", **asks), settings(EVERYTHING), bot=bot)
    assert getattr(result, "kind", None) == kind


def test_rule_17_no_action_is_attributed_to_an_unknown_bot_account() -> None:
    """The worker decides later."""
    assert find_prompt(routing_input("issues.labeled", sender="hubot"), bot=None) == "issues/triage"
    assert find_prompt(
        routing_input(sender="hls[bot]", sender_is_bot=True), settings(features={"bots": True}), bot=None
    )


BY_RENOVATE: dict[str, Any] = {"author": "renovate[bot]", "author_is_bot": True}


@pytest.mark.parametrize("sender", [{}, {"sender": "renovate[bot]", "sender_is_bot": True}], ids=["person", "bot"])
def test_rule_17_what_other_bots_open_is_ignored_unless_settings_include_them(sender: dict[str, Any]) -> None:
    by, opened = settings(features={"bots": False}, lines={"features.bots": 30}), routing_input(**BY_RENOVATE, **sender)
    change = 'set features.bots to ["renovate[bot]"] at hls.yaml:30, or add it to that list'
    reason = f"renovate[bot] is a bot; {change}, to process what it opens"
    assert ignored(opened, by, bot=OWNER) == ("other bot", reason)
    assert find_prompt(opened, settings(features={"bots": True})) == "issues/analyze"
    assert find_prompt(opened, settings({"name": "octo/hello", "features": {"bots": True}})) == "issues/analyze"


@pytest.mark.parametrize(
    ("key", "sender"),
    [
        ("pull_request.synchronize", "pre-commit-ci[bot]"),
        ("pull_request.synchronize", "mergify[bot]"),
        ("pull_request.ready_for_review", "github-actions[bot]"),
        ("issues.labeled", "labeler[bot]"),
    ],
)
def test_rule_17_what_a_bot_does_to_the_work_of_a_person_is_an_event_of_that_person(key: str, sender: str) -> None:
    assert find_prompt(routing_input(key, sender=sender, sender_is_bot=True), bot=OWNER)


@pytest.mark.parametrize(
    ("key", "known", "kind"),
    [
        ("issue_comment.created", {"comment_author": "coder[bot]", "comment_author_is_bot": True}, "other bot"),
        ("issue_comment.created", {"comment_author": "mona", **BY_RENOVATE}, "other bot"),
        ("issue_comment.created", {"comment_author": "mona", "sender_is_bot": True}, None),
        ("status", {"author": None, "sender": "ci[bot]", "sender_is_bot": True}, "other bot"),
    ],
    ids=["comment of a bot", "comment on an issue of a bot", "comment edited by a bot", "nobody else"],
)
def test_rule_17_authors_of_a_conversation_and_of_a_comment_must_both_be_included(
    key: str, known: dict[str, Any], kind: str | None
) -> None:
    asked = routing_input(key, comment_body="How can I start?", **known)
    assert getattr(decide(asked, settings(EVERYTHING), bot=OWNER), "kind", None) == kind


AGENTS = ["copilot*", "claude[bot]", "devin-ai-?ntegration"]


@pytest.mark.parametrize(
    ("login", "is_included"),
    [
        ("Copilot", True),
        ("copilot-swe-agent[bot]", True),
        ("claude[bot]", True),
        ("Devin-AI-integration[bot]", True),
        ("claudeb", False),
        ("claude-code[bot]", False),
        ("dependabot[bot]", False),
        ("not-copilot[bot]", False),
    ],
)
def test_list_of_logins_includes_bots_by_glob(login: str, is_included: bool) -> None:
    opened = routing_input("pull_request.opened", author=login, author_is_bot=True)
    assert isinstance(decide(opened, settings(features={"bots": AGENTS})), Rule) == is_included


DRAFT = routing_input("pull_request.synchronize", draft=True)


@pytest.mark.parametrize(
    ("by", "change"),
    [
        (settings(), "add features.drafts to hls.yaml and set it to true"),
        (
            settings(
                {"name": "octo/hello", "features": {"drafts": False}},
                features={"drafts": True},
                lines={"repositories[0].features.drafts": 13},
            ),
            "set repositories[0].features.drafts to true at hls.yaml:13",
        ),
    ],
    ids=["by default", "by the repository's entry"],
)
def test_a_draft_is_ignored(by: Settings, change: str) -> None:
    assert ignored(DRAFT, by) == (
        "draft",
        f"the pull request is a draft; mark it ready for review, or {change}",
    )


def test_a_draft_is_processed_if_enabled_or_once_it_is_ready() -> None:
    assert find_prompt(DRAFT, settings(features={"drafts": True})) == "pull_requests/analyze"
    assert find_prompt(routing_input("pull_request.ready_for_review", draft=False)) == "pull_requests/analyze"


@pytest.mark.parametrize(
    ("title", "labels", "reason"),
    [
        (
            "Crash",
            ("bug", "Skip-HLS"),
            (
                "the label skip-hls asks HLS to skip this conversation; remove the label, then edit the title or text, "
                "or close and reopen it, to have it processed"
            ),
        ),
        (
            "Crash [SKIP hls]",
            (),
            "[skip hls] in the title asks HLS to skip this conversation; remove it to have it processed",
        ),
    ],
    ids=["label", "title"],
)
def test_label_or_title_can_skip_a_conversation(title: str, labels: tuple[str, ...], reason: str) -> None:
    assert ignored(routing_input(title=title, labels=labels)) == ("asked to skip", reason)
    assert asked_to_skip(title, labels) == reason


@pytest.mark.parametrize("title", ["skip hls", "[skip  hls]", "[skip ci]", ""])
def test_similar_titles_and_labels_do_not_skip(title: str) -> None:
    assert asked_to_skip(title, ("skip", "hls", "skip-hls-not")) is None


def when(value: str) -> Settings:
    return settings(review={"when": value}, lines={"review.when": 40})


@pytest.mark.parametrize(
    ("value", "reviewed"),
    [
        ("push", {"opened", "reopened", "ready_for_review", "synchronize", "edited", "closed"}),
        ("opened", {"opened", "reopened", "ready_for_review", "closed"}),
        ("request", {"closed"}),
        ("label:needs review", {"closed"}),
    ],
)
def test_review_when_chooses_the_events_that_are_reviewed_unasked(value: str, reviewed: set[str]) -> None:
    actions = ("opened", "reopened", "ready_for_review", "synchronize", "edited", "closed")
    events = [routing_input(f"pull_request.{action}", changed=frozenset({"base"})) for action in actions]
    assert {event.action for event in events if isinstance(decide(event, when(value)), Rule)} == reviewed
    requested = routing_input("pull_request.synchronize", is_requested=True)
    assert find_prompt(requested, when(value)) == "pull_requests/analyze"
    assert find_prompt(routing_input("issues.opened"), when(value)) == "issues/analyze"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("request", "nobody has asked for a review of this commit"),
        ("opened", "pull requests are reviewed when they are opened, and this event is a later one"),
        ("label:ai", "the pull request does not have the label ai"),
    ],
)
def test_reason_says_how_to_ask_for_a_review(value: str, why: str) -> None:
    assert ignored(routing_input("pull_request.synchronize"), when(value)) == (
        "not requested",
        f"{why}; comment /review to have it reviewed (hls.yaml:40 (review.when))",
    )


def test_label_asks_for_a_review_and_for_those_of_later_pushes() -> None:
    by = when("label:AI")
    labeled = routing_input("pull_request.labeled", label="ai", labels=("ai",), draft=True)
    rule = decide(labeled, by, bot=OWNER)
    assert isinstance(rule, Rule)
    assert (rule.prompt, rule.event_key) == ("pull_requests/analyze", "pull_request.synchronize")
    assert find_prompt(routing_input("pull_request.synchronize", labels=("ai",)), by)
    opened_only = settings({"name": "octo/hello", "events": ["pull_request.opened"]}, review={"when": "label:AI"})
    assert find_prompt(labeled, opened_only, bot=OWNER)


def test_rule_17_label_that_hls_sets_asks_for_nothing() -> None:
    labeled = routing_input("pull_request.labeled", label="ai", labels=("ai",), sender="hubot")
    assert ignored(labeled, when("label:ai"), bot=OWNER)[0] == "own account"
