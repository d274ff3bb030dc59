"""Errors of the account, which the message of the error names; other errors 400 are of the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.analysis import UnusableReply
from hls_handler.claude.provider import Provider, find_date
from hls_handler.claude.providers import Providers, connect
from hls_handler.errors import AccountLimited, DependencyDown, Permanent, StepFailed
from hls_handler.settings.providers import ClaudeSettings
from tests.claude.test_anthropic_api import KEY, RENDERED
from tests.claude.test_providers import MESSAGE
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
        "messages.0: the date 2026-12-01 is no text",
    ],
)
def test_other_errors_are_the_prompts(provider: Provider, server: FakeServer, message: str) -> None:
    server.says = [rejected(message)]
    with pytest.raises(Permanent, match="shorten or correct it"):
        provider.ask(RENDERED)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Output blocked by content filtering policy"},
        {"message": "The response was filtered", "code": "content_filter"},
    ],
)
def test_blocked_reply_is_a_refusal(
    provider: Provider, server: FakeServer, error: dict[str, str]
) -> None:
    server.says = [Say(400, {"type": "error", "error": error}, {"request-id": "req_1"})]
    answer = provider.ask(RENDERED)
    assert isinstance(answer, UnusableReply)
    assert answer.why == "refused"
    assert answer.problem == f"Claude refused to answer: {error['message']}"
    assert (answer.usage.all_input_tokens, answer.usage.output_tokens) == (0, 0)
    assert (answer.usage.cost_usd, answer.usage.request_id) == (0, "req_1")


def test_request_that_a_gateway_finds_too_large_names_the_gateway(
    provider: Provider, server: FakeServer
) -> None:
    server.says = [Say(413, b"<html>Request Entity Too Large</html>")]
    with pytest.raises(Permanent, match="a gateway between HLS and Claude limits the size"):
        provider.ask(RENDERED)


def test_same_rejection_of_two_conversations_is_the_configurations(server: FakeServer) -> None:
    given = ClaudeSettings.model_validate({"api_key": KEY, "base_url": server.url})
    wrong = rejected("on-demand throughput isn't supported; use an inference profile")
    long = rejected("prompt is too long: 212345 tokens > 200000 maximum")
    blocked = rejected("Output blocked by content filtering policy")

    def ask(conversation: str, say: Say) -> str:
        server.says = [say]
        try:
            providers.answer(RENDERED, conversation=conversation)
        except StepFailed as exc:
            return type(exc).__name__
        return "answered"

    with closing(Providers(given, clock=lambda: 0.0, now=lambda: NOON)) as providers:
        assert [ask("1", wrong), ask("1", wrong)] == ["RequestRejected"] * 2
        assert ask("2", long) == "RequestRejected"
        assert ask("2", wrong) == "RequestRejected"
        assert ask("3", blocked) == "answered"
        assert [ask("2", wrong), ask("3", wrong)] == ["RequestRejected", "AccountLimited"]
        assert ask("2", wrong) == "AccountLimited"
        assert ask("4", Say(body=MESSAGE)) == "answered"
        assert ask("5", wrong) == "RequestRejected"
        server.says = [wrong]
        with pytest.raises(AccountLimited) as caught:
            providers.answer(RENDERED, conversation="6")
    assert str(caught.value) == (
        f"Claude answered 400 to {RENDERED.prompt.id}: on-demand throughput isn't supported; use an"
        " inference profile"
    )
    assert caught.value.remedy.startswith("correct claude.model, claude.kind or what else")
    assert caught.value.not_before == NOON + timedelta(minutes=20)


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
