"""How many tokens a text will take: an estimate, for budgets and for show; the API alone counts them."""

from __future__ import annotations

CHARACTERS_PER_TOKEN = 3.5
"""Of English prose and code, a little on the safe side (prose is nearer to 4, dense code to 3)."""


def estimate_tokens(text: str) -> int:
    """An estimate, rounded up. A character beyond ASCII counts as a token: Chinese takes one each, accents fewer."""
    wide = sum(1 for character in text if character > "\x7f")
    return wide + -int(-(len(text) - wide) // CHARACTERS_PER_TOKEN)
