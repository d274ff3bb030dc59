"""Estimate of the number of tokens in a text, for budgets and display; only the API counts exactly."""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 3.5
"""Average for English prose (about 4) and dense code (about 3), slightly on the safe side."""


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text, rounded up. Each non-ASCII character counts as one token.

    That is right for Chinese; accented letters take fewer.
    """
    non_ascii = sum(1 for character in text if character > "\x7f")
    return non_ascii + -int(-(len(text) - non_ascii) // CHARACTERS_PER_TOKEN)
