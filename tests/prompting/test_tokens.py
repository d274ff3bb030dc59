"""The estimate of tokens."""

from __future__ import annotations

import pytest

from hls_handler.prompting.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcdefg", 2), ("abcdefgh", 3), ("日本語", 3), ("naïve", 3), ("x" * 3500, 1000)],
    ids=["nothing", "one", "two exactly", "rounded up", "wide", "mixed", "long"],
)
def test_three_and_a_half_characters_are_a_token_and_wide_ones_are_one_each(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
