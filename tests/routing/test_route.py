"""Which rule an event is worked on by, or which line of settings or prompt file says that it is not."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Candidate, Ignored, Rule, Shadow
from tests.routing.world import candidate, decide, no, settings, yes


def test_a_rule_names_its_prompt_and_what_let_the_event_in() -> None:
    rule = decide(candidate("issues.opened"))
    assert isinstance(rule, Rule)
    assert (rule.event_key, rule.prompt, rule.effective.pattern) == ("issues.opened", "issues/analyze", "octo/hello")
    assert rule.why(settings().sources) == (
        "hls.yaml:10 (repositories[0].events) enables issues.opened, and prompts/issues/analyze.j2 is for it"
    )


def test_a_prompt_may_be_for_an_event_whatever_its_action() -> None:
    assert yes(candidate("pull_request.synchronize")) == "pull_requests/analyze"


def test_a_prompt_for_the_very_action_goes_before_one_for_whatever_action() -> None:
    verdict = decide(candidate(), prompts={"issues": ("issues/any",), "issues.opened": ("issues/analyze",)})
    assert isinstance(verdict, Rule)
    assert verdict.prompt == "issues/analyze"


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
                "github_app_authorization.revoked is about no repository, and hls.yaml:7 (repositories) enables "
                "events by repository"
            ),
        ),
        (
            {"name": "octo/hello"},
            "issues.opened",
            {"repository": "octo/other"},
            "repository not configured",
            "no entry of hls.yaml:7 (repositories) matches octo/other; add one to work on it",
        ),
        (
            {"name": "octo/*", "enabled": False},
            "issues.opened",
            {},
            "repository disabled",
            ("octo/hello is switched off by hls.yaml:9 (repositories[0].enabled); set it to true to work on it"),
        ),
        (
            NOT_ENABLED,
            "issues.labeled",
            {},
            "event not enabled",
            (
                "issues.labeled is not among the events of hls.yaml:10 (repositories[0].events); add it there to "
                "work on it"
            ),
        ),
        (
            {"name": "octo/hello", "events": ["release"]},
            "release.published",
            {},
            "no prompt",
            (
                "no prompt in prompts/ has release.published in its `on:`; add it to one to work on it, or add "
                "prompts.directory to hls.yaml and set it to another folder"
            ),
        ),
    ],
    ids=["no repository", "not configured", "disabled", "not enabled", "no prompt"],
)
def test_a_no_names_the_line_that_would_change_it(
    entry: dict[str, Any], key: str, known: dict[str, Any], kind: str, reason: str
) -> None:
    assert no(candidate(key, **known), settings(entry)) == (kind, reason)


def test_an_event_without_a_handler_of_its_own_is_worked_on_by_its_prompt() -> None:
    by = settings({"name": "octo/hello", "events": ["push"]})
    assert yes(candidate("push"), by) == "push/tell"


@pytest.mark.parametrize(
    ("events", "key", "enabled"),
    [
        (["issues"], "issues.opened", True),
        (["issues.opened"], "issues.opened", True),
        (["issues.edited", "pull_request"], "issues.opened", False),
        (["issue"], "issues.opened", False),
        (["push"], "push", True),
    ],
    ids=["whatever action", "that action", "another action", "the beginning of its name", "without action"],
)
def test_events_are_enabled_with_or_without_their_action(events: list[str], key: str, enabled: bool) -> None:
    verdict = decide(candidate(key), settings({"name": "octo/hello", "events": events}))
    assert (isinstance(verdict, Ignored) and verdict.kind == "event not enabled") is not enabled


def test_the_most_specific_entry_decides_whatever_its_place_and_case() -> None:
    by = settings({"name": "octo/*"}, {"name": "Octo/Hello", "enabled": False}, {"name": "*/*", "enabled": False})
    assert no(candidate(repository="octo/hello"), by)[0] == "repository disabled"
    assert yes(candidate(repository="octo/other"), by) == "issues/analyze"
    assert no(candidate(repository="hub/hello"), by)[0] == "repository disabled"


def test_two_prompts_for_one_event_are_not_guessed_between() -> None:
    verdict = decide(candidate(), prompts={"issues.opened": ("issues/analyze", "issues/short")})
    assert verdict == Ignored(
        "several prompts",
        "prompts/issues/analyze.j2 and prompts/issues/short.j2 are both for issues.opened; add "
        "prompts.use.issues.opened to hls.yaml and set it to the name of one",
    )


TWO = {"issues.opened": ("issues/analyze", "issues/short"), "issues.edited": ("issues/triage",)}


@pytest.mark.parametrize(
    ("everywhere", "here", "prompt"),
    [
        ({"issues.opened": "issues/short"}, {}, "issues/short"),
        ({"issues": "issues/triage"}, {}, "issues/triage"),
        ({"issues": "issues/triage", "issues.opened": "issues/short"}, {}, "issues/short"),
        ({"issues.opened": "issues/short"}, {"issues.opened": "issues/analyze"}, "issues/analyze"),
        ({"issues.opened": "issues/short"}, {"issues": "issues/analyze"}, "issues/analyze"),
        ({"issues.opened": False}, {"issues": "issues/analyze"}, "issues/analyze"),
    ],
    ids=["action", "event", "action over event", "repository over global", "repository first", "switched on again"],
)
def test_settings_choose_the_prompt(everywhere: dict[str, Any], here: dict[str, Any], prompt: str) -> None:
    by = settings({"name": "octo/hello", "prompts": {"use": here}}, prompts={"use": everywhere})
    verdict = decide(candidate(), by, prompts=TWO)
    assert isinstance(verdict, Rule)
    assert verdict.prompt == prompt


def test_a_rule_by_choice_names_the_line_that_chose() -> None:
    by = settings(prompts={"use": {"issues": "issues/triage"}}, lines={"prompts": 20, "prompts.use.issues": 22})
    rule = decide(candidate(), by)
    assert isinstance(rule, Rule)
    why = rule.why(by.sources)
    assert why == "hls.yaml:22 (prompts.use.issues) chooses prompts/issues/triage.j2 for issues.opened"


def test_settings_switch_a_prompt_off() -> None:
    by = settings(
        {"name": "octo/hello", "prompts": {"use": {"issues": False}}},
        prompts={"use": {"issues.opened": "issues/analyze"}},
        lines={"repositories[0].prompts.use.issues": 14},
    )
    assert no(candidate(), by) == (
        "prompt switched off",
        (
            "hls.yaml:14 (repositories[0].prompts.use.issues) switches the prompt for issues.opened off; remove "
            "that line to work on it"
        ),
    )


def test_a_chosen_prompt_that_is_not_in_the_library_is_named() -> None:
    by = settings(prompts={"use": {"issues": "issues/analyse"}}, lines={"prompts.use.issues": 22})
    assert no(candidate(), by) == (
        "no prompt",
        (
            "hls.yaml:22 (prompts.use.issues) chooses the prompt issues/analyse for issues.opened, and the "
            "library has none of that name; correct it"
        ),
    )


# --- shadows ---------------------------------------------------------------------------------------------------------

SHORT = {"prompt": "issues/short", "shadow": True}


@pytest.mark.parametrize(
    ("everywhere", "here", "prompt", "shadow"),
    [
        ({"issues.opened": SHORT}, {}, "issues/analyze", Shadow("issues/short", "prompts.use.issues.opened")),
        ({"issues": SHORT}, {}, "issues/analyze", Shadow("issues/short", "prompts.use.issues")),
        (
            {"issues.opened": "issues/triage"},
            {"issues.opened": SHORT},
            "issues/triage",
            Shadow("issues/short", "repositories[0].prompts.use.issues.opened"),
        ),
        (
            {"issues": "issues/triage", "issues.opened": SHORT},
            {},
            "issues/triage",
            Shadow("issues/short", "prompts.use.issues.opened"),
        ),
        ({"issues.opened": SHORT}, {"issues": "issues/short"}, "issues/short", None),
        (
            {"issues.opened": {"prompt": "issues/none", "shadow": True}},
            {"issues": "issues/triage"},
            "issues/triage",
            Shadow("issues/none", "prompts.use.issues.opened"),
        ),
        ({"issues.edited": SHORT, "issues.opened": "issues/short"}, {}, "issues/short", None),
    ],
    ids=[
        "beside the one whose `on:` it is",
        "for all actions",
        "beside a choice of the whole file",
        "beside a choice of the same place",
        "the chosen one itself",
        "unknown",
        "of another event",
    ],
)
def test_a_shadow_runs_beside_the_prompt_that_goes_to_work(
    everywhere: dict[str, Any], here: dict[str, Any], prompt: str, shadow: Shadow | None
) -> None:
    by = settings({"name": "octo/hello", "prompts": {"use": here}}, prompts={"use": everywhere})
    verdict = decide(candidate(), by, prompts=TWO)
    assert isinstance(verdict, Rule)
    assert (verdict.prompt, verdict.shadow) == (prompt, shadow)


def test_an_event_that_is_switched_off_has_no_shadow_either() -> None:
    by = settings(
        {"name": "octo/hello", "prompts": {"use": {"issues": False}}}, prompts={"use": {"issues.opened": SHORT}}
    )
    assert no(candidate(), by)[0] == "prompt switched off"


def test_a_shadow_alone_does_not_make_an_event_worked_on() -> None:
    by = settings(prompts={"use": {"issues": SHORT}}, lines={"prompts": 20, "prompts.use.issues": 22})
    verdict = decide(candidate(), by, prompts={"issues.opened": ("issues/short",)})
    assert verdict == Ignored(
        "no prompt",
        "no prompt in prompts/ has issues.opened in its `on:`; add it to one to work on it "
        "(hls.yaml:22 (prompts.use.issues) has issues/short run beside it only), or add prompts.directory to hls.yaml "
        "and set it to another folder",
    )


# --- reviews that are asked for --------------------------------------------------------------------------------------

WE = Account("hls-bot", 99, "User")


def asked_for(reviewer: str | None, **known: Any) -> Candidate:
    return candidate("pull_request.review_requested", reviewer=reviewer, **known)


@pytest.mark.parametrize("events", [["pull_request.closed"], ["pull_request.review_requested"], ["pull_request"]])
@pytest.mark.parametrize("draft", [False, True])
def test_a_review_that_our_account_is_asked_for_is_given_even_where_opened_is_not_enabled(
    events: list[str], draft: bool
) -> None:
    by = settings({"name": "octo/hello", "events": events})
    assert yes(asked_for("HLS-bot", draft=draft), by, we=WE) == "pull_requests/analyze"


def test_a_review_that_somebody_else_is_asked_for_is_theirs() -> None:
    why = "the review of zoe was asked for; request one of hls-bot, which is HLS, to have it worked on"
    assert no(asked_for("zoe"), we=WE) == ("another's review", why)
    assert no(asked_for(None), we=WE)[1].startswith("the review of a team was asked for")


def test_as_long_as_nobody_knows_who_we_are_a_request_is_let_in_for_the_worker_to_decide() -> None:
    assert yes(asked_for("zoe"), we=None) == "pull_requests/analyze"


def test_where_nothing_of_pull_requests_is_enabled_a_request_is_not_either() -> None:
    by = settings({"name": "octo/hello", "events": ["issues", "pull_request_review"]})
    assert no(asked_for("hls-bot"), by, we=WE)[0] == "event not enabled"
