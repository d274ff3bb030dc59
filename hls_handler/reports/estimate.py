"""Estimates tokens and cost of questions to Claude before they are sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hls_handler.analysis import Prompt, RenderedPrompt, Usage, estimate_tokens
from hls_handler.claude.provider import MARGIN, find_cost_usd, request_schema, with_price
from hls_handler.settings.model import Settings
from hls_handler.settings.providers import (
    HAIKU,
    OPUS,
    SONNET,
    ClaudeSettings,
    ProviderSettings,
    describe_retirement,
)
from hls_handler.wording import add_usd, format_usd

TYPICAL_REVIEW = Usage("", input_tokens=7_000, output_tokens=400)
"""The first review of 2 files with 40 changed lines (`make bench NAMES=reviews`), no second
look.
"""
TYPICAL_ISSUE = Usage("", input_tokens=5_000, output_tokens=150)
"""An issue of the golden cases (tests/golden). Both are rounded estimates without prompt cache."""
NAMED_MODELS = {"haiku": HAIKU, "sonnet": SONNET, "opus": OPUS}


@dataclass(frozen=True, slots=True)
class UsedModel:
    provider: ProviderSettings
    name: str
    where: str  # file and line that name it


def list_models(settings: Settings, prompts: Sequence[Prompt]) -> Mapping[str, UsedModel]:
    """Return the models of the settings and of prompts, as `ClaudeSettings.name_model` names them.

    Retired models of prompts are left out.
    """
    claude = settings.claude
    where = settings.sources.where
    used = [
        UsedModel(provider, provider.default_model(), where(f"{key}.model"))
        for key, provider in claude.providers.items()
    ]
    for key, provider in claude.providers.items():
        review_model = provider.default_model(is_review=True)
        used.append(UsedModel(provider, review_model, where(f"{key}.review_model")))
    used += [
        UsedModel(*claude.find_model(prompt.model), prompt.absolute_path)
        for prompt in prompts
        if prompt.model is not None and describe_retirement(prompt.model) is None
    ]
    models = dict[str, UsedModel]()
    for model in used:
        models.setdefault(claude.name_model(model.provider, model.name), model)
    return models


@dataclass(frozen=True, slots=True)
class Estimate:
    questions: int
    models: tuple[str, ...]  # if a configured model is retired, its successor
    max_tokens: int  # the highest limit on the tokens of a reply
    input_tokens: int  # estimated, uncached
    # list price with replies of a typical length; None if the price of a model is unknown
    typical_usd: float | None
    # of the input tokens, written to Claude's prompt cache, and of replies of max_tokens
    max_usd: float | None


def estimate(settings: ClaudeSettings, *requests: RenderedPrompt) -> Estimate:
    """Estimate the cost of questions. `model` and `max_tokens` of a prompt override those of
    `settings`.
    """
    models = [name_model(settings, request.prompt) for request in requests]
    limits = [request.prompt.max_tokens or settings.max_tokens for request in requests]
    tokens = [_count_tokens(request) for request in requests]
    lengths = [_guess_reply_tokens(request.prompt) for request in requests]
    typical = [
        Usage(model, input_tokens=number, output_tokens=min(length, limit))
        for model, number, length, limit in zip(models, tokens, lengths, limits, strict=True)
    ]
    longest = [
        Usage(model, cache_write_tokens=number, output_tokens=limit)
        for model, number, limit in zip(models, tokens, limits, strict=True)
    ]
    return Estimate(
        questions=len(requests),
        models=tuple(dict.fromkeys(models)),
        max_tokens=max(limits, default=0),
        input_tokens=sum(tokens),
        typical_usd=add_usd(with_price(usage, settings).cost_usd for usage in typical),
        max_usd=add_usd(with_price(usage, settings).cost_usd for usage in longest),
    )


def estimate_largest_call(settings: ClaudeSettings, prompt: Prompt) -> Usage:
    """Return the most that HLS reserves for a call of a prompt whose text fills
    `claude.input_tokens`.
    """
    largest = Usage(
        name_model(settings, prompt),
        cache_write_tokens=math.ceil(settings.input_tokens * (1 + MARGIN)),
        output_tokens=prompt.max_tokens or settings.max_tokens,
    )
    return with_price(largest, settings)


def name_model(settings: ClaudeSettings, prompt: Prompt) -> str:
    return settings.name_model(*settings.find_model(prompt.model, is_review=prompt.is_review))


def _guess_reply_tokens(prompt: Prompt) -> int:
    if prompt.is_review:
        return TYPICAL_REVIEW.output_tokens
    return TYPICAL_ISSUE.output_tokens


def _count_tokens(rendered: RenderedPrompt) -> int:
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    return sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))


def format_cost(expected: Estimate) -> str:
    """Return "about $0.00017, at most $0.0020", or "unknown"."""
    if expected.typical_usd is None or expected.max_usd is None:
        return "unknown"
    return f"about {format_usd(expected.typical_usd)}, at most {format_usd(expected.max_usd)}"


def list_claude_models(claude: ClaudeSettings) -> dict[str, tuple[ProviderSettings, str]]:
    """Return the present models of Claude's own API by name; {} if it or its list price is not
    used.
    """
    if not claude.is_claude_api or claude.price is not None:
        return {}
    return {claude.name_model(claude, model): (claude, model) for model in NAMED_MODELS.values()}


def describe_prices(models: Mapping[str, tuple[ProviderSettings, str]]) -> list[str]:
    """Return a table of what a typical review and a typical issue cost with each model, as lines.

    `models` has provider and model by the name to show.
    """
    review = f"review ({_describe_tokens(TYPICAL_REVIEW)})"
    issue = f"issue ({_describe_tokens(TYPICAL_ISSUE)})"
    width = max(len(name) for name in ("model", *models))
    lines = [
        f"US dollars for a typical {review} and {issue}:",
        f"{'model':<{width}}   review    issue",
    ]
    for name, (provider, model) in models.items():
        prices = [_price_of(usage, provider, model) for usage in (TYPICAL_REVIEW, TYPICAL_ISSUE)]
        lines.append(f"{name:<{width}}  {prices[0]:>7}  {prices[1]:>7}")
    return lines


def _describe_tokens(usage: Usage) -> str:
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens} out"


def _price_of(usage: Usage, provider: ProviderSettings, model: str) -> str:
    cost = find_cost_usd(usage, provider, model)
    return "unknown" if cost is None else f"{cost[0]:.4f}"
