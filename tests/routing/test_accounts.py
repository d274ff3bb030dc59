"""Events of HLS's accounts, of its GitHub App and about the App's installation."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Ignored, Rule
from tests.routing.world import decide, routing_input, settings

FIRST, SPARE = Account("hls-bot", 1, "User"), Account("spare-bot", 2, "User")
APP = Account("my-hls[bot]", 0, "Bot")
COMMENTS = {"name": "octo/hello", "events": ["issue_comment", "issues"]}
GITHUB_APP = {"id": 7, "private_key_path": "app.pem"}
APP_SETTINGS = {"app": GITHUB_APP, "webhook_secret": "0123456789abcdef"}


@pytest.mark.parametrize(
    "event",
    [
        routing_input("issues.labeled", sender="spare-bot"),
        routing_input("issue_comment.created", comment_author="Spare-Bot", comment_body="Done <!-- hls:issues -->"),
    ],
    ids=["label", "comment"],
)
def test_rule_17_actions_of_a_spare_account_are_ignored(event: Any) -> None:
    result = decide(event, settings(COMMENTS), bot=FIRST, others=(SPARE,))
    assert isinstance(result, Ignored)
    assert result.kind == "own account"
    assert isinstance(decide(event, settings(COMMENTS), bot=FIRST), Rule) == (event.event == "issues")


def test_rule_17_label_change_of_a_spare_account_is_no_correction() -> None:
    event = routing_input("issues.unlabeled", sender="spare-bot", label="bug")
    result = decide(event, bot=FIRST, others=(SPARE,))
    assert isinstance(result, Ignored)
    assert result.kind == "own account"


@pytest.mark.parametrize("mention", ["@hls-bot", "@spare-bot"])
def test_each_account_can_be_asked(mention: str) -> None:
    event = routing_input("issue_comment.created", comment_body=f"{mention} why is that?")
    assert isinstance(decide(event, settings(COMMENTS), bot=FIRST, others=(SPARE,)), Rule)


@pytest.mark.parametrize("mention", ["@my-hls", "@my-hls[bot]"])
def test_app_is_asked_with_and_without_its_suffix(mention: str) -> None:
    event = routing_input("issue_comment.created", comment_body=f"{mention} why is that?")
    assert isinstance(decide(event, settings(COMMENTS), bot=APP), Rule)


def test_own_action_of_an_app_names_the_app() -> None:
    by = settings(github=APP_SETTINGS, lines={"github.app": 5})
    result = decide(routing_input(sender="my-hls[bot]", sender_is_bot=True), by, bot=APP)
    assert isinstance(result, Ignored)
    assert result.reason.startswith("my-hls[bot] is the account of HLS, whose App is set at hls.yaml:5 (github.app); ")


@pytest.mark.parametrize(
    ("github", "reason"),
    [
        (
            APP_SETTINGS,
            (
                "the installation of the GitHub App (hls.yaml:3 (github.app)) has changed; HLS takes account of this "
                "from now on"
            ),
        ),
        (
            {"token": "t", "webhook_secret": "0123456789abcdef"},
            "an event of a GitHub App, and HLS uses the token at hls.yaml:4 (github.token)",
        ),
    ],
    ids=["app", "token"],
)
@pytest.mark.parametrize("key", ["installation.created", "installation_repositories.added"])
def test_change_of_an_installation_is_no_work(key: str, github: dict[str, Any], reason: str) -> None:
    result = decide(routing_input(key, repository=None), settings(github=github))
    assert result == Ignored("app installation", reason)
