"""Cost of calls: by the price in the settings, by the list price of the service, or as of the
dearest known model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import genai_prices

from hls_handler.analysis import Usage
from hls_handler.settings.providers import OPUS, ClaudeSettings, ProviderKind, ProviderSettings

MILLION = 1_000_000

PRICE_LISTS: Mapping[ProviderKind, str] = {
    "anthropic": "anthropic",
    "bedrock": "aws",
    "vertex": "google",
    "azure": "azure",
}
"""Ids of vendors in genai-prices. That of an OpenAI-compatible service is found by its address."""

MANY = Usage("", input_tokens=MILLION, output_tokens=MILLION)
"""A call by which models are compared."""

UNKNOWN = (0.0, 0.0)


def with_price(
    usage: Usage, claude: ClaudeSettings, *, requested_model: str | None = None
) -> Usage:
    """Return the usage with its cost. `usage.model` and `asked` are named as by
    `ClaudeSettings.name_model`.

    If the price of `usage.model` is unknown, that of the model that was `asked` counts, or else
    that of the dearest model among those of the settings and Claude's largest.
    """
    named = map(claude.find_model, (usage.model, requested_model or usage.model))
    cost = next(filter(None, (find_cost_usd(usage, *candidate) for candidate in named)), None)
    if cost is None:
        largest = ProviderSettings(api_key=claude.api_key, model=OPUS)
        providers = claude.providers.values()
        others = [(candidate, candidate.model) for candidate in (largest, *providers)]
        others += [(candidate, candidate.default_model(is_review=True)) for candidate in providers]
        dearest = max(others, key=lambda candidate: find_cost_usd(MANY, *candidate) or UNKNOWN)
        cost = find_cost_usd(usage, *dearest) or UNKNOWN
    return replace(usage, cost_usd=cost[0], output_usd=cost[1])


def find_cost_usd(
    usage: Usage, provider: ProviderSettings, model: str
) -> tuple[float, float] | None:
    """Return the cost in US dollars and the output's part of it, or None if the price of the model
    is unknown.

    The price of some models depends on the number of all input tokens, including the cached ones.
    """
    price = provider.price
    if price is not None:
        output = usage.output_tokens * price.output
        return (usage.all_input_tokens * price.input + output) / MILLION, output / MILLION
    counted = genai_prices.Usage(
        input_tokens=usage.all_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
    )
    vendor = PRICE_LISTS.get(provider.kind)
    try:
        if vendor is None:
            calculated = genai_prices.calc_price(counted, model, provider_api_url=provider.base_url)
        else:
            calculated = genai_prices.calc_price(counted, model, provider_id=vendor)
    except LookupError:
        return None
    return float(calculated.total_price), float(calculated.output_price)
