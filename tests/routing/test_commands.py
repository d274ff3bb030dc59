"""Routing of commands: what is one, and by whom."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from hls_handler.events import Account
from hls_handler.routing import Command, Ignored, RoutingInput
from hls_handler.routing.commands import parse_command
from hls_handler.settings.model import GithubApp, Settings
from tests.routing.world import PROMPTS, decide, may_matter, routing_input, settings

BOT = Account("hls[bot]", 0, "Bot")
PERSON = Account("mona", 1, "User")  # the owner of a personal token


def comment(body: str, key: str = "issue_comment.created", **known: Any) -> RoutingInput:
    plain = {"comment_body": body, "comment_author": "mona", "is_pull_request": True}
    return routing_input(key, **{**plain, **known})


def find_command(
    event: RoutingInput, by: Settings | None = None, bot: Account | None = None
) -> str | None:
    prompts = {key: names for key, names in PROMPTS.items() if key != "issue_comment.created"}
    routed = decide(event, by, prompts=prompts, bot=bot)
    return routed.name if isinstance(routed, Command) else None


def app_settings() -> Settings:
    given = settings()
    # no key, because no request is sent
    app = GithubApp.model_construct(id=12345, private_key=SecretStr("unused"))
    return given.model_copy(
        update={"github": given.github.model_copy(update={"app": app, "token": None})}
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/stop", "stop"),
        ("/review full", "review full"),
        ("/Review \t FULL  ", "review full"),
        ("/review\r\nfull of typos", "review"),
        ("\n \r\n/stop", "stop"),
        ("\n\u00a0\n\u00a0/stop", "stop"),
        ("@HLS[bot], please /review full.", "review full"),
        ("@hls: /stop\nThank you", "stop"),
    ],
)
def test_command_is_the_first_line(text: str, name: str) -> None:
    assert parse_command(text) == (name, None)
    assert find_command(comment(text)) == name
    assert find_command(comment(text), bot=BOT) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Please write /stop",
        "Thanks!\n/stop",
        "\n  \t/stop",
        "\n\n> /stop",
        "\n```\n/stop\n```",
        "`/stop` please",
        "/review.py fails",
        "@hls /stop is what I would write",
        "<!-- \n/stop -->",
        *("/assign @mona", "/retest", "/preview", "/rerun", "/help-wanted", "/start"),
    ],
)
def test_other_text_is_no_command(text: str) -> None:
    assert parse_command(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "/st\u200bop",
        "/st\u043ep",
        "/stop\u2028more",
        "/\u017ftop",  # the long s, which matches "s" if case is ignored
        "/stop" + "".join(chr(0xE0000 + ord(character)) for character in " now"),
    ],
)
def test_rule_18_text_with_invisible_or_similar_characters_is_no_command(text: str) -> None:
    assert parse_command(text) is None


def test_undismiss_has_a_number() -> None:
    routed = decide(
        comment("/undismiss 3"), settings({"name": "octo/hello", "events": ["pull_request.opened"]})
    )
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding, routed.thread) == ("undismiss", 3, None)


@pytest.mark.parametrize(
    "text",
    [
        "/dismiss #3.",
        "/dismiss finding 3: the caller checks it",
        "\n@hls please /dismiss\u00a03",
        "/dismiss 3 because protoc writes this file",
        "/dismiss 3: false positive",
        "/dismiss 3 because it\u2019s a test key",
        "/dismiss 3: \u30c6\u30b9\u30c8",
        "/dismiss 3 - protoc writes this file",
        "/dismiss 3 (`run` validates it)",
    ],
)
def test_finding_is_dismissed_by_its_number(text: str) -> None:
    routed = decide(comment(text), prompts={})
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding, routed.thread) == ("dismiss", 3, None)


@pytest.mark.parametrize(
    "text",
    [
        "/reveiw",
        "/review-full",
        "/dismiss -3",
        "/dismiss 3, 4",
        "/dismiss 3 #4 x",
        "/dismiss \u0663",
        "@hls /deploy",
    ],
)
def test_command_that_hls_does_not_have_is_unknown_if_it_is_like_one_or_addresses_hls(
    text: str,
) -> None:
    routed = decide(comment(text), prompts={}, bot=BOT)
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding) == ("unknown", None)
    assert routed.description == "a command that HLS does not have"


def test_command_addresses_only_accounts_of_hls() -> None:
    assert isinstance(
        decide(comment("@mona /review"), prompts={}, bot=BOT, others=(PERSON,)), Command
    )
    for text in ("@mona /review", "@hls-2 /review", "@octo/hls /review", "@mona /deploy"):
        assert find_command(comment(text), bot=BOT) is None


def reply(
    body: str, key: str = "pull_request_review_comment.created", **known: Any
) -> RoutingInput:
    """A comment in the review thread that begins with the comment 900."""
    return comment(body, key, **{"thread": 900, **known})


@pytest.mark.parametrize(
    ("body", "name", "number"),
    [
        ("Won't fix.", "thread", None),
        ("\n/Dismiss\u00a0please.", "dismiss", None),
        ("/dismiss because mypy needs it", "dismiss", None),
        ("/dismiss 3", "dismiss", 3),
        ("/dismiss #12 tracks it", "dismiss", None),
        ("/dismiss #2 because it is sorted", "dismiss", 2),
        ("/dismiss #2 - by design", "dismiss", 2),
        ("@hls false positive", "thread", None),
        ("/undismiss", "undismiss", None),
        ("@hls /undismiss 3", "undismiss", 3),
        ("/review full", "review full", None),
        ("Please don't dismiss this.", "objection", None),
        ("Intended, I guess", "unclear", None),
    ],
)
def test_reply_in_a_review_thread_is_a_command(body: str, name: str, number: int | None) -> None:
    by = settings({"name": "octo/hello", "events": ["pull_request.opened"]})
    routed = decide(reply(body), by)
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding, routed.thread) == (name, number, 900)


def deleted(**known: Any) -> RoutingInput:
    """A person deletes the comment 900 of HLS."""
    by_hls = {"comment_author": "hls[bot]", "comment_author_is_bot": True}
    return reply("Logs it", "pull_request_review_comment.deleted", **{**by_hls, **known})


def test_deleting_the_first_comment_of_a_review_thread_is_a_command_of_who_deleted_it() -> None:
    routed = decide(deleted(), bot=BOT)
    assert isinstance(routed, Command)
    assert (routed.name, routed.thread) == ("deleted", 900)


def test_deleting_by_a_bot_or_by_hls_is_no_command() -> None:
    by_bot = decide(deleted(sender="other[bot]", sender_is_bot=True), bot=BOT)
    by_hls = decide(deleted(sender="hls[bot]", sender_is_bot=True), bot=BOT)
    assert [one.kind for one in (by_bot, by_hls) if isinstance(one, Ignored)] == [
        "other bot",
        "own account",
    ]


def test_resolving_a_review_thread_is_a_command() -> None:
    for action in ("resolved", "unresolved"):
        event = routing_input(
            f"pull_request_review_thread.{action}", is_pull_request=True, thread=900
        )
        name = "thread" if action == "resolved" else "undismiss"
        assert find_command(event) == name


@pytest.mark.parametrize(
    "event",
    [
        reply("@hls which input breaks it?"),
        reply("@hls is the discount taken off before tax is added?"),
        reply("@hls I added a check. Is that enough?"),
        reply("Is this by design, @hls?"),
        reply("@hls please fix the suggestion, it has a syntax error"),
        reply("@hls not a bug. Which input breaks it?"),
        reply("Not a bug? @hls which input breaks it?"),
        reply("Thanks, I will fix it"),
        reply("/assign @mona"),
        reply("Won't fix.", thread=None),
        reply("Won't fix.", sender="mallory"),
        comment("Won't fix."),
        routing_input("pull_request_review_thread.resolved", is_pull_request=True),
    ],
)
def test_other_events_of_review_threads_are_no_commands(event: RoutingInput) -> None:
    assert find_command(event) is None


def test_rule_17_dismissals_by_hls_and_by_bots_are_ignored() -> None:
    robot: dict[str, Any] = {
        "sender": "ci[bot]",
        "comment_author": "ci[bot]",
        "sender_is_bot": True,
    }
    own: dict[str, Any] = {"sender": "hls[bot]", "comment_author": "hls[bot]"}
    thread = routing_input(
        "pull_request_review_thread.resolved", is_pull_request=True, thread=900, sender="hls[bot]"
    )
    routed = [
        decide(event, bot=BOT)
        for event in (reply("By design", **robot), reply("By design", **own), thread)
    ]
    assert [one.kind for one in routed if isinstance(one, Ignored)] == [
        "other bot",
        "own account",
        "own account",
    ]


PULLS = {"name": "octo/hello", "events": ["pull_request.opened"]}


@pytest.mark.parametrize(
    ("event", "entry", "name"),
    [
        (comment("/stop"), PULLS, "stop"),
        (comment("/stop"), {"name": "octo/hello", "enabled": False}, None),
        (comment("/stop"), {"name": "octo/hello", "events": ["issues", "issue_comment"]}, None),
        (comment("/stop", "issue_comment.edited"), PULLS, None),
        (comment("/stop", is_pull_request=False), PULLS, None),
        (comment("/stop", sender="mallory"), PULLS, None),
        (routing_input("check_run.rerequested", check_app_id=12345), PULLS, "review full"),
        (
            routing_input("check_run.rerequested", check_app_id=12345, check_name="HLS title"),
            PULLS,
            None,
        ),
        (routing_input("check_run.completed", check_app_id=12345), PULLS, None),
        (routing_input("check_run.rerequested", check_app_id=12346), PULLS, None),
    ],
)
def test_new_comment_on_a_pull_request_or_own_check_run_again_is_a_command(
    event: RoutingInput, entry: dict[str, Any], name: str | None
) -> None:
    given = settings(entry)
    by_app = app_settings().model_copy(update={"repositories": given.repositories})
    assert find_command(event, by_app) == name
    by_token = None if event.event == "check_run" else name
    assert find_command(event, given) == by_token


def test_rule_17_commands_of_other_bots_are_ignored() -> None:
    by = settings({"name": "octo/hello", "features": {"bots": True}})
    routed = decide(
        comment("/stop", sender="ci[bot]", comment_author="ci[bot]", sender_is_bot=True), by
    )
    assert routed == Ignored("other bot", "ci[bot] is a bot; only people can give HLS commands")


def test_rule_17_own_comments_are_no_commands_but_those_of_the_owner_of_a_personal_token_are() -> (
    None
):
    own = comment(
        "/review\n\n<!-- hls:pull_requests -->", sender="hls[bot]", comment_author="hls[bot]"
    )
    assert find_command(own, bot=BOT) is None
    assert find_command(comment("/review\n\n<!-- hls:pull_requests -->"), bot=PERSON) is None
    assert find_command(comment("/review"), bot=PERSON) == "review"


@pytest.mark.parametrize(
    ("key", "events", "expected"),
    [
        ("issue_comment.created", ["pull_request.opened"], True),
        ("issue_comment.created", ["issues"], False),
        ("issue_comment.edited", ["pull_request"], False),
        ("pull_request_review_comment.created", ["pull_request.opened"], True),
        ("pull_request_review_thread.unresolved", ["pull_request.opened"], True),
        ("check_run.rerequested", ["pull_request"], True),
        ("check_run.completed", ["pull_request"], False),
    ],
)
def test_missed_webhook_is_read_if_it_may_be_a_command(
    key: str, events: list[str], expected: bool
) -> None:
    by = app_settings().model_copy(
        update={"repositories": settings({"name": "octo/hello", "events": events}).repositories}
    )
    assert may_matter(key, by, prompts={}) == expected
