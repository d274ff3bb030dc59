"""Routing: the rule for an event, or the reason why it is ignored."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Ignored, LabelCorrection, RoutingInput, Rule
from tests.routing.world import (
    PROMPTS,
    decide,
    find_prompt,
    ignored,
    may_matter,
    routing_input,
    settings,
)


def test_rule_names_its_prompt_and_the_enabling_line() -> None:
    rule = decide(routing_input("issues.opened"))
    assert isinstance(rule, Rule)
    assert (rule.event_key, rule.prompt, rule.effective.pattern) == (
        "issues.opened",
        "issues/analyze",
        "octo/hello",
    )
    assert (
        rule.why(settings().sources)
        == "hls.yaml:10 (repositories[0].events) enables issues.opened, and"
        " prompts/issues/analyze.j2 is for it"
    )


NOT_ENABLED = {"name": "octo/hello", "events": ["issues.opened", "release"]}


@pytest.mark.parametrize(
    ("entry", "key", "known", "kind", "reason"),
    [
        (
            {"name": "octo/hello"},
            "github_app_authorization.revoked",
            {"repository": None},
            "no repository",
            (
                "github_app_authorization.revoked belongs to no repository, and hls.yaml:7"
                " (repositories) enables events by repository"
            ),
        ),
        (
            {"name": "octo/hello"},
            "issues.opened",
            {"repository": "octo/other"},
            "repository not configured",
            "no entry of hls.yaml:7 (repositories) matches octo/other; add one to process it",
        ),
        (
            {"name": "octo/*", "enabled": False},
            "issues.opened",
            {},
            "repository disabled",
            (
                "octo/hello is switched off by hls.yaml:9 (repositories[0].enabled); set this key"
                " to true to process it"
            ),
        ),
        (
            NOT_ENABLED,
            "issues.labeled",
            {},
            "event not enabled",
            (
                "issues.labeled is not among the events of hls.yaml:10 (repositories[0].events);"
                " add it there to process it"
            ),
        ),
    ],
    ids=["no repository", "not configured", "disabled", "not enabled"],
)
def test_ignored_reason_names_the_line_to_change(
    entry: dict[str, Any], key: str, known: dict[str, Any], kind: str, reason: str
) -> None:
    assert ignored(routing_input(key, **known), settings(entry)) == (kind, reason)


def test_several_prompts_for_one_event_are_ambiguous() -> None:
    names = ("issues/analyze", "issues/short", "issues/triage")
    assert decide(routing_input(), prompts={"issues.opened": names}) == Ignored(
        "several prompts",
        "prompts/issues/analyze.j2 and prompts/issues/short.j2 and prompts/issues/triage.j2 are"
        " each for issues.opened; add prompts.use.issues.opened to hls.yaml and set it to the name"
        " of one",
    )


TWO = {"issues.opened": ("issues/analyze", "issues/short"), "issues.edited": ("issues/triage",)}


@pytest.mark.parametrize(
    ("everywhere", "here", "prompt"),
    [
        ({"issues.opened": "issues/short"}, {}, "issues/short"),
        ({"issues": "issues/triage", "issues.opened": "issues/short"}, {}, "issues/short"),
        ({"issues.opened": "issues/short"}, {"issues": "issues/analyze"}, "issues/analyze"),
        ({"issues.opened": False}, {"issues": "issues/analyze"}, "issues/analyze"),
    ],
    ids=["action", "action over event", "repository first", "switched on again"],
)
def test_settings_choose_the_prompt(
    everywhere: dict[str, Any], here: dict[str, Any], prompt: str
) -> None:
    by = settings({"name": "octo/hello", "prompts": {"use": here}}, prompts={"use": everywhere})
    result = decide(routing_input(), by, prompts=TWO)
    assert isinstance(result, Rule)
    assert result.prompt == prompt


def test_settings_switch_a_prompt_off() -> None:
    by = settings(
        {"name": "octo/hello", "prompts": {"use": {"issues": False}}},
        prompts={"use": {"issues.opened": "issues/analyze"}},
        lines={"repositories[0].prompts.use.issues": 14},
    )
    assert ignored(routing_input(), by) == (
        "prompt switched off",
        (
            "hls.yaml:14 (repositories[0].prompts.use.issues) switches the prompt for issues.opened"
            " off; remove that line to process it"
        ),
    )


# --- requested reviews
# -----------------------------------------------------------------------------

WE = Account("hls[bot]", 99, "Bot")


def review_requested(reviewer: str | None, **known: Any) -> RoutingInput:
    return routing_input("pull_request.review_requested", reviewer=reviewer, **known)


@pytest.mark.parametrize(
    "events", [["pull_request.closed"], ["pull_request.review_requested"], ["pull_request"]]
)
def test_review_requested_from_the_bot_is_processed_if_any_pull_request_event_is_enabled(
    events: list[str],
) -> None:
    by = settings({"name": "octo/hello", "events": events})
    assert (
        find_prompt(review_requested("HLS[bot]", draft=True), by, bot=WE) == "pull_requests/analyze"
    )
    # the bot is not known yet
    assert find_prompt(review_requested("zoe"), by, bot=None) == "pull_requests/analyze"
    no_pulls = settings({"name": "octo/hello", "events": ["issues", "pull_request_review"]})
    assert ignored(review_requested("hls[bot]"), no_pulls, bot=WE)[0] == "event not enabled"


def test_review_requested_from_somebody_else_is_ignored() -> None:
    why = (
        "a review by zoe was requested; request one by hls[bot], the account of HLS, to have it"
        " analysed"
    )
    assert ignored(review_requested("zoe"), bot=WE) == ("another's review", why)
    assert ignored(review_requested(None), bot=WE)[1].startswith("a review by a team was requested")


@pytest.mark.parametrize(
    ("key", "repository", "expected"),
    [
        ("issues.opened", "octo/hello", True),
        ("issues.transferred", "octo/hello", False),  # no prompt
        ("issue_comment.created", "octo/hello", True),  # may answer a checklist
        ("push", "octo/hello", False),  # not enabled
        ("issues.opened", "octo/other", False),  # not configured
        ("issues.opened", None, True),  # repository unknown
        ("issues.unlabeled", "octo/hello", True),  # may be a label correction
        ("issues.opened", "octo/off", False),  # switched off
    ],
)
def test_event_of_which_the_payload_is_unknown_may_be_processed(
    key: str, repository: str | None, expected: bool
) -> None:
    by = settings(
        {"name": "octo/hello"}, {"name": "octo/off", "enabled": False, "events": ["issues"]}
    )
    assert may_matter(key, by, repository=repository) == expected


@pytest.mark.parametrize(
    ("title", "expected"), [("check", True), ("suggest", False), (False, False)]
)
def test_webhook_of_which_only_the_title_may_have_changed_may_need_its_check(
    title: str | bool, expected: bool
) -> None:
    given = {
        "events": ["pull_request.closed"],
        "review": {"check": False},
        "pull_requests": {"title": title},
    }
    by = settings({"name": "octo/hello", **given})
    assert may_matter("pull_request.edited", by, repository="octo/hello") == expected


BASE, TITLE = frozenset({"base"}), frozenset({"title"})
SKIP = {"title": "[skip hls]"}
CHECKED_TITLES = {"pull_requests": {"title": "check"}}


@pytest.mark.parametrize(
    ("key", "known", "given", "expected"),
    [
        ("pull_request.edited", {"changed": BASE, **SKIP}, {}, True),
        (
            "pull_request.edited",
            {"changed": BASE},
            {"name": "octo/hello", "events": ["pull_request.opened"]},
            True,
        ),
        ("pull_request.edited", {"changed": TITLE, **SKIP}, {}, False),
        ("pull_request.opened", SKIP, {}, True),
        ("pull_request.synchronize", {"draft": True}, {}, True),
        ("pull_request.opened", {}, {"prompts": {"use": {"pull_request": False}}}, True),
        ("pull_request.opened", {}, {"events": ["issues"]}, False),
        ("pull_request.edited", {"changed": BASE, **SKIP}, {"review": {"check": False}}, False),
        ("pull_request.edited", {"changed": TITLE, **SKIP}, CHECKED_TITLES, True),
        ("pull_request.edited", {"changed": frozenset({"body"}), **SKIP}, CHECKED_TITLES, False),
        ("pull_request.opened", SKIP, {**CHECKED_TITLES, "review": {"check": False}}, True),
    ],
)
def test_ignored_event_that_may_bring_a_diff_is_for_the_worker(
    key: str, known: dict[str, Any], given: dict[str, Any], expected: bool
) -> None:
    by = settings({"name": "octo/hello", **given})
    found = decide(routing_input(key, **known), by)
    assert isinstance(found, Ignored)
    assert found.is_for_worker == expected


# --- label corrections
# -----------------------------------------------------------------------------

NO_PROMPT = {key: names for key, names in PROMPTS.items() if key != "issues.labeled"}


def changed(label: str | None = "bug", key: str = "issues.labeled", **known: Any) -> RoutingInput:
    return routing_input(key, label=label, **known)


@pytest.mark.parametrize("key", ["issues.labeled", "issues.unlabeled"])
def test_label_change_by_a_person_is_a_correction_if_any_issue_event_is_enabled(key: str) -> None:
    by = settings({"name": "octo/hello", "events": ["issues.opened", "push"]})
    result = decide(changed("Priority-High", key), by, prompts=NO_PROMPT, bot=WE)
    assert isinstance(result, LabelCorrection)
    assert (result.event_key, result.group) == (key, "priority")
    assert (
        result.why(by.sources)
        == "hls.yaml:10 (repositories[0].events) enables events of this kind, and changes of"
        " priority labels by people are corrections"
    )


@pytest.mark.parametrize(
    ("event", "entry", "kind"),
    [
        (changed("help wanted"), {}, "no prompt"),
        (changed(None), {}, "no prompt"),
        (changed(key="issues.pinned"), {}, "no prompt"),
        (changed(sender="HLS[bot]"), {}, "own account"),
        (changed(sender="renovate[bot]", sender_is_bot=True), {}, "other bot"),
        (changed(labels=("skip-hls",)), {}, "asked to skip"),
        (changed(), {"events": ["pull_request"]}, "event not enabled"),
    ],
)
def test_other_label_changes_are_ignored(
    event: RoutingInput, entry: dict[str, Any], kind: str
) -> None:
    result = decide(event, settings({"name": "octo/hello", **entry}), prompts=NO_PROMPT, bot=WE)
    assert isinstance(result, Ignored)
    assert result.kind == kind
