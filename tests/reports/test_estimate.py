"""Estimates of cost that commands show before they ask Claude."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.reports.estimate import Estimate, format_cost


def test_estimated_cost_is_a_range_or_unknown() -> None:
    expected = Estimate(1, ("claude-haiku-5-5",), max_tokens=400, input_tokens=22, min_usd=0.000022, max_usd=0.002022)
    assert format_cost(expected) == "0.000022 to 0.002022 USD"
    assert format_cost(replace(expected, max_usd=None)) == "unknown"
