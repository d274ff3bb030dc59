"""Translation of GitHub's error responses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.errors import (
    DependencyDown,
    Forbidden,
    NotFound,
    Permanent,
    Retryable,
    StepFailed,
)
from hls_handler.github.errors import translate_graphql_errors, translate_redirect, translate_status
from tests.github.review_world import NOON

IN_AN_HOUR = str(int((NOON + timedelta(hours=1)).timestamp()))
CALL = "POST /repos/o/r/issues/7/comments"
SAML = (
    "Resource protected by organization SAML enforcement. You must grant your Personal Access token"
    " access."
)
RESTRICTED = "Interactions on this repository have been restricted to prior contributors only."
LIMIT_CURE = (
    "an interaction limit keeps HLS's account out: give it the role write, or end the limit"
    " (Settings, Moderation options)"
)
SECONDARY = (
    "You have exceeded a secondary rate limit and have been temporarily blocked from creation."
)
SUSPENDED = (
    "ask https://support.github.com to review the account: it was suspended or taken for spam"
)
TOO_FAST = (
    "wait: GitHub limits how fast an account writes; a greater github.min_seconds_between_writes"
    " avoids it"
)
LIMIT = "wait until the rate limit resets; fewer repositories or events use less of the quota"
ADDRESS = "check github.base_url (Enterprise Server: https://HOST/api/v3), and proxies and "


def translate(status: int, message: str | None, headers: dict[str, str]) -> StepFailed:
    return translate_status(CALL, status, headers, message, NOON)


@pytest.mark.parametrize(
    ("status", "message", "headers", "reason"),
    [
        (
            403,
            "No",
            {"x-accepted-github-permissions": "issues=write"},
            "GitHub asks for issues=write",
        ),
        (
            403,
            "No",
            {"x-accepted-oauth-scopes": "repo"},
            "the token lacks a permission or a scope; GitHub asks for ",
        ),
        (403, "No", {}, "the token or its account lacks a permission"),
        (
            403,
            "Unable to create comment because issue is locked.",
            {},
            "the conversation is locked",
        ),
        (
            *(403, "Commenting is disabled on issues with more than 2500 comments"),
            *(
                {"x-accepted-github-permissions": "issues=write"},
                "continue in a new one; for a fallback issue, change ",
            ),
        ),
        (410, "Issues has been disabled in this repository.", {}, "deleted, moved, or not visible"),
        (422, f"Validation Failed: could not be created. {RESTRICTED}", {}, LIMIT_CURE),
        (403, RESTRICTED, {"x-accepted-github-permissions": "issues=write"}, LIMIT_CURE),
        (
            *(403, SAML, {"x-accepted-oauth-scopes": "repo"}),
            "authorize the token for the organization (Settings, Tokens, Configure SSO)",
        ),
    ],
)
def test_rejection_has_the_reason_of_github_and_a_cure(
    status: int, message: str, headers: dict[str, str], reason: str
) -> None:
    error = translate(status, message, headers)
    assert isinstance(error, Permanent)
    is_of_one = "locked" in message or "2500 comments" in message
    assert isinstance(error, Forbidden) == (status == 403 and not is_of_one)
    assert str(error).startswith(f"{CALL}: {status} {message}: ")
    assert reason in str(error)


@pytest.mark.parametrize(
    ("status", "message", "is_gone"),
    [(404, "Not Found", False), (410, "This issue was deleted", True)],
)
def test_missing_object_is_named_with_its_call(status: int, message: str, is_gone: bool) -> None:
    error = translate(status, message, {})
    assert isinstance(error, NotFound)
    assert (error.call, error.is_gone) == (CALL, is_gone)
    reason = "deleted, moved, or not visible to this token"
    assert str(error) == f"{CALL}: {status} {message}: {reason}"


@pytest.mark.parametrize(
    ("status", "message", "headers", "remedy", "waits_s", "stops_all"),
    [
        (
            401,
            "No",
            {},
            "set github.token to a valid token: this one is wrong, expired or revoked",
            None,
            True,
        ),
        (403, "Sorry. Your account was suspended", {}, SUSPENDED, None, True),
        (422, "Validation Failed: data: was submitted too quickly", {}, TOO_FAST, 60, True),
        (403, SECONDARY, {}, TOO_FAST, 60, True),
        (403, "Wait", {"retry-after": "5"}, LIMIT, 5, True),
        (
            403,
            "No",
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": IN_AN_HOUR},
            LIMIT,
            3600,
            True,
        ),
        (
            403,
            "No",
            {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999999999"},
            LIMIT,
            7200,
            True,
        ),
        (
            429,
            "No",
            {"x-ratelimit-remaining": "12", "x-ratelimit-reset": IN_AN_HOUR},
            LIMIT,
            60,
            True,
        ),
        (
            503,
            None,
            {},
            "wait: GitHub is temporarily unavailable (https://www.githubstatus.com)",
            None,
            False,
        ),
        (503, None, {"retry-after": "7"}, "wait: GitHub is temporarily unavailable ", 7, True),
        (404, None, {}, ADDRESS, None, False),  # not a response of GitHub's API
        (401, None, {}, ADDRESS, None, False),  # a login before GitHub
    ],
)
def test_error_that_is_no_defect_waits_and_has_a_remedy(
    status: int,
    message: str | None,
    headers: dict[str, str],
    remedy: str,
    waits_s: int | None,
    stops_all: bool,
) -> None:
    error = translate(status, message, headers)
    assert isinstance(error, DependencyDown)
    assert error.dependency == "github"
    assert error.remedy.startswith(remedy)
    assert error.not_before == (None if waits_s is None else NOON + timedelta(seconds=waits_s))
    assert error.applies_to_all_calls is stops_all


USED_UP = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": IN_AN_HOUR}


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            {"type": "NOT_FOUND", "message": "No"},
            Permanent,
            "NOT_FOUND: No: deleted, moved, or not visible",
        ),
        (
            {"type": "FORBIDDEN", "message": "No"},
            Forbidden,
            "FORBIDDEN: No: the token or its account lacks a ",
        ),
        (
            {"type": "FORBIDDEN", "message": SAML},
            Forbidden,
            f"FORBIDDEN: {SAML}: authorize the token for the org",
        ),
        (
            {"message": "Field 'x' doesn't exist", "extensions": {"code": "undefinedField"}},
            Permanent,
            (
                "undefinedField: Field 'x' doesn't exist: this GitHub Enterprise Server is too old"
                " for HLS"
            ),
        ),
        ({"type": "ODD", "message": "no ghp_x here"}, Retryable, "ODD: no *** here"),
        ({"message": "Something went wrong"}, DependencyDown, "error: Something went wrong"),
        ("odd", DependencyDown, ""),
    ],
)
def test_error_of_a_graphql_query_is_translated(
    error: object, kind: type[StepFailed], text: str
) -> None:
    translated = translate_graphql_errors([error], {}, NOON, secret="ghp_x")
    assert type(translated) is kind
    assert str(translated).startswith(f"POST /graphql: {text}")


def test_used_up_limit_of_graphql_stops_only_queries_and_a_secondary_limit_all_calls() -> None:
    used_up = translate_graphql_errors(
        [{"type": "RATE_LIMITED", "message": "No"}], USED_UP, NOON, secret="ghp_x"
    )
    secondary = translate_graphql_errors(
        [{"message": "a secondary rate limit"}], {}, NOON, secret="ghp_x"
    )
    assert isinstance(used_up, DependencyDown)
    assert isinstance(secondary, DependencyDown)
    assert (used_up.applies_to_all_calls, used_up.not_before) == (False, NOON + timedelta(hours=1))
    assert (secondary.applies_to_all_calls, secondary.not_before) == (
        True,
        NOON + timedelta(seconds=60),
    )


@pytest.mark.parametrize(
    ("location", "message", "kind"),
    [
        ("https://api.github.com/repositories/1/issues/7", "Moved Permanently", Permanent),
        (None, "Moved Permanently", Permanent),
        ("https://api.github.com/login", None, DependencyDown),
        ("https://login.example.com/", "Moved Permanently", DependencyDown),
        ("http://api.github.com/repos/o/r", "Moved Permanently", DependencyDown),
        ("http://[bad", "Moved Permanently", DependencyDown),
        ("http://[bad", None, DependencyDown),
    ],
)
def test_redirect_that_is_not_of_the_api_is_a_wrong_base_url(
    location: str | None, message: str | None, kind: type[StepFailed]
) -> None:
    call = "GET /repos/o/r/issues/7"
    error = translate_redirect(call, 301, location, message, "https://api.github.com")
    assert type(error) is kind
    assert str(error).startswith("GET /repos/o/r/issues/7: 301 Moved Permanently")
