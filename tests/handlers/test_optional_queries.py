"""Requests to GitHub that a delivery can do without."""

from __future__ import annotations

import pytest

from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed
from hls_handler.handlers.reader import read_optional


def fail(error: StepFailed) -> str:
    raise error


def down(message: str, *, applies_to_all_calls: bool) -> DependencyDown:
    return DependencyDown(message, dependency="github", remedy="Wait.", applies_to_all_calls=applies_to_all_calls)


def test_text_that_was_read_has_no_problem() -> None:
    assert read_optional(lambda: "text", "") == ("text", "")


@pytest.mark.parametrize(
    "error",
    [
        Permanent("POST /graphql: FORBIDDEN"),
        Retryable("POST /graphql: error: complexity"),
        down("POST /graphql: 502", applies_to_all_calls=False),
    ],
    ids=["permission", "GraphQL error", "5xx or timeout"],
)
def test_failed_request_gives_the_replacement_and_the_reason(error: StepFailed) -> None:
    assert read_optional(lambda: fail(error), "nothing") == ("nothing", str(error))


def test_outage_that_applies_to_all_requests_is_raised() -> None:
    with pytest.raises(DependencyDown, match="rate limit"):
        read_optional(lambda: fail(down("GET /repos: 429 rate limit", applies_to_all_calls=True)), "nothing")
