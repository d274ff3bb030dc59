"""An unknown error 400: of the account if a fixed question gets it too, else of the prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hls_handler.analysis import Reply
from hls_handler.claude.account_probe import AccountProbes
from hls_handler.claude.provider import Provider
from hls_handler.claude.provider_errors import find_date
from hls_handler.claude.providers import connect
from hls_handler.errors import AccountLimited, DependencyDown, Permanent, Retryable
from hls_handler.settings.model import Claude as ClaudeSettings
from tests.claude.test_anthropic_api import GOOD, KEY, RENDERED
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON

USAGE_LIMIT = (
    "You have reached your specified API usage limits. You will regain access on 2026-12-01 at"
    " 00:00 UTC."
)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
TOO_LONG = "prompt is too long: 212345 tokens > 200000 maximum"
BLOCKED = "Output blocked by content filtering policy"


def rejected(message: str, status: int = 400) -> Say:
    error = {"type": "invalid_request_error", "message": message}
    return Say(status, {"type": "error", "error": error})


def answered(text: str = "yes") -> Say:
    body = {
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    return Say(body=body)


class Asker:
    """One provider, and a clock that the test moves."""

    def __init__(self, server: FakeServer) -> None:
        self.server, self.now = server, NOON
        given = ClaudeSettings.model_validate({"api_key": KEY, "base_url": server.url})
        self.provider = Provider(
            given,
            given,
            connect,
            clock=lambda: 0.0,
            now=self.read_clock,
            probes=AccountProbes(self.read_clock),
        )

    def read_clock(self) -> datetime:
        return self.now

    def ask(self, *says: Say) -> Any:
        self.server.says = list(says)
        self.server.seen.clear()
        return self.provider.ask(RENDERED)

    @property
    def fixed_questions(self) -> list[Any]:
        return [seen.body for seen in self.server.seen if seen.body["max_tokens"] == 1]


@pytest.fixture
def asker(server: FakeServer) -> Iterator[Asker]:
    made = Asker(server)
    with closing(made.provider):
        yield made


def test_error_that_a_fixed_question_gets_too_is_the_accounts_until_the_named_date(
    asker: Asker,
) -> None:
    with pytest.raises(AccountLimited) as caught:
        asker.ask(rejected(USAGE_LIMIT), rejected(USAGE_LIMIT))
    failed = caught.value
    assert str(failed) == f"Claude answered 400 to issues/respond@3f9c2a: {USAGE_LIMIT}"
    assert (
        failed.remedy
        == "wait, or see the limits and the state of the account of claude.api_key: a fixed"
        " question gets this error, too"
    )
    assert (failed.not_before, failed.may_have_succeeded) == (DECEMBER, False)
    assert asker.fixed_questions == [
        {
            "model": "claude-haiku-5-5",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "Answer with the word yes."}],
        }
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("This organization has been disabled.", "This organization has been disabled."),
        ("Billing hard limit has been reached", "Billing hard limit has been reached"),
        ("Workspace limit (req_011CS1)", "Workspace limit (req_011CS2)"),
        ("You spent 100.04 USD of 100", "You spent 100.05 USD of 100"),
    ],
)
def test_error_of_the_account_without_a_date_waits_as_a_rejected_key(
    asker: Asker, first: str, second: str
) -> None:
    with pytest.raises(DependencyDown) as caught:
        asker.ask(rejected(first), rejected(second))
    assert not isinstance(caught.value, AccountLimited)
    assert caught.value.not_before is None


@pytest.mark.parametrize(
    ("message", "probe"),
    [
        (BLOCKED, answered()),
        (TOO_LONG, answered()),
        (TOO_LONG, rejected("max_tokens must be at least 16")),
        (TOO_LONG, Say(529)),
        (TOO_LONG, Say(kind="drop")),
    ],
)
def test_error_that_a_fixed_question_does_not_get_is_the_prompts(
    asker: Asker, message: str, probe: Say
) -> None:
    with pytest.raises(Permanent, match="shorten or correct it"):
        asker.ask(rejected(message), probe)


@pytest.mark.parametrize(
    "say",
    [
        rejected("Your credit balance is too low to access the Anthropic API."),
        rejected("Request too large", 413),
        rejected("invalid x-api-key", 401),
        Say(400, b"<html>"),
    ],
)
def test_known_errors_need_no_fixed_question(asker: Asker, say: Say) -> None:
    with pytest.raises((DependencyDown, Permanent)):
        asker.ask(say)
    assert len(asker.server.seen) == 1


def test_fixed_question_is_asked_once_a_minute(asker: Asker) -> None:
    with pytest.raises(DependencyDown):
        asker.ask(rejected(USAGE_LIMIT), rejected(USAGE_LIMIT))
    asker.now += timedelta(seconds=59)
    with pytest.raises(DependencyDown):
        asker.ask(rejected(USAGE_LIMIT))
    assert asker.fixed_questions == []
    asker.now += timedelta(seconds=1)
    with pytest.raises(Permanent):
        asker.ask(rejected(USAGE_LIMIT), answered())
    assert len(asker.fixed_questions) == 1


def test_another_error_within_the_minute_is_asked_about_after_it(asker: Asker) -> None:
    with pytest.raises(Permanent):
        asker.ask(rejected(TOO_LONG), answered())
    asker.now += timedelta(seconds=20)
    with pytest.raises(Permanent):  # the same error has the same cause
        asker.ask(rejected(TOO_LONG.replace("212345", "300000")))
    with pytest.raises(
        Retryable, match=r"may be the account's: asked again at 12:01:00 UTC$"
    ) as caught:
        asker.ask(rejected(USAGE_LIMIT))
    assert not isinstance(caught.value, DependencyDown)
    assert caught.value.not_before == NOON + timedelta(minutes=1)


def test_account_is_checked_by_the_fixed_question(asker: Asker) -> None:
    asker.server.says = [rejected(USAGE_LIMIT), answered()]
    with pytest.raises(AccountLimited, match=r"^Claude answered 400 to a fixed question: You have"):
        asker.provider.check_account()
    with pytest.raises(AccountLimited):  # within the minute, nothing is asked
        asker.provider.check_account()
    asker.now += timedelta(minutes=1)
    asker.provider.check_account()
    assert len(asker.fixed_questions) == 2


def test_credit_that_returns_on_a_named_date_is_waited_for(asker: Asker) -> None:
    with pytest.raises(AccountLimited) as caught:
        asker.ask(rejected("The credit balance is used up until 2026-12-01", 402))
    assert caught.value.not_before == DECEMBER


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


def test_answer_after_the_limit_needs_no_fixed_question(asker: Asker) -> None:
    with pytest.raises(DependencyDown):
        asker.ask(rejected(USAGE_LIMIT), rejected(USAGE_LIMIT))
    assert isinstance(asker.ask(answered(GOOD)), Reply)
    assert asker.fixed_questions == []
