"""Estimates of cost that commands show before they ask Claude."""

from __future__ import annotations

from dataclasses import replace

from pydantic import SecretStr

from hls_handler.prompting.render import RenderedPrompt
from hls_handler.reports.estimate import Estimate, estimate, estimate_largest_call, format_cost
from hls_handler.settings.model import Claude
from tests.engine.world import library


def test_estimated_cost_is_a_range_or_unknown() -> None:
    expected = Estimate(1, ("claude-haiku-5-5",), max_tokens=400, input_tokens=22, min_usd=0.000022, max_usd=0.002022)
    assert format_cost(expected) == "0.000022 to 0.002022 USD"
    assert format_cost(replace(expected, max_usd=None)) == "unknown"


def test_estimate_of_a_review_is_that_of_the_review_model() -> None:
    claude = Claude(api_key=SecretStr("k"), review_model="claude-sonnet-5-5")
    prompts = [library().prompts[name] for name in ("pull_requests/analyze", "issues/analyze")]
    requests = [RenderedPrompt(prompt, "", "What?", prompt.reply_model.model_json_schema()) for prompt in prompts]
    expected = ["claude-sonnet-5-5", "claude-haiku-5-5"]
    assert [estimate(claude, one).models for one in requests] == [(model,) for model in expected]
    assert [estimate_largest_call(claude, one).model for one in prompts] == expected
