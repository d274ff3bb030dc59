"""Errors of the account, which the message of the error names; other errors 400 are of the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.claude.provider import Provider
from hls_handler.claude.provider_errors import find_date
from hls_handler.claude.providers import connect
from hls_handler.errors import AccountLimited, DependencyDown, Permanent
from hls_handler.settings.providers import ClaudeSettings
from tests.claude.test_anthropic_api import KEY, RENDERED
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON

USAGE_LIMIT = (
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at"
    " 00:00 UTC."
)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


def rejected(message: str, status: int = 400) -> Say:
    error = {"type": "invalid_request_error", "message": message}
    return Say(status, {"type": "error", "error": error})


@pytest.fixture
def provider(server: FakeServer) -> Iterator[Provider]:
    given = ClaudeSettings.model_validate({"api_key": KEY, "base_url": server.url})
    made = Provider(given, given, connect, clock=lambda: 0.0, now=lambda: NOON)
    with closing(made):
        yield made


@pytest.mark.parametrize(
    ("say", "remedy"),
    [
        (rejected(USAGE_LIMIT), "wait, or see the limits and the state of the account of"),
        (rejected("The credit balance is used up until 2026-12-01", 402), "add credit, or raise"),
    ],
)
def test_limit_of_the_account_is_asked_about_again_until_the_named_date(
    provider: Provider, server: FakeServer, say: Say, remedy: str
) -> None:
    server.says = [say]
    with pytest.raises(AccountLimited, match="2026-12-01") as caught:
        provider.ask(RENDERED)
    failed = caught.value
    assert failed.remedy.startswith(remedy)
    assert (failed.not_before, failed.may_have_succeeded) == (NOON + timedelta(minutes=10), False)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "message",
    ["This organization has been disabled.", "Billing hard limit has been reached"],
)
def test_error_of_the_account_without_a_date_waits_as_a_rejected_key(
    provider: Provider, server: FakeServer, message: str
) -> None:
    server.says = [rejected(message)]
    with pytest.raises(DependencyDown) as caught:
        provider.ask(RENDERED)
    assert not isinstance(caught.value, AccountLimited)
    assert caught.value.not_before is None


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 212345 tokens > 200000 maximum",
        "Output blocked by content filtering policy",
        "messages.0: the date 2026-12-01 is no text",
    ],
)
def test_other_errors_are_the_prompts(provider: Provider, server: FakeServer, message: str) -> None:
    server.says = [rejected(message)]
    with pytest.raises(Permanent, match="shorten or correct it"):
        provider.ask(RENDERED)


def test_name_of_a_prompt_says_nothing_about_the_account(
    provider: Provider, server: FakeServer
) -> None:
    server.says = [rejected("prompt is too long: 212345 tokens > 200000 maximum")]
    prompt = replace(RENDERED.prompt, id="issues/billing@3f9c2a")
    with pytest.raises(Permanent, match="400 to issues/billing@3f9c2a: prompt is too long"):
        provider.ask(replace(RENDERED, prompt=prompt))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You will regain access on 2026-12-01 at 00:00 UTC.", DECEMBER),
        ("Resets at 2026-12-01T06:30:00Z", datetime(2026, 12, 1, 6, 30, tzinfo=UTC)),
        ("Resets at 2026-12-01 06:30", datetime(2026, 12, 1, 6, 30, tzinfo=UTC)),
        ("Used up on 2026-11-20, resets on 2026-12-01", DECEMBER),
        ("Used up on 2026-11-20", None),
        ("Order 2026-13-45 is late", None),
        ("no date", None),
    ],
)
def test_date_in_a_message(text: str, found: datetime | None) -> None:
    assert find_date(text, NOON) == found
