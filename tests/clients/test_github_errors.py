"""Translation of GitHub's error responses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from hls_handler.clients.github_errors import translate_graphql_errors, translate_redirect, translate_status
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
IN_AN_HOUR = str(int((NOON + timedelta(hours=1)).timestamp()))
CALL = "POST /repos/o/r/issues/7/comments"


Translate = Callable[[], StepFailed]


def error_for(status: int, message: str | None = "No", **headers: str) -> Translate:
    """Return a function that translates a response."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return partial(translate_status, CALL, status, given, message, NOON)


@pytest.mark.parametrize(
    ("translate", "kind", "text"),
    [
        (error_for(401, "Bad credentials"), DependencyDown, f"{CALL}: 401 Bad credentials"),
        (
            error_for(403, "Resource not accessible", x_accepted_github_permissions="issues=write"),
            Permanent,
            f"{CALL}: 403 Resource not accessible: the token lacks a permission; GitHub asks for issues=write",
        ),
        (
            error_for(403, "No", x_accepted_oauth_scopes="repo"),
            Permanent,
            f"{CALL}: 403 No: the token lacks a permission or a scope; GitHub asks for the scope repo",
        ),
        (error_for(403), Permanent, f"{CALL}: 403 No: the token or its account lacks a permission"),
        (
            error_for(403, "Unable to create comment because issue is locked."),
            Permanent,
            f"{CALL}: 403 Unable to create comment because issue is locked.: the conversation is locked",
        ),
        (error_for(403, None), DependencyDown, f"{CALL}: 403 Forbidden: not a response of GitHub's API"),
        (
            error_for(404, "Not Found"),
            Permanent,
            f"{CALL}: 404 Not Found: deleted, moved, or not visible to this token",
        ),
        (error_for(404, None), DependencyDown, f"{CALL}: 404 Not Found: not a response of GitHub's API"),
        (error_for(409, "Conflict"), Retryable, f"{CALL}: 409 Conflict"),
        (error_for(429, "Too many"), DependencyDown, f"{CALL}: 429 Too many"),
        (error_for(451, "No"), Permanent, f"{CALL}: 451 No: deleted, moved, or not visible to this token"),
        (error_for(500, None), DependencyDown, f"{CALL}: 500 Internal Server Error"),
    ],
)
def test_status_is_translated_to_an_error(translate: Translate, kind: type[StepFailed], text: str) -> None:
    error = translate()
    assert type(error) is kind
    assert str(error) == text


SAML = (
    "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this "
    "organization."
)
IP_LIST = (
    "Although you appear to have the correct authorization credentials, the `octo` organization has an IP allow list "
    "enabled, and your IP address is not permitted to access this resource."
)


@pytest.mark.parametrize(
    ("translate", "cure"),
    [
        (
            error_for(403, "Commenting is disabled on issues with more than 2500 comments", x_accepted_oauth_scopes=""),
            "continue in a new one; for a fallback issue, change comments.post_to",
        ),
        (
            error_for(403, SAML, x_accepted_oauth_scopes="repo"),
            "authorize the token for the organization (Settings, Tokens, Configure SSO)",
        ),
        (
            error_for(403, IP_LIST, x_accepted_oauth_scopes="repo"),
            "an owner of the organization adds this host to its IP allow list",
        ),
        (
            error_for(422, "Validation Failed: data: User is blocked"),
            "the author or the repository's owner blocked HLS's account, and can unblock it (Blocked users)",
        ),
    ],
    ids=["2,500 comments", "SAML", "IP allow list", "blocked"],
)
def test_rejection_has_the_reason_of_github_and_a_remedy(translate: Translate, cure: str) -> None:
    error = translate()
    assert type(error) is Permanent
    assert str(error).startswith(f"{CALL}: 4")
    assert str(error).endswith(f": {cure}")
    assert "permission" not in str(error)


USED_UP = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": IN_AN_HOUR}


@pytest.mark.parametrize(
    ("error", "headers", "kind", "text"),
    [
        ({"type": "NOT_FOUND", "message": "No"}, {}, Permanent, "NOT_FOUND: No: deleted, moved, or not visible"),
        ({"type": "FORBIDDEN", "message": "No"}, {}, Permanent, "FORBIDDEN: No: the token or its account lacks a "),
        ({"type": "INSUFFICIENT_SCOPES", "message": "No"}, {}, Permanent, "INSUFFICIENT_SCOPES: No: the token or its"),
        ({"type": "FORBIDDEN", "message": SAML}, {}, Permanent, f"FORBIDDEN: {SAML}: authorize the token for the org"),
        (
            {"message": "Field 'x' doesn't exist", "extensions": {"code": "undefinedField"}},
            {},
            Permanent,
            "undefinedField: Field 'x' doesn't exist: this GitHub Enterprise Server is too old for HLS",
        ),
        ({"type": "ODD", "message": "no ghp_x here"}, {}, Retryable, "ODD: no *** here"),
        ({"message": "Something went wrong"}, {}, DependencyDown, "error: Something went wrong"),
        ("odd", {}, DependencyDown, ""),
        ({"type": "RATE_LIMITED", "message": "API rate limit exceeded"}, USED_UP, DependencyDown, "RATE_LIMITED: API"),
        ({"message": "You have exceeded a secondary rate limit."}, {}, DependencyDown, "error: You have exceeded a"),
    ],
)
def test_error_of_a_graphql_query_is_translated(
    error: object, headers: dict[str, str], kind: type[StepFailed], text: str
) -> None:
    translated = translate_graphql_errors([error], headers, NOON, secret="ghp_x")
    assert type(translated) is kind
    assert str(translated).startswith(f"POST /graphql: {text}")


