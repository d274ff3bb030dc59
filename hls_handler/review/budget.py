"""The budget of patches: a patch cut to what may be shown."""

from __future__ import annotations

from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.review.patch import Hunk, Line, Patch

LEAST_LINES = 20
"""Fewer lines of a hunk than this are not worth showing by themselves."""


def cut_to(patch: Patch, tokens: int) -> Patch:
    """The leading hunks that fit. A first hunk that is too long by itself is cut at a line; Patch(()) if hardly any."""
    left = tokens
    hunks: list[Hunk] = []
    for hunk in patch.hunks:
        needed = estimate_tokens(hunk.header) + sum(_tokens(line) for line in hunk.lines)
        if needed > left:
            if not hunks:
                hunks.extend(_beginning(hunk, left))
            break
        hunks.append(hunk)
        left -= needed
    return Patch(tuple(hunks))


def _beginning(hunk: Hunk, tokens: int) -> tuple[Hunk, ...]:
    left, count = tokens - estimate_tokens(hunk.header), 0
    for line in hunk.lines:
        left -= _tokens(line)
        if left < 0:
            break
        count += 1
    return (Hunk(hunk.header, hunk.lines[:count]),) if count >= LEAST_LINES else ()


def _tokens(line: Line) -> int:
    """Of one numbered line: side, number, mark and line end are ten characters beside the text."""
    return estimate_tokens(f"R 1234 + {line.text}\n")
