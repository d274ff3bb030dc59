"""Truncates comments to GitHub's limit, with a visible note and without losing the footer."""

from __future__ import annotations

import re

MAX_COMMENT_CHARS = 65_536
"""GitHub's limit for a comment, in characters."""

TRUNCATION_NOTE = "*The middle of this comment was left out: GitHub shows 65,536 characters at most.*"

MAX_FOOTER_CHARS = 4_000
"""A last paragraph of at most this many characters is kept as the footer."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_DETAILS = re.compile(r"<(/?)details\b", re.IGNORECASE)


def truncate_comment(body: str, max_chars: int, *, note: str = TRUNCATION_NOTE) -> str:
    """Return `body`, or if it exceeds `max_chars`, its beginning up to a line end, the note and the footer.

    The footer is the last paragraph. Code blocks and `<details>` elements that the cut leaves open are closed, so that
    note and footer are visible. `max_chars` must be at least several thousand.
    """
    if len(body) <= max_chars:
        return body
    _, _, footer = body.rpartition("\n\n")
    if len(footer) > MAX_FOOTER_CHARS:
        footer = ""
    tail = f"\n\n{note}\n\n{footer}"
    available = max_chars - len(tail)
    while True:
        head = body[:available]
        cut = head.rfind("\n")
        head = head[:cut] if cut > available // 2 else head
        closed = head + _closing_markup(head)
        if len(closed) + len(tail) <= max_chars:
            return closed + tail
        available -= len(closed) + len(tail) - max_chars


def next_open_fence(line: str, fence: str | None) -> str | None:
    """Return the fence ("```") of the code block open after `line`, or None; `fence` is the one open before it."""
    mark = _FENCE.match(line)
    if fence is None:
        return mark[1] if mark else None
    return None if mark and mark[1].startswith(fence) and line.strip() == mark[1] else fence


def _closing_markup(head: str) -> str:
    """Return the markup that closes the code block and the `<details>` elements open at the end of `head`."""
    fence: str | None = None
    open_details = 0
    for line in head.split("\n"):
        was_in_code, fence = fence is not None, next_open_fence(line, fence)
        if not was_in_code and fence is None:
            open_details += sum(-1 if tag[1] else 1 for tag in _DETAILS.finditer(line))
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * max(open_details, 0)
