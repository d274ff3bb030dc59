"""Truncates patches to a number of tokens."""

from __future__ import annotations

from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.review.patch import Hunk, Line, Patch

MIN_LINES = 20
"""A hunk is not cut to fewer lines than this."""


def cut_to(patch: Patch, tokens: int) -> Patch:
    """Return the leading hunks that fit. A too long first hunk is cut after a line, or omitted below `MIN_LINES`."""
    left = tokens
    hunks: list[Hunk] = []
    for hunk in patch.hunks:
        needed = estimate_tokens(hunk.header) + sum(_tokens(line) for line in hunk.lines)
        if needed > left:
            if not hunks:
                hunks.extend(_cut_hunk(hunk, left))
            break
        hunks.append(hunk)
        left -= needed
    return Patch(tuple(hunks))


def _cut_hunk(hunk: Hunk, tokens: int) -> tuple[Hunk, ...]:
    left, count = tokens - estimate_tokens(hunk.header), 0
    for line in hunk.lines:
        left -= _tokens(line)
        if left < 0:
            break
        count += 1
    return (Hunk(hunk.header, hunk.lines[:count]),) if count >= MIN_LINES else ()


def _tokens(line: Line) -> int:
    """Estimate a numbered line: side, number, mark and line end add ten characters to the text."""
    return estimate_tokens(f"R 1234 + {line.text}\n")
