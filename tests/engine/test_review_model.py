"""`claude.review_model` in the whole pipeline: which questions it gets, and which not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hls_handler.analysis import FindingVerdicts
from hls_handler.claude.providers import Providers
from hls_handler.engine.pipeline import run_delivery
from hls_handler.settings.model import Settings
from hls_handler.store.call_rows import make_receipt
from tests.claude.fake_models import KEY, FakeModels
from tests.engine.world import BUG, NOON, World, open_world, settings
from tests.handlers.world import file, finding, pull_request_analysis

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
DOUBTFUL = pull_request_analysis(findings=[finding(confidence=0.65)])
VERDICT = FindingVerdicts.model_validate(
    {"verdicts": [{"number": 1, "facts": [], "unseen": "", "agrees": True}]},
)


@dataclass
class Pipeline:
    """Processes a pull request, then an issue. `first` and `fallback` are the services."""

    world: World
    first: FakeModels
    fallback: FakeModels
    replies: list[str] = field(default_factory=list)

    def configure(self, *, fallback: Mapping[str, str] | None = None, **claude: object) -> None:
        known: dict[str, object] = {"api_key": KEY, "base_url": self.first.url, **claude}
        if fallback is not None:
            service = {"kind": "openai", "api_key": KEY, "base_url": f"{self.fallback.url}/v1"}
            known["fallbacks"] = [service | dict(fallback)]
        self.world.settings = make_settings(known)

    def process(self, guid: str = "review", *, number: int = 2) -> None:
        self.replies += [one.model_dump_json() for one in (DOUBTFUL, VERDICT, BUG)]
        self.world.open_pull_request(file(), guid=guid, number=number)
        self._run()
        self.world.accept(guid=f"issue of {guid}")
        self._run()

    def _run(self) -> None:
        claude = self.world.settings.claude
        providers = Providers(claude, clock=lambda: 0.0, now=lambda: NOON)
        with closing(providers):
            tools = replace(self.world.tools(), claude=providers)
            finished = run_delivery(self.world.claim(), tools)
        assert finished is not None
        assert finished.state == "done", finished


def make_settings(claude: Mapping[str, object]) -> Settings:
    # else the labels would change its second question
    off = {"auto_labeling": False}
    return settings(claude=claude, features=off, review={"guidance": False})


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    with ExitStack() as stack:
        replies: list[str] = []
        models = [
            stack.enter_context(closing(FakeModels(lambda _: replies.pop(0)))) for _ in range(2)
        ]
        world = stack.enter_context(open_world(is_clock_fixed=True))
        yield Pipeline(world, models[0], models[1], replies)


def asked(models: FakeModels) -> list[Any]:
    return [body["model"] for _, body in models.asked]


def test_without_a_review_model_all_calls_use_the_same(pipeline: Pipeline) -> None:
    pipeline.configure()
    pipeline.process()
    assert asked(pipeline.first) == [HAIKU, HAIKU, HAIKU]


def test_review_and_its_second_look_are_asked_of_the_review_model_at_its_price(
    pipeline: Pipeline,
) -> None:
    pipeline.configure(review_model=SONNET)
    pipeline.process()
    assert asked(pipeline.first) == [SONNET, SONNET, HAIKU]
    calls = pipeline.world.store.calls
    of_both = [*calls.calls_of("review"), *calls.calls_of("issue of review")]
    # 1,000 tokens of question and 500 of reply, at 2 and 10 USD a million, and at 0.1 and 0.5
    assert [(call.prompt_id.partition("@")[0], call.model, call.cost_usd) for call in of_both] == [
        ("pull_requests/analyze", SONNET, 0.007),
        ("pull_requests/verify", SONNET, 0.007),
        ("issues/analyze", HAIKU, 0.00035),
    ]


def test_model_of_a_prompt_is_used_in_place_of_the_review_model(pipeline: Pipeline) -> None:
    pipeline.configure(review_model=SONNET)
    prompts = dict(pipeline.world.prompts.prompts)
    analyze = prompts["pull_requests/analyze"]
    prompts["pull_requests/analyze"] = replace(analyze, model="claude-opus-5-5")
    pipeline.world.prompts = replace(pipeline.world.prompts, prompts=prompts)
    pipeline.process()
    assert asked(pipeline.first) == ["claude-opus-5-5", SONNET, HAIKU]


def test_fallback_reviews_with_its_own_model(pipeline: Pipeline) -> None:
    pipeline.configure(fallback={"model": "gpt-5-mini"}, review_model=SONNET)
    pipeline.first.status = 529
    pipeline.process()
    assert (asked(pipeline.first), asked(pipeline.fallback)) == ([], ["gpt-5-mini"] * 3)
    calls = pipeline.world.store.calls.calls_of("review")
    assert [(call.model, call.outcome) for call in calls] == [
        (f"anthropic/{SONNET}", "unavailable"),
        ("openai/gpt-5-mini", "ok"),
        ("openai/gpt-5-mini", "ok"),
    ]
    assert make_receipt(calls).models == ("openai/gpt-5-mini",)


def test_review_model_of_a_fallback_is_its_own(pipeline: Pipeline) -> None:
    pipeline.configure(fallback={"model": "gpt-5-mini", "review_model": "gpt-5"})
    pipeline.first.status = 529
    pipeline.process()
    assert asked(pipeline.fallback) == ["gpt-5", "gpt-5", "gpt-5-mini"]


def test_reply_of_the_smaller_model_is_no_review_of_the_review_model(pipeline: Pipeline) -> None:
    pipeline.configure()
    pipeline.process()
    pipeline.configure(review_model=SONNET)
    pipeline.replies.clear()
    pipeline.process("again", number=3)
    assert asked(pipeline.first) == [HAIKU, HAIKU, HAIKU, SONNET, SONNET]  # not the issue
