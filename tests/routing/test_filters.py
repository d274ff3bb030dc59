"""Enabled events that filters ignore: own actions, bots, drafts, irrelevant edits, and skip
requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import FAILED, MARKER, Ignored, RoutingInput, Rule, asked_to_skip
from hls_handler.routing.filters import MAX_SEARCHED_CHARACTERS, addressed_to_bot, asks_how_to_start
from hls_handler.settings.model import Settings
from tests.routing.world import decide, find_prompt, ignored, routing_input, settings
from tests.settings.files import app_key

OWNER = Account("hubot", 1, "User")  # a personal token's account
SPARE = Account("spare-bot", 2, "User")
APP = Account("hls[bot]", 3, "Bot")
COMMENTS = {"name": "octo/hello", "events": ["issue_comment"]}
EVERYTHING = {"name": "octo/hello", "events": ["issues", "pull_request", "issue_comment", "status"]}


GITHUB_APP = {"app": {"id": 7, "private_key": app_key()}}

LOOPS = "its own actions are ignored, because otherwise HLS would answer itself"


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Hi! How can I start with this?", True),
        ("This would be my first contribution to open source.", True),
        ("I\u2019d like to work on this.", True),
        ("Wie kann ich mithelfen?", True),
        ("¿Cómo puedo contribuir?", True),
        ("Как мне начать?", True),
        ("我如何参与这个项目？", True),
        ("> @ada said no\n\nHow could we help?", True),
        ("> How can I start?\n\nSee the guide.", False),
        ("```\nhow can i start\n```\nprints this", False),
        ("- see:\n\n  ```\n  how can I start\n  ```\n- done", False),
        ("It prints:\n\n    how can I start", False),
        ("Fine. <!-- how can I start", False),
        ("x " * MAX_SEARCHED_CHARACTERS + "how can I start?", False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_question_about_how_to_start_is_recognized_outside_of_code_and_quotes(
    text: str, asks: bool
) -> None:
    assert asks_how_to_start(text) is asks


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Could @My-HLS explain the label?", True),
        ("@my-hls[bot] why is it a bug?", True),
        ("@my-hls пожалуйста объясни", True),
        ("Thanks @my-hls, but why is it a bug?", True),
        ("@my-hls 为什么？", True),
        ("@my-hls", False),
        ("@my-hls[bot]", False),
        ("@my-hls thank you very much", False),
        ("@my-hls-2 why does the build fail?", False),
        ("@my why does the build fail?", False),
        ("me@my-hls why does the build fail?", False),
        ("> @my-hls why does the build fail?\n\nIt does not.", False),
        ("why does the build fail?", False),
    ],
)
def test_mention_with_a_request_is_addressed_to_the_bot(text: str, asked: bool) -> None:
    assert addressed_to_bot(text, ["spare-bot", "my-hls[bot]"]) is asked
    assert addressed_to_bot(text, ["my-hls"]) is asked
    assert addressed_to_bot(text, []) is False


def comment(body: str, key: str = "issue_comment.created", **known: Any) -> RoutingInput:
    return routing_input(key, **{"comment_body": body, "comment_author": "ada", **known})


@pytest.mark.parametrize(
    ("body", "bot", "kind"),
    [
        ("How can I start?", OWNER, None),
        ("@hubot why is that?", OWNER, None),
        ("@spare-bot why is that?", OWNER, None),
        ("@hls why is that?", APP, None),
        ("@hls[bot] why is that?", APP, None),
        ("@hlsx why is that?", APP, "nothing asked"),
        ("@ada why is that?", OWNER, "nothing asked"),
        ("@ada why is that?", None, None),  # the bot account is not known yet
        ("+1", OWNER, "nothing asked"),
    ],
)
def test_comment_is_processed_if_it_asks(body: str, bot: Account | None, kind: str | None) -> None:
    result = decide(comment(body), settings(COMMENTS), bot=bot, others=(SPARE,) if bot else ())
    assert getattr(result, "kind", None) == kind
    if isinstance(result, Ignored):
        whom = {OWNER: "@hubot", APP: "@hls"}[bot] if bot else "HLS's account"
        assert result.reason == f"the comment neither asks how to start nor asks {whom} anything"


def reply(body: str, **known: Any) -> RoutingInput:
    about = {"is_pull_request": True, "thread": 900, **known}
    return comment(body, "pull_request_review_comment.created", **about)


REVIEWS = {"name": "octo/hello", "events": ["pull_request", "issue_comment"]}


@pytest.mark.parametrize(
    ("event", "entry", "kind"),
    [
        (reply("Why is that?"), REVIEWS, "nothing asked"),
        (reply("How can I start?"), REVIEWS, "nothing asked"),
        (reply("@hls why is that?", thread=None), REVIEWS, "nothing asked"),
        (reply("@hls why is that?"), {**REVIEWS, "events": ["pull_request"]}, "event not enabled"),
        (
            reply("@hls why is that?", comment_author="copilot[bot]", comment_author_is_bot=True),
            REVIEWS,
            "other bot",
        ),
    ],
    ids=["to nobody", "of a newcomer", "not a reply", "comments are not enabled", "of a bot"],
)
def test_other_replies_in_review_threads_stay_ignored(
    event: RoutingInput, entry: dict[str, Any], kind: str
) -> None:
    assert ignored(event, settings(entry), bot=APP)[0] == kind


def test_reason_of_a_question_in_a_review_thread_names_the_event_to_enable() -> None:
    _, reason = ignored(
        reply("@hls why is that?"), settings({**REVIEWS, "events": ["pull_request"]}), bot=APP
    )
    assert reason.startswith("issue_comment.created is not among the events of hls.yaml:10")


def test_comment_of_the_author_is_routed_like_an_edit_of_the_issue() -> None:
    rule = decide(comment("It is version 3.", comment_author="mona"), settings(), bot=OWNER)
    assert isinstance(rule, Rule)
    assert (rule.event_key, rule.prompt, rule.is_author_comment) == (
        "issues.edited",
        "issues/analyze",
        True,
    )
    assert (
        rule.why(settings().sources)
        == "hls.yaml:10 (repositories[0].events) enables issues.edited, as which a comment of the"
        " issue's author counts, and prompts/issues/analyze.j2 is for it"
    )


@pytest.mark.parametrize(
    ("entry", "known", "kind"),
    [
        ({}, {"comment_author": "ada"}, "event not enabled"),
        ({}, {"key": "issue_comment.deleted"}, "event not enabled"),
        ({}, {"is_pull_request": True}, "event not enabled"),
        ({"events": ["issues.opened", "pull_request"]}, {}, "event not enabled"),
        ({"events": ["issues", "issue_comment"]}, {"comment_author": "ada"}, "nothing asked"),
        ({}, {"labels": ("skip-hls",)}, "event not enabled"),
        ({}, {"comment_body": f"Please add\n{MARKER}issues -->", "comment_author": "hubot", "author": "hubot"},
         "event not enabled"),
    ],
    ids=["of somebody else", "deleted", "on a pull request", "edits are not enabled",
         "of somebody else with comments enabled", "to be skipped", "by HLS"],
)  # fmt: skip
def test_other_comments_stay_ignored(
    entry: dict[str, Any], known: dict[str, Any], kind: str
) -> None:
    event = comment(**{"body": "It is version 3.", "comment_author": "mona", **known})
    assert ignored(event, settings({"name": "octo/hello", **entry}), bot=OWNER)[0] == kind


@pytest.mark.parametrize(
    ("conclusion", "ended"),
    [
        *(
            (conclusion, None)
            for conclusion in ("failure", "timed_out", "startup_failure", "cancelled", "success")
        ),
        ("skipped", "ended with skipped"),
        (None, "has not ended"),
    ],
)
def test_workflow_runs_that_failed_or_passed_are_processed(
    conclusion: str | None, ended: str | None
) -> None:
    by = settings({"name": "octo/hello", "events": ["workflow_run"]})
    prompts = {"workflow_run.completed": ("workflows/analyze",)}
    run = routing_input(
        "workflow_run.completed", conclusion=conclusion, author=None, sender_is_bot=True
    )
    result = decide(run, by, prompts=prompts)
    if ended is None:
        assert isinstance(result, Rule)
    else:
        assert result == Ignored(
            "nothing failed",
            f"the workflow run {ended}; prompts/workflows/analyze.j2 handles runs that failed:"
            f" {', '.join(FAILED)}",
        )


@pytest.mark.parametrize(
    ("app", "conclusion", "reason"),
    [
        ("sonarcloud", "failure", None),
        (
            "sonarcloud",
            "neutral",
            "the check run ended with neutral; prompts/workflows/analyze.j2 handles runs that",
        ),
        ("sonarcloud", "cancelled", "the check run ended with cancelled"),
        (
            "github-actions",
            "failure",
            "the check is a job of GitHub Actions, whose workflow run is an event, too",
        ),
        ("My-HLS", "failure", "the check is that of HLS"),
    ],
)
def test_failed_checks_of_other_apps_are_processed(
    app: str, conclusion: str, reason: str | None
) -> None:
    by = settings({"name": "octo/hello", "events": ["check_run"]})
    prompts = {"check_run.completed": ("workflows/analyze",)}
    run = routing_input(
        "check_run.completed", conclusion=conclusion, author=None, sender_is_bot=True, check_app=app
    )
    result = decide(run, by, prompts=prompts, bot=Account("my-hls[bot]", 9, "Bot"))
    assert isinstance(result, Rule) if reason is None else reason in str(result)


@pytest.mark.parametrize(
    ("key", "changed", "what"),
    [
        ("issues.edited", {"title"}, None),
        ("pull_request.edited", {"base"}, None),
        ("pull_request.edited", {"b", "a"}, "a, b"),
        ("issues.edited", set(), "nothing"),
    ],
)
def test_edit_is_processed_if_it_changed_the_title_the_body_or_the_base_branch(
    key: str, changed: set[str], what: str | None
) -> None:
    event = routing_input(key, changed=frozenset(changed))
    if what is None:
        assert find_prompt(event)
    else:
        file = {"issues.edited": "issues/analyze", "pull_request.edited": "pull_requests/analyze"}[
            key
        ]
        again = (
            f"prompts/{file}.j2 runs again only when the title, the body or the base branch changes"
        )
        assert ignored(event) == ("nothing relevant changed", f"{key} changed {what}; {again}")


# --- who did it
# -----------------------------------------------------------------------------

BOTH = (OWNER, SPARE)


@pytest.mark.parametrize(
    ("event", "bots", "kind"),
    [
        (routing_input(sender="HLS[bot]", sender_is_bot=True), (APP,), "own account"),
        (routing_input(author="hls[bot]", author_is_bot=True), (APP,), "own account"),
        (comment("How can I start?", comment_author="hls[bot]"), (APP,), "own account"),
        (comment(f"How can I start? {MARKER}x", comment_author="mallory"), (APP,), None),
        (comment(f"How can I start? {MARKER}x", comment_author="Hubot"), (OWNER,), "own account"),
        (comment(f"How can I start? {MARKER}x", comment_author="spare-bot"), BOTH, "own account"),
        (comment(f"How can I start? {MARKER}x", comment_author="spare-bot"), (OWNER,), None),
        (comment("How can I start?", comment_author="hubot", sender="hubot"), (OWNER,), None),
        (routing_input("issues.labeled", sender="Hubot"), (OWNER,), "own account"),
        (routing_input("issues.labeled", sender="spare-bot"), BOTH, "own account"),
        (routing_input("issues.unlabeled", sender="spare-bot", label="bug"), BOTH, "own account"),
        (routing_input("status", author=None, sender="hubot"), (OWNER,), "own account"),
        # The owner of a personal token usually opens the first test issue.
        (routing_input(sender="hubot", author="hubot"), (OWNER,), None),
        (
            routing_input("issues.edited", sender="hubot", changed=frozenset({"body"})),
            (OWNER,),
            None,
        ),
        # While the bot account is unknown, the worker decides later.
        (routing_input(sender="hls[bot]", sender_is_bot=True), (), None),
    ],
)
def test_rule_17_own_actions_are_ignored(
    event: RoutingInput, bots: tuple[Account, ...], kind: str | None
) -> None:
    by = settings(EVERYTHING, features={"bots": True})
    result = decide(event, by, bot=next(iter(bots), None), others=bots[1:])
    assert getattr(result, "kind", None) == kind


@pytest.mark.parametrize(
    ("github", "reason"),
    [
        (
            GITHUB_APP,
            (
                "the installation of the GitHub App (hls.yaml:3 (github.app)) has changed; HLS"
                " takes account of this from now on"
            ),
        ),
        (
            {"token": "t"},
            "an event of a GitHub App, and HLS uses the token at hls.yaml:4 (github.token)",
        ),
    ],
)
def test_change_of_an_installation_is_no_work(github: dict[str, Any], reason: str) -> None:
    by = settings(github={**github, "webhook_secret": "0123456789abcdef"})
    for key in ("installation.created", "installation_repositories.added"):
        assert ignored(routing_input(key, repository=None), by) == ("app installation", reason)


BY_RENOVATE: dict[str, Any] = {"author": "renovate[bot]", "author_is_bot": True}
BY_A_BOT: dict[str, Any] = {"sender": "ci[bot]", "sender_is_bot": True}


@pytest.mark.parametrize(
    ("event", "is_ignored"),
    [
        (routing_input(**BY_RENOVATE), True),
        (routing_input(**BY_RENOVATE, **BY_A_BOT), True),
        (
            comment("How can I start?", comment_author="coder[bot]", comment_author_is_bot=True),
            True,
        ),
        (comment("How can I start?", comment_author="mona", **BY_RENOVATE), True),
        (routing_input("status", author=None, **BY_A_BOT), True),
        # What a bot does to the work of a person is an event of that person.
        (routing_input("pull_request.synchronize", **BY_A_BOT), False),
        (routing_input("issues.labeled", **BY_A_BOT), False),
        (comment("How can I start?", comment_author="mona", sender_is_bot=True), False),
    ],
)
def test_rule_17_work_of_other_bots_is_ignored_unless_settings_include_them(
    event: RoutingInput, is_ignored: bool
) -> None:
    result = decide(event, settings(EVERYTHING), bot=OWNER)
    assert getattr(result, "kind", None) == ("other bot" if is_ignored else None)
    assert isinstance(decide(event, settings(EVERYTHING, features={"bots": True})), Rule)
    assert isinstance(decide(event, settings({**EVERYTHING, "features": {"bots": True}})), Rule)


@pytest.mark.parametrize(
    ("login", "is_included"),
    [
        ("copilot-swe-agent[bot]", True),
        ("Devin-AI-integration[bot]", True),
        ("claudeb", False),
        ("not-copilot[bot]", False),
    ],
)
def test_list_of_logins_includes_bots_by_glob(login: str, is_included: bool) -> None:
    by = settings(features={"bots": ["copilot*", "claude[bot]", "devin-ai-?ntegration"]})
    opened = routing_input("pull_request.opened", author=login, author_is_bot=True)
    assert isinstance(decide(opened, by), Rule) == is_included


# --- drafts, skipping, and `review.when`
# -----------------------------------------------------------------------------

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
def test_draft_is_ignored_unless_drafts_are_enabled(by: Settings, change: str) -> None:
    assert ignored(DRAFT, by) == (
        "draft",
        f"the pull request is a draft; mark it ready for review, or {change}",
    )
    assert find_prompt(DRAFT, settings(features={"drafts": True})) == "pull_requests/analyze"


@pytest.mark.parametrize(
    ("title", "labels", "reason"),
    [
        (
            "Crash",
            ("bug", "Skip-HLS"),
            (
                "the label skip-hls asks HLS to skip this conversation; remove the label, then edit"
                " the title or text, or close and reopen it, to have it processed"
            ),
        ),
        (
            "Crash [SKIP hls]",
            (),
            (
                "[skip hls] in the title asks HLS to skip this conversation; remove it to have it"
                " processed"
            ),
        ),
        ("skip hls [skip  hls] [skip ci]", ("skip", "hls", "skip-hls-not"), None),
    ],
    ids=["label", "title", "similar ones"],
)
def test_label_or_title_can_skip_a_conversation(
    title: str, labels: tuple[str, ...], reason: str | None
) -> None:
    assert asked_to_skip(title, labels) == reason
    result = decide(routing_input(title=title, labels=labels))
    assert (
        (result.kind, result.reason) == ("asked to skip", reason)
        if isinstance(result, Ignored)
        else not reason
    )


@pytest.mark.parametrize(
    ("value", "reviewed", "why"),
    [
        (
            "push",
            {"opened", "reopened", "ready_for_review", "synchronize", "edited", "closed"},
            None,
        ),
        (
            "opened",
            {"opened", "reopened", "ready_for_review", "closed"},
            "pull requests are reviewed when they are opened, and this event is a later one",
        ),
        ("request", {"closed"}, "no review of this commit was requested"),
        ("label:needs review", {"closed"}, "the pull request does not have the label needs review"),
    ],
)
def test_review_when_chooses_the_events_that_are_reviewed_without_a_request(
    value: str, reviewed: set[str], why: str | None
) -> None:
    by = settings(review={"when": value}, lines={"review.when": 40})
    actions = ("opened", "reopened", "ready_for_review", "synchronize", "edited", "closed")
    results = {
        action: decide(routing_input(f"pull_request.{action}", changed=frozenset({"base"})), by)
        for action in actions
    }
    assert {action for action, result in results.items() if isinstance(result, Rule)} == reviewed
    reason = f"{why}; comment /review to have it reviewed (hls.yaml:40 (review.when))"
    assert {one for one in results.values() if isinstance(one, Ignored)} == (
        {Ignored("not requested", reason, is_for_worker=True)} if why else set()
    )
    assert (
        find_prompt(routing_input("pull_request.synchronize", is_requested=True), by)
        == "pull_requests/analyze"
    )
    assert find_prompt(routing_input("issues.opened"), by) == "issues/analyze"


def test_label_asks_for_a_review_and_for_those_of_later_pushes() -> None:
    by = settings(review={"when": "label:AI"})
    labeled = routing_input("pull_request.labeled", label="ai", labels=("ai",), draft=True)
    rule = decide(labeled, by, bot=OWNER)
    assert isinstance(rule, Rule)
    assert (rule.prompt, rule.event_key) == ("pull_requests/analyze", "pull_request.synchronize")
    assert find_prompt(routing_input("pull_request.synchronize", labels=("ai",)), by)
    opened_only = settings(
        {"name": "octo/hello", "events": ["pull_request.opened"]}, review={"when": "label:AI"}
    )
    assert find_prompt(labeled, opened_only, bot=OWNER)


def test_rule_17_label_that_hls_sets_asks_for_nothing() -> None:
    labeled = routing_input("pull_request.labeled", label="ai", labels=("ai",), sender="hubot")
    assert ignored(labeled, settings(review={"when": "label:ai"}), bot=OWNER)[0] == "own account"


@pytest.mark.parametrize(
    ("github", "lines", "whose"),
    [
        ({}, {}, "whose token is set at hls.yaml:4 (github.token)"),
        (GITHUB_APP, {"github.app": 5}, "whose App is set at hls.yaml:5 (github.app)"),
    ],
)
def test_reason_of_an_own_action_names_the_credential(
    github: dict[str, Any], lines: Mapping[str, int], whose: str
) -> None:
    by = settings(
        github={**(github or {"token": "t"}), "webhook_secret": "0123456789abcdef"}, lines=lines
    )
    why = f"hls[bot] is the account of HLS, {whose}; {LOOPS}"
    assert ignored(routing_input(sender="hls[bot]"), by, bot=APP) == ("own account", why)


BY_COPILOT = {"author": "Copilot", "author_is_bot": True}


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (routing_input("pull_request.synchronize", **BY_COPILOT), "other bot"),
        (routing_input("pull_request.synchronize", is_requested=True, **BY_COPILOT), None),
        (
            routing_input(
                "pull_request.synchronize",
                is_requested=True,
                sender="labeler[bot]",
                sender_is_bot=True,
                **BY_COPILOT,
            ),
            "other bot",
        ),
        (routing_input("pull_request.review_requested", reviewer="hubot", **BY_COPILOT), None),
        (
            routing_input(
                "pull_request.review_requested",
                reviewer="hubot",
                sender="Copilot",
                sender_is_bot=True,
                **BY_COPILOT,
            ),
            "other bot",
        ),
    ],
    ids=["a push", "asked by a person", "asked by a bot", "requested", "CODEOWNERS"],
)
def test_pull_request_of_a_bot_is_reviewed_if_a_person_asks(
    event: RoutingInput, kind: str | None
) -> None:
    result = decide(event, settings(EVERYTHING), bot=OWNER)
    assert getattr(result, "kind", None) == kind


def test_reason_says_how_to_include_a_bot() -> None:
    change = 'set features.bots to ["renovate[bot]"] at hls.yaml:30, or add it to that list'
    by = settings(features={"bots": False}, lines={"features.bots": 30})
    reason = f"renovate[bot] is a bot; {change}, to process what it opens"
    assert ignored(routing_input(**BY_RENOVATE), by) == ("other bot", reason)
