"""Counts and costs in sentences, such as "2 deliveries" and "0.000600 USD". All packages use it for
messages.
"""

from __future__ import annotations

from collections.abc import Iterable


def count(number: int, noun: str) -> str:
    """Return "1 request", or "2 requests"."""
    return f"{number} {inflect(number, noun)}"


def inflect(number: int, noun: str) -> str:
    """Return "request" for 1, else "requests". For the nouns of HLS, the plural follows from the
    last letters.
    """
    if number == 1:
        return noun
    if noun.endswith("y") and not noun.endswith("ay"):
        return f"{noun[:-1]}ies"
    if noun.endswith("ch"):
        return f"{noun}es"
    return f"{noun}s"


def is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def was_or_were(number: int) -> str:
    return "was" if number == 1 else "were"


def format_usd(usd: float | None) -> str:
    """Return "0.000600 USD", or "unknown" for None."""
    return "unknown" if usd is None else f"{usd:.6f} USD"


def add_usd(costs: Iterable[float | None]) -> float | None:
    """Return the sum, or None if one of the costs is unknown (None)."""
    known = list(costs)
    if None in known:
        return None
    return sum(cost for cost in known if cost is not None)
