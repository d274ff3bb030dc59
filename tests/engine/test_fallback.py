"""Two services that answer prompts: the first one fails and returns while deliveries are
processed.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from hls_handler.claude.providers import Breakers, Providers
from hls_handler.engine.pipeline import run_delivery
from hls_handler.prompting import recorded
from hls_handler.reports.delivery_report import format_report
from hls_handler.settings.model import Settings
from hls_handler.store.call_rows import make_receipt
from tests.claude.fake_models import KEY, FakeModels
from tests.engine.stand_in import StandIn
from tests.engine.world import BUG, NOON, World, open_world, settings

THREADS = 4


@dataclass
class Services:
    first: FakeModels
    second: FakeModels
    world: World
    now: datetime = NOON
    breakers: Breakers = field(init=False)

    def __post_init__(self) -> None:
        self.breakers = Breakers(lambda: self.now)

    def receive(self, numbers: range, prefix: str = "guid") -> None:
        payload = json.loads(recorded.load("issues.opened").body) | {"unique": prefix}
        for number in numbers:
            payload["issue"] |= {"number": number, "title": f"Question {number} of many"}
            assert self.world.receive("issues", payload, guid=f"{prefix}-{number}") == "queued"

    def process(self) -> None:
        """Process all deliveries that are due, in several threads, each with its own clients."""
        threads = [threading.Thread(target=self._work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        claude = self.world.settings.claude
        with closing(
            Providers(claude, clock=lambda: 0.0, now=lambda: self.now, breakers=self.breakers)
        ) as providers:
            while (lease := self.world.find_due()) is not None:
                context = replace(
                    self.world.tools(),
                    claude=providers,
                    github=StandIn(self.world.github.state),
                )
                run_delivery(lease, context)

    @property
    def paid(self) -> Counter[str]:
        """How often each question was answered."""
        services = {id(one): one for one in (self.first, self.second)}.values()
        asked = [question for one in services for question in one.questions]
        return Counter(
            found[1] for text in asked if (found := re.search(r"Question (\d+) of many", text))
        )


@pytest.fixture
def services() -> Iterator[Services]:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(closing(FakeModels(lambda _: BUG.model_dump_json())))
            for _ in range(2)
        )
        world = stack.enter_context(
            open_world(given=make_settings(first, second), is_clock_fixed=True)
        )
        yield Services(first, second, world)


def make_settings(first: FakeModels, second: FakeModels) -> Settings:
    fallback = {
        "kind": "openai",
        "api_key": KEY,
        "model": "gpt-5-mini",
        "base_url": f"{second.url}/v1",
    }
    # labels are part of the next question
    features = {"auto_labeling": False}
    return settings(
        claude={"api_key": KEY, "base_url": first.url, "fallbacks": [fallback]}, features=features
    )


def test_no_delivery_is_lost_or_paid_twice_while_a_provider_fails_and_returns(
    services: Services,
) -> None:
    services.receive(range(1, 6))
    services.process()
    assert (len(services.first.asked), len(services.second.asked)) == (5, 0)
    services.first.status = 529
    services.receive(range(6, 16))
    services.process()
    assert (len(services.second.asked), services.first.failed <= THREADS) == (10, True)
    services.first.status, services.now = 200, NOON + timedelta(minutes=1)
    for numbers, asked in ((range(16, 17), 6), (range(17, 26), 15)):  # the first call is the probe
        services.receive(numbers)
        services.process()
        assert len(services.first.asked) == asked
    states = {services.world.row(f"guid-{number}").state for number in range(1, 26)}
    assert (states, services.paid) == ({"done"}, Counter(map(str, range(1, 26))))
    counters = services.world.store.statistics.counters()
    counted = {
        label: count for (name, label), count in counters.items() if name == "provider_calls"
    }
    assert counted == {
        "anthropic:ok": len(services.first.asked),
        "anthropic:unavailable": services.first.failed,
        "openai:ok": len(services.second.asked),
    }


def test_provider_that_answered_stands_in_the_report_the_receipt_and_the_comment(
    services: Services,
) -> None:
    services.first.status = 529
    services.receive(range(1, 2))
    lease = services.world.claim()
    claude = services.world.settings.claude
    with closing(Providers(claude, clock=lambda: 0.0, now=lambda: NOON)) as providers:
        run_delivery(lease, replace(services.world.tools(), claude=providers))
    report = services.world.report("guid-1")
    assert [(call.model, call.outcome) for call in report.calls] == [
        ("anthropic/claude-haiku-5-5", "unavailable"),
        ("openai/gpt-5-mini", "ok"),
    ]
    lines = [line.strip() for line in format_report(report)]
    failed = "Ask Claude: failed: Claude answered 529 to issues/analyze@"
    assert [line[: len(failed)] for line in lines if "failed" in line] == [failed]
    assert any(
        line.startswith("Reply to issues/analyze@") and ", by openai/gpt-5-mini: " in line
        for line in lines
    )
    receipt = make_receipt(services.world.store.calls.calls_of("guid-1"))
    assert receipt.models == ("openai/gpt-5-mini",)
    (comment,) = services.world.github.conversation(1).comments
    assert "asks a language model (openai/gpt-5-mini)" in comment.body
    health = services.world.component("claude")
    assert (health.state, health.message) == (
        "degraded",
        f"{report.calls[0].error}; openai/gpt-5-mini answers in its place",
    )


def test_stored_reply_answers_while_its_provider_fails_and_is_no_sign_of_its_return(
    services: Services,
) -> None:
    services.receive(range(1, 2))
    services.process()
    services.first.status = 529
    services.receive(range(2, 3))
    services.process()
    for prefix, minutes in (("again", 0), ("later", 1)):
        services.now = NOON + timedelta(minutes=minutes)
        services.receive(range(1, 2), prefix)
        services.process()
        assert services.world.row(f"{prefix}-1").state == "done"
    assert services.paid == {"1": 1, "2": 1}
    assert services.breakers.find(services.world.settings.claude) is not None


def test_reply_of_a_fallback_answers_the_same_question_after_the_return(services: Services) -> None:
    services.first.status = 529
    services.receive(range(1, 2))
    services.process()
    services.first.status, services.now = 200, NOON + timedelta(minutes=1)
    services.receive(range(1, 2), "again")
    services.process()
    assert (services.world.row("again-1").state, services.paid) == ("done", {"1": 1})


def test_limit_of_the_account_that_goes_on_costs_no_delivery(services: Services) -> None:
    claude = {"api_key": KEY, "base_url": services.first.url}  # without a fallback
    services.world.settings = settings(claude=claude, features={"auto_labeling": False})
    services.first.status = 400
    services.first.message = "API usage limits: you will regain access on 2026-12-01 at 00:00 UTC"
    services.receive(range(1, 2))
    for _ in range(3):  # the queue postpones a delivery by two days at most
        services.process()
        services.world.advance(48 * 3600)
        services.now += timedelta(hours=48)
    row = services.world.row("guid-1")
    assert (row.state, row.failures) == ("queued", 0)
    health = services.world.component("claude")
    assert (health.state, services.first.message in str(health.message)) == ("degraded", True)
    services.first.status = 200
    services.process()
    assert (services.world.row("guid-1").state, services.paid) == ("done", {"1": 1})


def reject_all_requests(services: Services) -> None:
    claude = {"api_key": KEY, "base_url": services.first.url}  # without a fallback
    services.world.settings = settings(claude=claude, features={"auto_labeling": False})
    services.first.status = 400
    services.first.message = "on-demand throughput isn't supported"


def test_same_rejection_of_two_conversations_holds_calls_for_ten_minutes(
    services: Services,
) -> None:
    reject_all_requests(services)
    services.receive(range(1, 3))
    services.process()
    states = [services.world.row(f"guid-{number}").state for number in (1, 2)]
    assert sorted(states) == ["dead", "queued"]
    store = services.world.store
    assert store.rate_limiter.held_until("claude") == store.now() + timedelta(minutes=10)
    health = services.world.component("claude")
    assert (health.state, services.first.message in str(health.message)) == ("degraded", True)


def test_same_rejection_of_two_deliveries_of_a_conversation_holds_no_calls(
    services: Services,
) -> None:
    reject_all_requests(services)
    for prefix in ("first", "second"):
        services.receive(range(1, 2), prefix)
        services.process()
        assert services.world.row(f"{prefix}-1").state == "dead"
    assert services.world.store.rate_limiter.held_until("claude") is None


def test_health_is_restored_by_the_call_that_finds_the_provider_again(services: Services) -> None:
    for number, status, state in ((1, 529, "degraded"), (2, 200, "healthy")):
        services.first.status = status
        services.receive(range(number, number + 1))
        services.process()
        assert services.world.component("claude").state == state
        services.now = NOON + timedelta(minutes=1)


def test_call_without_an_answer_counts_as_its_estimate_when_another_provider_answers(
    services: Services,
) -> None:
    services.first.status = 0
    services.receive(range(1, 2))
    services.process()
    lost, answered = services.world.store.calls.calls_of("guid-1")
    assert (lost.outcome, lost.is_estimate, lost.output_tokens) == ("failed", True, 2500)
    assert (answered.outcome, answered.is_estimate, answered.model) == (
        "ok",
        False,
        "openai/gpt-5-mini",
    )
