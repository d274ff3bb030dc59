"""Patches: GitHub's `patch` text of one file as numbered lines, and the form in which Claude sees them.

The form has one line of text for each line of the patch, in four shapes:

    @@ -10,3 +10,3 @@ def area():      a hunk begins; the header as GitHub has it
    R   10   side = 2                 unchanged: its number in the new file, a blank as mark, the text
    L   11 - return side * 2          removed: its number in the old file
    R   11 + return side ** 2         added: its number in the new file
    \\ No newline at end of file       about the line above

that is: side (`R` or `L`), a space, the number right-aligned to at least four places, a space, the mark (space, `-` or
`+`), a space, the text. `NUMBERED_LINE` reads such a line, `parse_numbered` the whole; other lines are remarks. Both
forms are split at "\\n" only: a text may well hold other characters that Unicode calls line ends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Side = Literal["LEFT", "RIGHT"]
Mark = Literal[" ", "-", "+"]

HUNK_HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
NUMBERED_LINE = re.compile(r"(?P<side>[LR]) +(?P<number>[0-9]{1,10})(?: (?P<mark>[-+ ])(?: (?P<text>.*))?)?")
NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that the patch shows. An unchanged one is on both sides; it goes by its place in the new file."""

    side: Side
    number: int  # in the old file for LEFT, in the new file for RIGHT; from 1
    mark: Mark
    text: str  # without mark and "\n"; a "\r" stays
    ends_bare: bool = False  # the last line of its file, without a newline


@dataclass(frozen=True, slots=True)
class Hunk:
    header: str  # "@@ -10,3 +10,3 @@ def area():"
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    hunks: tuple[Hunk, ...]


def parse_patch(text: str) -> Patch:
    """Parse the `patch` of https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files.

    Never raises: what stands before the first header, and lines without a mark, are left out.
    """
    hunks: list[tuple[str, list[Line]]] = []
    old = new = old_end = new_end = 0  # the next line's numbers, and the first numbers behind the hunk
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
        elif raw.startswith(" ") or (not raw and old < old_end and new < new_end):  # some tools strip an empty line
            lines.append(Line("RIGHT", new, " ", raw[1:]))
            old, new = old + 1, new + 1
        elif raw.startswith("\\") and lines:
            lines[-1] = _bare(lines[-1])
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


def numbered(patch: Patch) -> str:
    """The patch as Claude sees it; the module's docstring gives the form."""
    shown: list[str] = []
    for hunk in patch.hunks:
        shown.append(hunk.header)
        for line in hunk.lines:
            shown.append(f"{line.side[0]} {line.number:>4} {line.mark} {line.text}")
            if line.ends_bare:
                shown.append(NO_NEWLINE)
    return "\n".join(shown)


def parse_numbered(text: str) -> Patch:
    """Read the form that `numbered` writes. Never raises: lines of no known shape are left out."""
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
            lines[-1] = _bare(lines[-1])
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


_MARKS: dict[str, Mark] = {mark: mark for mark in get_args(Mark)}


def _bare(line: Line) -> Line:
    return Line(line.side, line.number, line.mark, line.text, ends_bare=True)
