"""Routing of commands: what is one, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Command, Ignored, RoutingInput, may_be_processed
from hls_handler.routing.commands import list_needed_events, parse_command
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import GithubApp, Settings
from tests.routing.world import PROMPTS, FakeCatalogue, decide, routing_input, settings

BOT = Account("hls[bot]", 0, "Bot")
PERSON = Account("mona", 1, "User")  # the owner of a personal token


def comment(body: str, key: str = "issue_comment.created", **known: Any) -> RoutingInput:
    plain = {"comment_body": body, "comment_author": "mona", "is_pull_request": True}
    return routing_input(key, **{**plain, **known})


def find_command(event: RoutingInput, by: Settings | None = None, bot: Account | None = None) -> str | None:
    prompts = {key: names for key, names in PROMPTS.items() if key != "issue_comment.created"}
    routed = decide(event, by, prompts=prompts, bot=bot)
    return routed.name if isinstance(routed, Command) else None


def app_settings() -> Settings:
    given = settings()
    app = GithubApp.model_construct(id=12345)  # no key, because no request is sent
    return given.model_copy(update={"github": given.github.model_copy(update={"app": app, "token": None})})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/stop", "stop"),
        ("/review full", "review full"),
        ("/help", "help"),
        ("/Review \t FULL  ", "review full"),
        ("/review\r\nfull of typos", "review"),
        ("/dismiss", "dismiss"),
        ("/review.", "review"),
        ("/Review full!", "review full"),
        ("/review full, please.", "review full"),
        ("Please /review", "review"),
        ("\n \r\n/stop", "stop"),
        ("\n\u00a0\n\u00a0/stop", "stop"),
        ("\u3000/stop", "stop"),
        ("/review\u00a0full\u2009.", "review full"),
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
        "/",
        "/merge",
        "/dismiss \u0663",
        "Please write /stop",
        "Thanks!\n/stop",
        "    /stop",
        "\n  \t/stop",
        "\n\n> /stop",
        "\n```\n/stop\n```",
        "`/stop` please",
        "/stop/me",
        "/review.py fails",
        "please review",
        "@hls /stop is what I would write",
        "> /stop",
        "- /stop",
        "<!-- \n/stop -->",
        "//stop",
        *(
            f"/{word}"
            for word in ("lgtm", "assign @mona", "retest", "hold", "close", "approve", "label bug", "cc @mona")
        ),
        *(f"/{word}" for word in ("preview", "revert", "rename", "rerun", "deploy", "help-wanted", "reset", "start")),
        "\uff0fstop",
    ],
)
def test_other_text_is_no_command(text: str) -> None:
    assert parse_command(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "\u200b/stop",
        "/st\u200bop",
        "\u2060/stop",
        "/st\u00adop",
        "\u202e/stop",
        "/stop\x0b",
        "/stop\x85more",
        "/stop\u2028more",
        "/\u017ftop",  # the long s, which matches "s" if case is ignored
        "/stop" + "".join(chr(0xE0000 + ord(character)) for character in " now"),
    ],
)
def test_rule_18_text_with_invisible_or_similar_characters_is_no_command(text: str) -> None:
    assert parse_command(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "/dismiss 3",
        "/dismiss #3.",
        "/dismiss\u00a03, please",
        "\n@hls please /dismiss 3",
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
        "/stopp",
        "/stop now please",
        "/dismiss -3",
        "/dismiss3",
        "/dismis 3",
        "/dismiss 3: false positive",
        "/dismiss 3 because the tests cover it",
        "/review?",
        "\n\n/dismiss finding 3",
        "@hls /deploy",
    ],
)
def test_command_that_hls_does_not_have_is_unknown_if_it_is_like_one_or_addresses_hls(text: str) -> None:
    routed = decide(comment(text), prompts={}, bot=BOT)
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding) == ("unknown", None)
    assert routed.description == "a command that HLS does not have"


@pytest.mark.parametrize("text", ["@mona /review", "@hls-2 /review", "@octo/hls /review", "@mona /deploy"])
def test_command_for_somebody_else_is_no_command(text: str) -> None:
    assert find_command(comment(text), bot=BOT) is None


def test_command_addresses_any_account_of_hls() -> None:
    routed = decide(comment("@mona /review"), prompts={}, bot=BOT, others=(PERSON,))
    assert isinstance(routed, Command)


def reply(body: str, key: str = "pull_request_review_comment.created", **known: Any) -> RoutingInput:
    """A comment in the review thread that begins with the comment 900."""
    return comment(body, key, **{"thread": 900, **known})


@pytest.mark.parametrize("body", ["Won't fix.", "/dismiss", "\n/Dismiss\u00a0please.", "You are right, I will fix it"])
def test_reply_in_a_review_thread_that_dismisses_or_takes_that_back_is_a_command(body: str) -> None:
    by = settings({"name": "octo/hello", "events": ["pull_request.opened"]})
    routed = decide(reply(body), by)
    assert isinstance(routed, Command)
    assert (routed.name, routed.finding, routed.thread) == ("thread", None, 900)
    assert routed.why(by.sources).startswith("a dismissal in a review thread, and ")


@pytest.mark.parametrize("action", ["resolved", "unresolved"])
def test_resolving_a_review_thread_is_a_command(action: str) -> None:
    event = routing_input(f"pull_request_review_thread.{action}", is_pull_request=True, thread=900)
    assert find_command(event) == "thread"


@pytest.mark.parametrize(
    "event",
    [
        reply("Thanks, fixed"),
        reply("/stop"),
        reply("/review full"),
        reply("Won't fix.", thread=None),
        reply("Won't fix.", sender="mallory"),
        reply("Won't fix.", "pull_request_review_comment.edited"),
        reply("Won't fix.", "pull_request_review_comment.deleted"),
        comment("Won't fix."),
        routing_input("pull_request_review_thread.resolved", is_pull_request=True),
    ],
)
def test_other_events_of_review_threads_are_no_commands(event: RoutingInput) -> None:
    assert find_command(event) is None


def test_rule_17_dismissals_by_hls_and_by_bots_are_ignored() -> None:
    robot: dict[str, Any] = {"sender": "ci[bot]", "comment_author": "ci[bot]", "sender_is_bot": True}
    own: dict[str, Any] = {"sender": "hls[bot]", "comment_author": "hls[bot]"}
    thread = routing_input("pull_request_review_thread.resolved", is_pull_request=True, thread=900, sender="hls[bot]")
    routed = [decide(event, bot=BOT) for event in (reply("By design", **robot), reply("By design", **own), thread)]
    assert [one.kind for one in routed if isinstance(one, Ignored)] == ["other bot", "own account", "own account"]


PULLS = {"name": "octo/hello", "events": ["pull_request.opened"]}


@pytest.mark.parametrize(
    ("event", "entry", "name"),
    [
        (comment("/stop"), PULLS, "stop"),
        (comment("/stop"), {"name": "octo/hello", "enabled": False}, None),
        (comment("/stop", "issue_comment.edited"), PULLS, None),
        (comment("/stop", "pull_request_review.submitted"), PULLS, None),
        (comment("/stop", is_pull_request=False), PULLS, None),
        (comment("/stop", sender="mallory"), PULLS, None),
        (routing_input("check_run.rerequested", check_app_id=12345), PULLS, "review full"),
        (routing_input("check_run.completed", check_app_id=12345), PULLS, None),
        (routing_input("check_run.rerequested", check_app_id=12346), PULLS, None),
        (routing_input("check_run.rerequested", check_app_id=None), PULLS, None),
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


@pytest.mark.parametrize("events", [["issues"], ["issues", "issue_comment"], ["workflow_run"]])
def test_repository_without_events_of_pull_requests_has_no_commands(events: list[str]) -> None:
    assert find_command(comment("/stop"), settings({"name": "octo/hello", "events": events})) is None


@pytest.mark.parametrize("features", [{}, {"bots": True}])
def test_rule_17_commands_of_other_bots_are_ignored(features: dict[str, bool]) -> None:
    by = settings({"name": "octo/hello", "features": features})
    routed = decide(comment("/stop", sender="ci[bot]", comment_author="ci[bot]", sender_is_bot=True), by)
    assert routed == Ignored("other bot", "ci[bot] is a bot; only people can give HLS commands")


def test_rule_17_own_comments_are_no_commands() -> None:
    own = comment("/review\n\n<!-- hls:pull_requests -->", sender="hls[bot]", comment_author="hls[bot]")
    assert find_command(own, bot=BOT) is None
    marked = comment("/review\n\n<!-- hls:pull_requests -->")
    assert find_command(marked, bot=PERSON) is None


def test_rule_17_owner_of_a_personal_token_can_give_commands() -> None:
    assert find_command(comment("/review"), bot=PERSON) == "review"


@pytest.mark.parametrize(
    ("known", "kind"),
    [
        ({"draft": True}, None),
        ({"draft": True, "labels": ("skip-hls",)}, "asked to skip"),
        ({"author": "ci[bot]", "author_is_bot": True}, "other bot"),
    ],
)
def test_requested_review_of_a_draft_is_admitted_and_other_rules_apply(known: dict[str, Any], kind: str | None) -> None:
    by = settings({"name": "octo/hello", "events": ["pull_request.opened"]})  # without pull_request.synchronize
    routed = decide(routing_input("pull_request.synchronize", is_requested=True, **known), by)
    assert (routed.kind if isinstance(routed, Ignored) else None) == kind


def test_requested_review_needs_an_event_of_pull_requests() -> None:
    by = settings({"name": "octo/hello", "events": ["issues"]})
    routed = decide(routing_input("pull_request.synchronize", is_requested=True), by)
    assert isinstance(routed, Ignored)
    assert routed.kind == "event not enabled"


@pytest.mark.parametrize(
    ("events", "of_commands"),
    [
        (["issues.opened", "push"], set()),
        (
            ["pull_request.opened"],
            {"issue_comment", "pull_request_review_comment", "pull_request_review_thread", "check_run"},
        ),
    ],
)
def test_events_of_commands_are_needed_where_pull_requests_are_enabled(
    events: list[str], of_commands: set[str]
) -> None:
    entry = settings({"name": "octo/hello", "events": events}).repositories
    by_app = app_settings().model_copy(update={"repositories": entry})
    (effective,) = RepositoryTable(by_app).all()
    names = {event.partition(".")[0] for event in events}
    assert list_needed_events(effective, by_app) == names | of_commands
    assert list_needed_events(effective, settings()) == (names | of_commands) - {"check_run"}


@pytest.mark.parametrize(
    ("key", "events", "expected"),
    [
        ("issue_comment.created", ["pull_request.opened"], True),
        ("issue_comment.created", ["issues"], False),
        ("issue_comment.edited", ["pull_request"], False),
        ("pull_request_review_comment.created", ["pull_request.opened"], True),
        ("pull_request_review_thread.resolved", ["pull_request.opened"], True),
        ("pull_request_review_thread.unresolved", ["issues"], False),
        ("check_run.rerequested", ["pull_request"], True),
        ("check_run.completed", ["pull_request"], False),
    ],
)
def test_missed_webhook_is_read_if_it_may_be_a_command(key: str, events: list[str], expected: bool) -> None:
    by = app_settings().model_copy(
        update={"repositories": settings({"name": "octo/hello", "events": events}).repositories}
    )
    event, _, action = key.partition(".")
    table = RepositoryTable(by)
    found = may_be_processed(
        event, action, "octo/hello", settings=by, table=table, catalogue=FakeCatalogue({}), awaits_answers=False
    )
    assert found == expected
