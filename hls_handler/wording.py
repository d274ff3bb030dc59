"""Counts in sentences, such as "1 request" and "2 deliveries". All packages use it for messages."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return "1 request", or "2 requests". For the nouns of HLS, the plural follows from the last letters."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and not noun.endswith("ay"):
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}{'es' if noun.endswith('ch') else 's'}"


def is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def was_or_were(number: int) -> str:
    return "was" if number == 1 else "were"
