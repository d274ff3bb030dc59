"""What each of GitHub's refusals means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.clients.refusals import redirected, refused
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
IN_AN_HOUR = str(int((NOON + timedelta(hours=1)).timestamp()))
CALL = "POST /repos/o/r/issues/7/comments"


def refuse(status: int, message: str | None = "No", **headers: str) -> StepFailed:
    return refused(CALL, status, {name.replace("_", "-"): value for name, value in headers.items()}, message, NOON)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (refuse(400, "Problems parsing JSON"), Retryable, f"{CALL}: 400 Problems parsing JSON"),
        (refuse(401, "Bad credentials"), DependencyDown, f"{CALL}: 401 Bad credentials"),
        (
            refuse(403, "Resource not accessible", x_accepted_github_permissions="issues=write"),
            Permanent,
            f"{CALL}: 403 Resource not accessible: the token lacks a permission; GitHub asks for issues=write",
        ),
        (
            refuse(403, "No", x_accepted_oauth_scopes="repo"),
            Permanent,
            f"{CALL}: 403 No: the token lacks a permission or a scope; GitHub asks for the scope repo",
        ),
        (refuse(403), Permanent, f"{CALL}: 403 No: the token or its account lacks a permission"),
        (
            refuse(403, "Repository was archived so is read-only."),
            Permanent,
            f"{CALL}: 403 Repository was archived so is read-only.: the repository is archived, and so read-only",
        ),
        (
            refuse(403, "Unable to create comment because issue is locked."),
            Permanent,
            f"{CALL}: 403 Unable to create comment because issue is locked.: the conversation is locked",
        ),
        (refuse(403, None), DependencyDown, f"{CALL}: 403 Forbidden, which is not GitHub's"),
        (
            refuse(404, "Not Found"),
            Permanent,
            f"{CALL}: 404 Not Found: deleted, moved, or not visible to this token",
        ),
        (refuse(404, None), DependencyDown, f"{CALL}: 404 Not Found, which is not GitHub's"),
        (refuse(408, None), DependencyDown, f"{CALL}: 408 Request Timeout"),
        (refuse(409, "Conflict"), Retryable, f"{CALL}: 409 Conflict"),
        (
            refuse(410, "This issue was deleted"),
            Permanent,
            f"{CALL}: 410 This issue was deleted: deleted, moved, or not visible to this token",
        ),
        (refuse(422, "Validation Failed"), Retryable, f"{CALL}: 422 Validation Failed"),
        (refuse(429, "Too many"), DependencyDown, f"{CALL}: 429 Too many"),
        (refuse(451, "No"), Permanent, f"{CALL}: 451 No: deleted, moved, or not visible to this token"),
        (refuse(500, None), DependencyDown, f"{CALL}: 500 Internal Server Error"),
        (refuse(502, None), DependencyDown, f"{CALL}: 502 Bad Gateway"),
        (refuse(599, None), DependencyDown, f"{CALL}: 599 (no such HTTP status)"),
    ],
    ids=lambda value: str(value)[len(CALL) + 2 :][:24] if isinstance(value, StepFailed) else "",
)
def test_a_refusal_says_whose_turn_it_is(error: StepFailed, kind: type[StepFailed], text: str) -> None:
    assert type(error) is kind
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "not_before"),
    [
        (refuse(429, retry_after="30"), NOON + timedelta(seconds=30)),
        (refuse(429), NOON + timedelta(seconds=60)),
        (refuse(403, "You have exceeded a secondary rate limit."), NOON + timedelta(seconds=60)),
        (refuse(403, "You have triggered an abuse detection mechanism"), NOON + timedelta(seconds=60)),
        (refuse(403, "Wait", retry_after="5"), NOON + timedelta(seconds=5)),
        (
            refuse(403, "API rate limit exceeded", x_ratelimit_remaining="0", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(hours=1),
        ),
        (
            refuse(429, "No", x_ratelimit_remaining="0", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(hours=1),
        ),
        (
            refuse(429, "No", x_ratelimit_remaining="12", x_ratelimit_reset=IN_AN_HOUR),
            NOON + timedelta(seconds=60),
        ),
        (refuse(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="1"), NOON),
        (refuse(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="9999999999"), NOON + timedelta(hours=2)),
        (refuse(403, "No", x_ratelimit_remaining="0", x_ratelimit_reset="soon"), NOON + timedelta(seconds=60)),
        (refuse(503, None, retry_after="120"), NOON + timedelta(seconds=120)),
        (refuse(503, None), None),
    ],
)
def test_github_says_when_it_may_be_asked_again(error: StepFailed, not_before: datetime | None) -> None:
    assert isinstance(error, DependencyDown)
    assert error.not_before == not_before


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "set github.token to a valid token: this one is wrong, expired or revoked"),
        (
            429,
            "nothing to do but wait: the quota fills up again; fewer repositories or events use less of it",
        ),
        (500, "nothing to do but wait: GitHub has trouble (https://www.githubstatus.com)"),
    ],
)
def test_the_operator_is_told_what_to_do(status: int, remedy: str) -> None:
    error = refuse(status)
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
def test_a_redirect_inside_github_is_a_move_and_another_is_a_wrong_address(
    location: str | None, kind: type[StepFailed]
) -> None:
    error = redirected("GET /repos/o/r/issues/7", 301, location, "https://api.github.com")
    assert type(error) is kind
    assert str(error).startswith("GET /repos/o/r/issues/7: 301 Moved Permanently")
