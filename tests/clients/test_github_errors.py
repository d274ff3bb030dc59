"""Translation of GitHub's error responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.clients.github_errors import translate_redirect, translate_status
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
IN_AN_HOUR = str(int((NOON + timedelta(hours=1)).timestamp()))
CALL = "POST /repos/o/r/issues/7/comments"


def error_for(status: int, message: str | None = "No", **headers: str) -> StepFailed:
    return translate_status(
        CALL, status, {name.replace("_", "-"): value for name, value in headers.items()}, message, NOON
    )


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (error_for(400, "Problems parsing JSON"), Retryable, f"{CALL}: 400 Problems parsing JSON"),
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
            error_for(403, "Repository was archived so is read-only."),
            Permanent,
            f"{CALL}: 403 Repository was archived so is read-only.: the repository is archived, and so read-only",
        ),
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
        (error_for(408, None), DependencyDown, f"{CALL}: 408 Request Timeout"),
        (error_for(409, "Conflict"), Retryable, f"{CALL}: 409 Conflict"),
        (
            error_for(410, "This issue was deleted"),
            Permanent,
            f"{CALL}: 410 This issue was deleted: deleted, moved, or not visible to this token",
        ),
        (error_for(422, "Validation Failed"), Retryable, f"{CALL}: 422 Validation Failed"),
        (error_for(429, "Too many"), DependencyDown, f"{CALL}: 429 Too many"),
        (error_for(451, "No"), Permanent, f"{CALL}: 451 No: deleted, moved, or not visible to this token"),
        (error_for(500, None), DependencyDown, f"{CALL}: 500 Internal Server Error"),
        (error_for(502, None), DependencyDown, f"{CALL}: 502 Bad Gateway"),
        (error_for(599, None), DependencyDown, f"{CALL}: 599 (no such HTTP status)"),
    ],
    ids=lambda value: str(value)[len(CALL) + 2 :][:24] if isinstance(value, StepFailed) else "",
)
def test_status_is_translated_to_an_error(error: StepFailed, kind: type[StepFailed], text: str) -> None:
    assert type(error) is kind
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "not_before"),
    [
        (error_for(429, retry_after="30"), NOON + timedelta(seconds=30)),
        (error_for(429), NOON + timedelta(seconds=60)),
        (error_for(403, "You have exceeded a secondary rate limit."), NOON + timedelta(seconds=60)),
        (error_for(403, "You have triggered an abuse detection mechanism"), NOON + timedelta(seconds=60)),
        (error_for(403, "Wait", retry_after="5"), NOON + timedelta(seconds=5)),
        (
            error_for(403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(hours=1),
        ),
        (
            error_for(429, "No", x_ratelimit_remaining="0", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(hours=1),
        ),
        (
            error_for(429, "No", x_ratelimit_remaining="12", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(seconds=60),
        ),
        (error_for(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="1"), NOON),
        (error_for(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="9999999999"), NOON + timedelta(hours=2)),
        (error_for(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="soon"), NOON + timedelta(seconds=60)),
        (error_for(503, None, retry_after="120"), NOON + timedelta(seconds=120)),
        (error_for(503, None), None),
    ],
)
def test_not_before_comes_from_the_headers(error: StepFailed, not_before: datetime | None) -> None:
    assert isinstance(error, DependencyDown)
    assert error.not_before == not_before


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "set github.token to a valid token: this one is wrong, expired or revoked"),
        (
            429,
            "wait until the rate limit resets; fewer repositories or events use less of the quota",
        ),
        (500, "wait: GitHub is temporarily unavailable (https://www.githubstatus.com)"),
    ],
)
def test_error_has_a_remedy(status: int, remedy: str) -> None:
    error = error_for(status)
    assert isinstance(error, DependencyDown)
    assert (error.dependency, error.remedy) == ("github", remedy)


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
