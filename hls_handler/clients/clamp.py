"""A comment that is too long for GitHub, shortened so that one sees it, and so that its footer survives."""

from __future__ import annotations

import re

LONGEST = 65_536
"""Characters that GitHub lets a comment have."""

NOTE = "*The middle of this comment was left out: GitHub shows 65,536 characters at most.*"

LONGEST_FOOTER = 4_000
"""Characters of the last paragraph that are kept for certain."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_DETAILS = re.compile(r"<(/?)details\b", re.IGNORECASE)


def clamp(body: str, most: int, *, note: str = NOTE) -> str:
    """The body if it has at most `most` characters; else its beginning up to a line's end, the note, and its footer.

    The footer is the last paragraph. Code blocks and foldings that the cut leaves open are closed, so that note and
    footer show. `most` is several thousand.
    """
    if len(body) <= most:
        return body
    _, _, footer = body.rpartition("\n\n")
    if len(footer) > LONGEST_FOOTER:
        footer = ""
    tail = f"\n\n{note}\n\n{footer}"
    room = most - len(tail)
    while True:
        head = body[:room]
        cut = head.rfind("\n")
        head = head[:cut] if cut > room // 2 else head
        closed = head + _closing(head)
        if len(closed) + len(tail) <= most:
            return closed + tail
        room -= len(closed) + len(tail) - most


def fence_behind(line: str, fence: str | None) -> str | None:
    """The fence of the code block that is open behind a line, given the one that is open before it: "```"."""
    mark = _FENCE.match(line)
    if fence is None:
        return mark[1] if mark else None
    return None if mark and mark[1].startswith(fence) and line.strip() == mark[1] else fence


def _closing(head: str) -> str:
    """What closes the code block and the foldings that are open at the end."""
    fence: str | None = None
    foldings = 0
    for line in head.split("\n"):
        was_in_code, fence = fence is not None, fence_behind(line, fence)
        if not was_in_code and fence is None:
            foldings += sum(-1 if tag[1] else 1 for tag in _DETAILS.finditer(line))
    return (f"\n{fence}" if fence else "") + "\n\n</details>" * max(foldings, 0)