def test_used_up_limit_of_graphql_stops_only_queries_and_a_secondary_limit_all_calls() -> None:
    used_up = translate_graphql_errors([{"type": "RATE_LIMITED", "message": "No"}], USED_UP, NOON, secret="ghp_x")
    secondary = translate_graphql_errors([{"message": "a secondary rate limit"}], {}, NOON, secret="ghp_x")
    assert isinstance(used_up, DependencyDown)
    assert (used_up.not_before, used_up.applies_to_all_calls) == (NOON + timedelta(hours=1), False)
    assert isinstance(secondary, DependencyDown)
    assert (secondary.not_before, secondary.applies_to_all_calls) == (NOON + timedelta(seconds=60), True)


SUSPENDED = "ask https://support.github.com to review the account: it was suspended or taken for spam"
TOO_FAST = "wait: GitHub limits how fast an account writes; a greater github.min_seconds_between_writes avoids it"
SECONDARY = "You have exceeded a secondary rate limit and have been temporarily blocked from creation."


@pytest.mark.parametrize(
    ("translate", "remedy", "waits_s"),
    [
        (error_for(401), "set github.token to a valid token: this one is wrong, expired or revoked", None),
        (error_for(500), "wait: GitHub is temporarily unavailable (https://www.githubstatus.com)", None),
        (error_for(403, "Sorry. Your account was suspended"), SUSPENDED, None),
        (error_for(422, "Validation Failed: data: was flagged as spam"), SUSPENDED, None),
        (error_for(422, "Validation Failed: data: was submitted too quickly"), TOO_FAST, 60),
        (error_for(403, SECONDARY), TOO_FAST, 60),
    ],
)
def test_error_that_is_no_defect_waits_and_has_a_remedy(translate: Translate, remedy: str, waits_s: int | None) -> None:
    error = translate()
    assert isinstance(error, DependencyDown)
    assert (error.dependency, error.remedy) == ("github", remedy)
    assert error.not_before == (None if waits_s is None else NOON + timedelta(seconds=waits_s))


@pytest.mark.parametrize(
    ("translate", "not_before"),
    [
        (error_for(429, retry_after="30"), NOON + timedelta(seconds=30)),
        (error_for(403, "You have exceeded a secondary rate limit."), NOON + timedelta(seconds=60)),
        (error_for(403, "Wait", retry_after="5"), NOON + timedelta(seconds=5)),
        (
            error_for(403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(hours=1),
        ),
        (
            error_for(429, "No", x_ratelimit_remaining="12", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(seconds=60),
        ),
        (error_for(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="1"), NOON),
        (error_for(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="9999999999"), NOON + timedelta(hours=2)),
        (error_for(503, None), None),
    ],
)
def test_not_before_comes_from_the_headers(translate: Translate, not_before: datetime | None) -> None:
    error = translate()
    assert isinstance(error, DependencyDown)
    assert error.not_before == not_before


@pytest.mark.parametrize(
    ("translate", "stops_all"),
    [
        (error_for(401), True),
        (error_for(503, None, retry_after="7"), True),
        (error_for(503, None), False),
        (error_for(404, None), False),
    ],
)
def test_other_calls_stop_only_for_an_error_that_concerns_them(translate: Translate, stops_all: bool) -> None:
    error = translate()
    assert isinstance(error, DependencyDown)
    assert error.applies_to_all_calls is stops_all


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("https://api.github.com/repositories/1/issues/7", Permanent),
        ("/repositories/1/issues/7", Permanent),
        (None, Permanent),
        ("https://login.example.com/", DependencyDown),
        ("http://api.github.com/repos/o/r", DependencyDown),
    ],
)
def test_redirect_to_another_host_is_a_wrong_base_url(location: str | None, kind: type[StepFailed]) -> None:
    error = translate_redirect("GET /repos/o/r/issues/7", 301, location, "https://api.github.com")
    assert type(error) is kind
    assert str(error).startswith("GET /repos/o/r/issues/7: 301 Moved Permanently")
