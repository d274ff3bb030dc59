"""Tokens: what stands for a stranger's text while a template is rendered."""

from __future__ import annotations

import re

from hls_handler.errors import PromptError

OPEN, CLOSE = "\ue000", "\ue001"  # private use: no case, no meaning, in nobody's template
DIGITS = "\ue010\ue011\ue012\ue013\ue014\ue015\ue016\ue017\ue018\ue019"  # so that each piece of a token is found

TOKEN = re.compile(f"{OPEN}([{DIGITS}]+){CLOSE}")

RESERVED = re.compile("[\ue000-\ue01f]")
"""Characters that no text of anybody may bring along."""

TRACE = re.compile(r"[\ue000-\ue01f]|\\ue0[01][0-9a-f]|%ee%80%[89][0-9a-f]", re.IGNORECASE)
"""What is left of a token that was cut, or that `repr`, `tojson` or `urlencode` has rewritten."""

ADVICE = "use excerpt(n) or lines(a, b) for that"


class TornToken(PromptError):
    """A template cut or changed a stranger's text with a filter that is made for our own."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])


def token(number: int) -> str:
    return f"{OPEN}{''.join(DIGITS[int(digit)] for digit in str(number))}{CLOSE}"


def number_of(digits: str) -> int:
    """The number between OPEN and CLOSE."""
    return int("".join(str(DIGITS.index(digit)) for digit in digits))


def contains_token(text: str) -> bool:
    """Whether a token, or what a filter left of one, stands in a rendered text."""
    return TRACE.search(text) is not None


def find_tear(rendered: str) -> tuple[int, str] | None:
    """The first piece of a token that is no token any more: its line from 1, and what stands before it there."""
    whole_ones_blanked = TOKEN.sub(lambda found: " " * len(found[0]), rendered)
    tear = TRACE.search(whole_ones_blanked)
    if tear is None:
        return None
    before = whole_ones_blanked[: tear.start()]
    return before.count("\n") + 1, before.rpartition("\n")[2].strip()[-40:]
