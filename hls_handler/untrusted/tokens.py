"""Placeholders that stand for untrusted text while a template is rendered."""

from __future__ import annotations

import re

from hls_handler.errors import PromptError

PLACEHOLDER_START, PLACEHOLDER_END = (
    "\ue000",
    "\ue001",
)  # private use: not changed by case filters, not used in templates
DIGITS = "\ue010\ue011\ue012\ue013\ue014\ue015\ue016\ue017\ue018\ue019"  # so that a part of a placeholder is found

PLACEHOLDER = re.compile(f"{PLACEHOLDER_START}([{DIGITS}]+){PLACEHOLDER_END}")

RESERVED_CHARACTERS = re.compile("[\ue000-\ue01f]")
"""Characters that are removed from all input."""

PLACEHOLDER_FRAGMENT = re.compile(r"[\ue000-\ue01f]|\\ue0[01][0-9a-f]|%ee%80%[89][0-9a-f]", re.IGNORECASE)
"""Part of a placeholder that was cut, or that `repr`, `tojson` or `urlencode` has rewritten."""

EXCERPT_ADVICE = "use excerpt(n) or lines(a, b) for that"


class BrokenPlaceholder(PromptError):
    """A template cut or changed untrusted text with a filter that only works on trusted text."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])


def format_placeholder(number: int) -> str:
    return f"{PLACEHOLDER_START}{''.join(DIGITS[int(digit)] for digit in str(number))}{PLACEHOLDER_END}"


def parse_number(digits: str) -> int:
    """Parse the digits between OPEN and CLOSE."""
    return int("".join(str(DIGITS.index(digit)) for digit in digits))


def contains_placeholder(text: str) -> bool:
    """Return True if a rendered text contains a placeholder or a part of one."""
    return PLACEHOLDER_FRAGMENT.search(text) is not None


def find_broken_placeholder(rendered: str) -> tuple[int, str] | None:
    """Find the first broken placeholder: its line, from 1, and the end of the text before it on that line."""
    without_whole = PLACEHOLDER.sub(lambda found: " " * len(found[0]), rendered)
    fragment = PLACEHOLDER_FRAGMENT.search(without_whole)
    if fragment is None:
        return None
    before = without_whole[: fragment.start()]
    return before.count("\n") + 1, before.rpartition("\n")[2].strip()[-40:]
