"""Text on a terminal: what would act on it, hide, or pass for a line of our own is spelt out."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line: line breaks, control and direction characters are spelt out ("\\n", "\\x1b", "\\u202e")."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of many lines: newlines and tabs stay."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)
