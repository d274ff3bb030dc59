"""The estimate of tokens."""

from __future__ import annotations

import pytest

from hls_handler.prompting.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcdefg", 2), ("abcdefgh", 3), ("日本語", 3), ("naïve", 3), ("x" * 3500, 1000)],
    ids=["nothing", "one", "two exactly", "rounded up", "wide", "mixed", "long"],
)
def test_estimate_of_tokens(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens
