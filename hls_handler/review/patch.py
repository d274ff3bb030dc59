r"""Parses GitHub's `patch` text of one file into numbered lines, and formats them for Claude.

The format has one line of text for each line of the patch, in four forms:

    @@ -10,3 +10,3 @@ def area():      a hunk begins; the header as GitHub has it
    R   10   side = 2                 unchanged: its number in the new file, a blank as mark, the text
    L   11 - return side * 2          removed: its number in the old file
    R   11 + return side ** 2         added: its number in the new file
    \ No newline at end of file       about the line above

that is: side (`R` or `L`), a space, the number right-aligned to at least four places, a space, the mark (space, `-` or
`+`), a space, the text. `NUMBERED_LINE` matches such a line, `parse_numbered` parses the whole text; other lines are
remarks. Both formats are split at "\n" only, because a text may contain other Unicode line ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.prompting.render import estimate_tokens

Side = Literal["LEFT", "RIGHT"]
Mark = Literal[" ", "-", "+"]

HUNK_HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
NUMBERED_LINE = re.compile(r"(?P<side>[LR]) +(?P<number>[0-9]{1,10})(?: (?P<mark>[-+ ])(?: (?P<text>.*))?)?")
NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Line:
    """A line in a patch. An unchanged line is on both sides and has its number in the new file."""

    side: Side
    number: int  # in the old file for LEFT, in the new file for RIGHT; from 1
    mark: Mark
    text: str  # without mark and "\n"; a "\r" stays
    lacks_newline: bool = False  # the last line of its file, without a newline


@dataclass(frozen=True, slots=True)
class Hunk:
    header: str  # "@@ -10,3 +10,3 @@ def area():"
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    hunks: tuple[Hunk, ...]


def parse_patch(text: str) -> Patch:
    """Parse the `patch` of https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files.

    Never raises: text before the first header and lines without a mark are skipped.
    """
    hunks: list[tuple[str, list[Line]]] = []
    old = new = old_end = new_end = 0  # numbers of the next line, and of the first line after the hunk
    for raw in text.split("\n"):
        header = HUNK_HEADER.match(raw)
        if header is not None:
            hunks.append((raw, []))
            old, new = int(header[1]), int(header[3])
            old_end, new_end = old + int(header[2] or 1), new + int(header[4] or 1)
            continue
        if not hunks:
            continue
        lines = hunks[-1][1]
        if raw.startswith("-"):
            lines.append(Line("LEFT", old, "-", raw[1:]))
            old += 1
        elif raw.startswith("+"):
            lines.append(Line("RIGHT", new, "+", raw[1:]))
            new += 1
        elif raw.startswith(" ") or (not raw and old < old_end and new < new_end):  # tools may strip an empty line
            lines.append(Line("RIGHT", new, " ", raw[1:]))
            old, new = old + 1, new + 1
        elif raw.startswith("\\") and lines:
            lines[-1] = _without_newline(lines[-1])
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


def numbered(patch: Patch) -> str:
    """Return the patch as Claude sees it, in the format of the module's docstring."""
    shown: list[str] = []
    for hunk in patch.hunks:
        shown.append(hunk.header)
        for line in hunk.lines:
            shown.append(f"{line.side[0]} {line.number:>4} {line.mark} {line.text}")
            if line.lacks_newline:
                shown.append(NO_NEWLINE)
    return "\n".join(shown)


def parse_numbered(text: str) -> Patch:
    """Parse the format of `numbered`. Never raises: other lines are skipped."""
    hunks: list[tuple[str, list[Line]]] = []
    for raw in text.split("\n"):
        if HUNK_HEADER.match(raw):
            hunks.append((raw, []))
            continue
        shown = NUMBERED_LINE.fullmatch(raw)
        if not hunks:
            continue
        lines = hunks[-1][1]
        if shown is not None:
            side: Side = "LEFT" if shown["side"] == "L" else "RIGHT"
            lines.append(Line(side, int(shown["number"]), _MARKS[shown["mark"] or " "], shown["text"] or ""))
        elif raw.startswith("\\") and lines:
            lines[-1] = _without_newline(lines[-1])
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


_MARKS: dict[str, Mark] = {mark: mark for mark in get_args(Mark)}


def _without_newline(line: Line) -> Line:
    return Line(line.side, line.number, line.mark, line.text, lacks_newline=True)


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
