"""Estimates of cost that commands show before they ask Claude."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from pydantic import SecretStr

from hls_handler.analysis import RenderedPrompt, estimate_tokens
from hls_handler.reports.estimate import (
    TYPICAL_ISSUE,
    TYPICAL_REVIEW,
    Estimate,
    describe_prices,
    estimate,
    estimate_largest_call,
    format_cost,
    list_claude_models,
)
from hls_handler.settings.providers import ClaudeSettings, Price
from tests.engine.world import library, settings
from tests.golden.asking import ask_about, refuse
from tests.golden.cases import FOLDER, IssueCase, load_cases


def test_estimated_cost_is_one_number_with_its_bound_or_unknown() -> None:
    expected = Estimate(
        1,
        ("claude-haiku-5-5",),
        max_tokens=400,
        input_tokens=22,
        typical_usd=0.000172,
        max_usd=0.002022,
    )
    assert format_cost(expected) == "about $0.00017, at most $0.0020"
    assert format_cost(replace(expected, max_usd=None)) == "unknown"


def test_estimate_of_a_review_is_that_of_the_review_model() -> None:
    claude = ClaudeSettings(api_key=SecretStr("k"), review_model="claude-sonnet-5-5")
    prompts = [library().prompts[name] for name in ("pull_requests/analyze", "issues/analyze")]
    requests = [
        RenderedPrompt(prompt, "", "What?", prompt.reply_model.model_json_schema())
        for prompt in prompts
    ]
    expected = ["claude-sonnet-5-5", "claude-haiku-5-5"]
    assert [estimate(claude, one).models for one in requests] == [(model,) for model in expected]
    assert [estimate_largest_call(claude, one).model for one in prompts] == expected


CLAUDE = ClaudeSettings(api_key=SecretStr("k"))
TABLE = """\
US dollars for a typical review (7,000 tokens in, 400 out) and issue (5,000 tokens in, 150 out):
model               review    issue
claude-haiku-5-5    0.0009   0.0006
claude-sonnet-5-5   0.0180   0.0115
claude-opus-5-5     0.0360   0.0230"""


def test_documentation_shows_the_prices_of_the_present_models() -> None:
    assert "\n".join(describe_prices(list_claude_models(CLAUDE))) == TABLE
    assert f"```\n{TABLE}\n```" in Path("docs/cost.md").read_text(encoding="utf-8")


def test_price_of_the_settings_is_used_and_an_unknown_one_is_no_zero() -> None:
    price = Price(input=1.0, output=5.0)
    own = ClaudeSettings(api_key=SecretStr("k"), model="llama", price=price)
    other = ClaudeSettings(api_key=SecretStr("k"), model="llama")
    lines = describe_prices({"own": (own, "llama"), "other": (other, "llama")})
    assert lines[2:] == ["own     0.0090   0.0057", "other  unknown  unknown"]
    assert list_claude_models(own) == {}


def test_typical_tokens_are_as_measured() -> None:
    """The question within a fifth: the wording of prompts changes. The replies within a half."""

    def count_question(case: IssueCase) -> int:
        (request,) = ask_about(case, settings(), library(), refuse).prompts
        return estimate(CLAUDE, request).input_tokens

    issues = [count_question(case) for case in load_cases(FOLDER) if isinstance(case, IssueCase)]
    assert fmean(issues) == pytest.approx(TYPICAL_ISSUE.input_tokens, rel=0.2)
    for typical, names in REPLIES.items():
        replies = [(FOLDER / "replies" / f"{name}.json").read_text("utf-8") for name in names]
        assert fmean(map(estimate_tokens, replies)) == pytest.approx(typical, rel=0.5)


REPLIES = {
    TYPICAL_REVIEW.output_tokens: (
        "go-worker-pool",
        "python-async-gather",
        "typescript-order-total",
    ),
    TYPICAL_ISSUE.output_tokens: ("crash-with-steps", "question-http-status"),
}
"""Recorded replies with findings, and to issues."""
