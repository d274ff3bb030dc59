"""Template filters that HLS adds to Jinja's; they accept untrusted texts and plain strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls_handler.prompting.environment import MAX_CHARACTERS
from hls_handler.untrusted.cleaning import CodeText, format_for_prompt, truncate
from hls_handler.untrusted.markdown import format_for_cell
from hls_handler.untrusted.stranger import UntrustedText, with_formatter


def excerpt(value: object, n: int) -> object:
    """Return the first `n` characters, with a note on how many are missing."""
    return value.excerpt(n) if isinstance(value, UntrustedText) else truncate(str(value), n)


def lines(value: object, a: int, b: int) -> object:
    """Return lines `a` to `b`, both included, counted from 1."""
    if isinstance(value, UntrustedText):
        return value.lines(a, b)
    return "\n".join(str(value).split("\n")[max(a, 1) - 1 : max(b, 0)])


def code(value: object) -> object:
    """Show a patch or a file in full, including HTML comments, so that line numbers stay correct. For prompts only."""
    return with_formatter(value, _code_for_prompt)


def inline(value: object) -> object:
    """Show a text on one line, for table cells, list items and headings. For comments only: it adds no delimiters."""
    return with_formatter(value, format_for_cell)


def _code_for_prompt(text: str, nonce: str) -> str:
    return format_for_prompt(CodeText(text), nonce, limit=MAX_CHARACTERS)


Filters = Mapping[str, Callable[..., object]]

PROMPT_FILTERS: Filters = {"excerpt": excerpt, "lines": lines, "code": code}
COMMENT_FILTERS: Filters = {"excerpt": excerpt, "lines": lines, "inline": inline}
ALLOWED_ONLY_IN: Mapping[str, str] = {"code": "prompts", "inline": "comments"}
"""Filters for one kind of template: `code` adds delimiters for Claude, `inline` escapes Markdown for GitHub."""
