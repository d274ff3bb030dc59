"""Cost of a call to Claude, from the price list in the package `genai-prices`; nothing is downloaded."""

from __future__ import annotations

import genai_prices

from hls_handler.analysis import Usage


def cost_usd(usage: Usage) -> float | None:
    """Return US dollars at list price, or None for a model that is not in Anthropic's list.

    `claude-haiku-5-5` with 1,000 uncached input tokens and 1,000 output tokens: 0.0006. The price of some models
    depends on the length of the whole prompt, including cached parts.
    """
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(counted, usage.model, provider_id="anthropic").total_price)
    except LookupError:
        return None
