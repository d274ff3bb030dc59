"""Counts in sentences, such as "1 request" and "2 deliveries". All packages use it for messages."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return "1 request", or "2 requests"."""
    return f"{number} {inflect(number, noun)}"


def inflect(number: int, noun: str) -> str:
    """Return "request" for 1, else "requests". For the nouns of HLS, the plural follows from the last letters."""
    if number == 1:
        return noun
    if noun.endswith("y") and not noun.endswith("ay"):
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if noun.endswith('ch') else 's'}"


def is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"


def was_or_were(number: int) -> str:
    return "was" if number == 1 else "were"
