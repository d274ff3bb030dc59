"""Cost of a call."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.analysis import PartialCost, Usage
from hls_handler.clients.claude import cost_of_output, cost_usd


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage("claude-haiku-5-5", input_tokens=100_000), 0.01),
        (Usage("claude-haiku-5-5", output_tokens=1_000_000), 0.50),
        (Usage("claude-haiku-5-5", input_tokens=200_000), 0.10),
        (Usage("claude-haiku-5-5", input_tokens=1, cache_read_tokens=199_999), 0.01),
        (Usage("claude-haiku-5-5", input_tokens=200_000, output_tokens=1_000), 0.1025),
        (Usage("claude-sonnet-5-5", input_tokens=1_000_000, output_tokens=1_000_000), 12.0),
        (Usage("claude-haiku-5-5-20261001", input_tokens=1_000), 0.0001),
    ],
)
def test_a_call_costs_its_list_price(usage: Usage, usd: float) -> None:
    assert cost_usd(usage) == pytest.approx(usd, abs=1e-6)


@pytest.mark.parametrize("model", ["llama-9"])
def test_model_of_another_provider_has_no_price(model: str) -> None:
    assert cost_usd(Usage(model, input_tokens=1)) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage("claude-haiku-5-5", input_tokens=900, output_tokens=1_000), PartialCost(400, 1_000, 0.0002)),
        (Usage("claude-haiku-5-5", output_tokens=100), PartialCost(100, 100, 0.00005)),
        (Usage("gpt-9", output_tokens=1_000), PartialCost(400, 1_000, None)),
        (Usage("claude-haiku-5-5"), None),
    ],
    ids=["a part", "an estimate over the whole", "unknown price", "from the cache"],
)
def test_a_part_of_a_reply_costs_its_share_of_the_output(usage: Usage, expected: PartialCost | None) -> None:
    cost = cost_of_output(usage, 400)
    usd = None if cost is None or cost.usd is None else round(cost.usd, 9)
    assert (None if cost is None else replace(cost, usd=usd)) == expected
