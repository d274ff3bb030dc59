"""Enabled events that are left alone all the same: our own doing, bots, drafts, edits, and people who said no."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import MARKER, asked_to_skip
from hls_handler.settings.model import Settings
from tests.routing.world import candidate, decide, no, settings, yes

OWNER = Account("hubot", 1, "User")  # a personal token's account
APP = Account("hls[bot]", 2, "Bot")

EVERYTHING = {"name": "octo/hello", "events": ["issues", "pull_request", "issue_comment", "status"]}


@pytest.mark.parametrize("changed", [{"title"}, {"body"}, {"title", "body"}, {"body", "base"}])
def test_an_edit_of_title_or_body_is_worked_on(changed: set[str]) -> None:
    assert yes(candidate("issues.edited", changed=frozenset(changed))) == "issues/analyze"


@pytest.mark.parametrize(
    ("key", "changed", "what", "file"),
    [
        ("pull_request.edited", {"base", "a"}, "a, base", "prompts/pull_requests/analyze.j2"),
        ("issues.edited", set(), "nothing", "prompts/issues/analyze.j2"),
    ],
    ids=["base", "nothing"],
)
def test_an_edit_of_anything_else_is_not(key: str, changed: set[str], what: str, file: str) -> None:
    reason = f"{key} changed {what}, and {file} is asked again only when title or body change"
    assert no(candidate(key, changed=frozenset(changed))) == ("nothing relevant changed", reason)


def test_rule_17_what_a_bot_account_of_ours_does_is_ignored() -> None:
    by = settings(EVERYTHING, features={"bots": True})
    ours = "hls[bot] is HLS's own account, whose token stands at hls.yaml:4 (github.token); what it does "
    ours += "there itself is not worked on, or HLS would answer itself"
    assert no(candidate(sender="HLS[bot]", sender_is_bot=True), by, we=APP) == ("own account", ours)


@pytest.mark.parametrize(
    "known",
    [
        {"sender": "hls[bot]", "sender_is_bot": True, "author": "mona"},
        {"sender": "mona", "author": "hls[bot]", "author_is_bot": True},
    ],
    ids=["sent", "opened"],
)
def test_rule_17_issues_that_our_bot_account_sends_or_opened_are_ignored(known: dict[str, Any]) -> None:
    assert no(candidate(**known), settings(features={"bots": True}), we=APP)[0] == "own account"


def test_rule_17_issues_and_pull_requests_by_the_owner_of_our_token_are_worked_on() -> None:
    """A personal token's owner opens the first test issue."""
    assert yes(candidate(sender="hubot", author="hubot"), we=OWNER) == "issues/analyze"
    assert yes(candidate("pull_request.opened", sender="hubot", author="hubot"), we=OWNER) == "pull_requests/analyze"
    edited = candidate("issues.edited", sender="hubot", author="mona", changed=frozenset({"body"}))
    assert yes(edited, we=OWNER) == "issues/analyze"


def test_rule_17_labels_that_our_account_set_are_ignored_and_other_peoples_are_not() -> None:
    assert no(candidate("issues.labeled", sender="Hubot"), we=OWNER)[0] == "own account"
    assert no(candidate("pull_request.unlabeled", sender="hubot"), we=OWNER)[0] == "own account"
    assert yes(candidate("issues.labeled", sender="mona"), we=OWNER) == "issues/triage"


COMMENT = {"sender": "hubot", "comment_author": "hubot"}


@pytest.mark.parametrize(
    ("known", "we", "kind"),
    [
        ({**COMMENT, "comment_body": f"Hi {MARKER}issues -->"}, OWNER, "own account"),
        ({**COMMENT, "comment_body": f"Hi {MARKER}issues -->", "sender": "mona"}, OWNER, "own account"),
        ({**COMMENT, "comment_body": "Hi"}, OWNER, None),
        ({"comment_author": "mallory", "comment_body": f"Hi {MARKER}issues -->"}, OWNER, None),
        ({"comment_author": "hls[bot]", "comment_body": "Hi"}, APP, "own account"),
        ({"comment_author": "mallory", "comment_body": f"Hi {MARKER}issues -->"}, APP, None),
    ],
    ids=[
        "ours",
        "ours, edited by another",
        "a command of our owner",
        "a stranger's copy of our marker",
        "our bot's",
        "a copy for our bot",
    ],
)
def test_rule_17_a_comment_is_ours_by_author_and_marker_together(
    known: dict[str, Any], we: Account, kind: str | None
) -> None:
    asks = {**known, "comment_body": f"How can I start? {known['comment_body']}"}
    verdict = decide(candidate("issue_comment.created", **asks), settings(EVERYTHING), we=we)
    assert getattr(verdict, "kind", None) == kind


def test_rule_17_nobody_is_taken_for_us_while_we_are_unknown() -> None:
    """Then the worker decides."""
    assert yes(candidate("issues.labeled", sender="hubot"), we=None) == "issues/triage"
    assert yes(candidate(sender="hls[bot]", sender_is_bot=True), settings(features={"bots": True}), we=None)


@pytest.mark.parametrize(
    ("known", "bot"),
    [
        ({"sender": "dependabot[bot]", "sender_is_bot": True}, "dependabot[bot]"),
        ({"author": "renovate[bot]", "author_is_bot": True}, "renovate[bot]"),
    ],
    ids=["sender", "author"],
)
def test_rule_17_other_bots_are_ignored_unless_settings_allow_them(known: dict[str, Any], bot: str) -> None:
    by = settings(features={"bots": False}, lines={"features.bots": 30})
    assert no(candidate(**known), by, we=OWNER) == (
        "other bot",
        f"{bot} is a bot; set features.bots to true at hls.yaml:30 to work on what bots do",
    )
    assert yes(candidate(**known), settings(features={"bots": True})) == "issues/analyze"
    assert yes(candidate(**known), settings({"name": "octo/hello", "features": {"bots": True}})) == "issues/analyze"


DRAFT = candidate("pull_request.synchronize", draft=True)


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
    assert no(DRAFT, by) == (
        "draft",
        f"the pull request is a draft; mark it ready for review, or {change}",
    )


def test_a_draft_is_worked_on_where_settings_say_so_or_once_it_is_ready() -> None:
    assert yes(DRAFT, settings(features={"drafts": True})) == "pull_requests/analyze"
    assert yes(candidate("pull_request.ready_for_review", draft=False)) == "pull_requests/analyze"


@pytest.mark.parametrize(
    ("title", "labels", "reason"),
    [
        (
            "Crash",
            ("bug", "Skip-HLS"),
            (
                "the label skip-hls asks HLS to leave this thread alone; remove the label, then edit title or text, or "
                "close and reopen it, to have it worked on"
            ),
        ),
        (
            "Crash [SKIP hls]",
            (),
            "[skip hls] in the title asks HLS to leave this thread alone; take it out to have it worked on",
        ),
    ],
    ids=["label", "title"],
)
def test_people_can_ask_to_be_left_alone(title: str, labels: tuple[str, ...], reason: str) -> None:
    assert no(candidate(title=title, labels=labels)) == ("asked to skip", reason)
    assert asked_to_skip(title, labels) == reason


@pytest.mark.parametrize("title", ["skip hls", "[skip  hls]", "[skip ci]", ""])
def test_other_titles_and_labels_ask_for_nothing(title: str) -> None:
    assert asked_to_skip(title, ("skip", "hls", "skip-hls-not")) is None
