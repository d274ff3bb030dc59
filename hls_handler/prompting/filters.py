"""Our own filters: they work on strangers' texts as well as on our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hls_handler.prompting.effort import MAX_CHARACTERS
from hls_handler.untrusted.cleaning import Code, cap, for_prompt
from hls_handler.untrusted.markdown import for_cell
from hls_handler.untrusted.stranger import Stranger, shown_as


def excerpt(value: object, n: int) -> object:
    """The first `n` characters, with a remark on how many are missing."""
    return value.excerpt(n) if isinstance(value, Stranger) else cap(str(value), n)


def lines(value: object, a: int, b: int) -> object:
    """Lines `a` to `b`, both included, from 1."""
    if isinstance(value, Stranger):
        return value.lines(a, b)
    return "\n".join(str(value).split("\n")[max(a, 1) - 1 : max(b, 0)])


def code(value: object) -> object:
    """A patch or a file: shown whole, HTML comments too, so that its lines keep their numbers. In prompts only."""
    return shown_as(value, _code_for_prompt)


def inline(value: object) -> object:
    """A text on one line: for table cells, list items and headings. In comments only: it puts no delimiters."""
    return shown_as(value, for_cell)


def _code_for_prompt(text: str, nonce: str) -> str:
    return for_prompt(Code(text), nonce, limit=MAX_CHARACTERS)


Filters = Mapping[str, Callable[..., object]]

IN_PROMPTS: Filters = {"excerpt": excerpt, "lines": lines, "code": code}
IN_COMMENTS: Filters = {"excerpt": excerpt, "lines": lines, "inline": inline}
ELSEWHERE: Mapping[str, str] = {"code": "prompts", "inline": "comments"}
"""Where alone a filter may be used: one puts delimiters around a text, the other scrubs it."""
