"""Escaping of text for a terminal: control, invisible and line break characters."""

from __future__ import annotations


def escape_unprintable(text: str) -> str:
    """Escape line breaks, control and direction characters: "\\n", "\\x1b", "\\u202e". Returns one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def escape_unprintable_lines(text: str) -> str:
    """The same for several lines: newlines and tabs stay."""
    return "".join(c if c in "\n\t" else escape_unprintable(c) for c in text)
