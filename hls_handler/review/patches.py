r"""Parses patches and shows them to Claude as numbered lines.

The text for Claude has one line for each line of the patch:

    @@ -10,3 +10,3 @@ def area():      header of a hunk, as in GitHub's patch
    R   10   side = 2                 unchanged: number in the new file, a blank as mark, the text
    L   11 - return side * 2          removed: number in the old file
    R   11 + return side ** 2         added: number in the new file
    \ No newline at end of file       the file ends with the line above

A numbered line consists of the side (`R` or `L`), a space, the number right-aligned to at least
four places, a space, the mark (space, `-` or `+`), a space and the text. `NUMBERED_LINE` matches a
numbered line; `parse_numbered` parses the whole text. Patches and this text are split at "\n" only,
because a line may contain other Unicode line ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

MAX_WORD_CHARS = 2_000
DATA = re.compile(rf"\S{{{MAX_WORD_CHARS},}}+")
DATA_REMARK = re.compile(r"\[\.\.\. ([0-9,]{1,15}) characters\]")

Side = Literal["LEFT", "RIGHT"]
Mark = Literal[" ", "-", "+"]

HUNK_HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
NUMBERED_LINE = re.compile(
    r"(?P<side>[LR]) +(?P<number>[0-9]{1,10})(?: (?P<mark>[-+ ])(?: (?P<text>.*))?)?"
)
NO_NEWLINE = "\\ No newline at end of file"
SUBMODULE = re.compile(r"Subproject commit [0-9a-f]{40,64}")
"""The only line of a submodule, in git's patches."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a patch. An unchanged line is in the old and the new file; its side is RIGHT."""

    side: Side
    number: int  # in the old file for LEFT, in the new file for RIGHT; from 1
    mark: Mark
    text: str  # without mark and "\n"; a "\r" stays
    lacks_newline: bool = False  # True: the file ends with this line, without a newline


@dataclass(frozen=True, slots=True)
class Hunk:
    header: str  # "@@ -10,3 +10,3 @@ def area():"
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    hunks: tuple[Hunk, ...]

    @property
    def lines(self) -> list[Line]:
        """Return the lines of all hunks."""
        return [line for hunk in self.hunks for line in hunk.lines]

    @property
    def changed_lines(self) -> int:
        return sum(line.mark != " " for line in self.lines)

    @property
    def data_characters(self) -> int:
        """Return the number of characters that `hide_data` left out of changed lines."""
        texts = [line.text for line in self.lines if line.mark != " "]
        remarks = DATA_REMARK.findall("\n".join(texts))
        return sum(int(number.replace(",", "") or 0) for number in remarks)

    @property
    def is_submodule(self) -> bool:
        """True if the patch only changes the commit of a submodule."""
        lines = self.lines
        return bool(lines) and all(SUBMODULE.fullmatch(line.text) for line in lines)

    @property
    def changes_text(self) -> bool:
        """False if all changed lines are blank, or there are none."""
        return any(line.mark != " " and line.text.strip() for line in self.lines)


def parse_patch(text: str) -> Patch:
    """Parse the field `patch` of
    https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files.

    Never raises: skips text before the first hunk header, and lines that begin with no `+`, `-`,
    space or backslash.
    """
    hunks: list[tuple[str, list[Line]]] = []
    # numbers of the next line
    old = 0
    new = 0
    # numbers of the first line after the hunk
    old_end = 0
    new_end = 0
    for raw in text.split("\n"):
        header = HUNK_HEADER.match(raw)
        if header is not None:
            hunks.append((raw, []))
            old = int(header[1])
            new = int(header[3])
            old_end = old + int(header[2] or 1)
            new_end = new + int(header[4] or 1)
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
        # tools may strip an empty line
        elif raw.startswith(" ") or (not raw and old < old_end and new < new_end):
            lines.append(Line("RIGHT", new, " ", raw[1:]))
            old += 1
            new += 1
        elif raw.startswith("\\") and lines:
            lines[-1] = replace(lines[-1], lacks_newline=True)
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


def hide_data(patch: Patch) -> Patch:
    """Return the patch with a remark in place of each text of 2,000 characters or more without a
    blank: "[... 98,304 characters]".

    Such texts are pictures in a notebook, data URLs and the like. Redact the patch before: the
    remark may be in the place of half a credential.
    """
    return Patch(
        tuple(replace(hunk, lines=tuple(map(hide_line, hunk.lines))) for hunk in patch.hunks)
    )


def hide_line(line: Line) -> Line:
    if len(line.text) < MAX_WORD_CHARS:
        return line
    text = DATA.sub(lambda data: f"[... {len(data[0]):,} characters]", line.text)
    return replace(line, text=text)


def numbered(patch: Patch) -> str:
    """Return the patch as text with numbered lines, such as "R   11 + return side ** 2"."""
    texts: list[str] = []
    for hunk in patch.hunks:
        texts.append(hunk.header)
        texts += map(number_line, hunk.lines)
    return "\n".join(texts)


def number_line(line: Line) -> str:
    text = f"{line.side[0]} {line.number:>4} {line.mark} {line.text}"
    if line.lacks_newline:
        return f"{text}\n{NO_NEWLINE}"
    return text


def widen(patch: Patch, around: Sequence[Line]) -> Patch:
    """Return the patch with unchanged lines of the new file around its hunks; hunks that touch
    become one.
    """
    numbers = {line.number for line in patch.lines if line.side == "RIGHT"}
    pieces = [_Piece(line.number, (line,)) for line in around if line.number not in numbers]
    if not pieces:
        return patch
    pieces += map(_to_piece, patch.hunks)
    pieces.sort(key=lambda piece: (piece.first, piece.end))
    shift = next((piece.shift for piece in pieces if piece.shift is not None), 0)
    hunks: list[Hunk] = []
    end = 0
    for piece in pieces:
        if piece.first == end:
            hunks[-1] = replace(hunks[-1], lines=(*hunks[-1].lines, *piece.lines))
        else:
            old = max(piece.first + shift, 1)  # a guess, if the patch lacks a hunk above
            header = f"@@ -{old} +{piece.first} @@{piece.title}"
            hunks.append(Hunk(header, piece.lines))
        end = piece.end
        if piece.shift is not None:
            shift = piece.shift + piece.count("-") - piece.count("+")
    return Patch(tuple(map(_count_lines, hunks)))


@dataclass(frozen=True, slots=True)
class _Piece:
    first: int  # number of its first line in the new file
    lines: tuple[Line, ...]
    shift: int | None = None  # of a hunk: from `first` to the number in the old file
    title: str = ""

    @property
    def end(self) -> int:
        """The number of the line after it."""
        return self.first + sum(line.side == "RIGHT" for line in self.lines)

    def count(self, mark: Mark) -> int:
        return sum(line.mark == mark for line in self.lines)


def _to_piece(hunk: Hunk) -> _Piece:
    header = HUNK_HEADER.match(hunk.header)
    if header is None:
        raise ValueError(f"not a header of a hunk: {hunk.header!r}")
    # the number of no lines is that of the line above
    old = int(header[1]) + (header[2] == "0")
    new = int(header[3]) + (header[4] == "0")
    return _Piece(new, hunk.lines, old - new, hunk.header[header.end() :])


def _count_lines(hunk: Hunk) -> Hunk:
    """Return the hunk with the numbers of its lines in its header."""
    old = sum(line.mark != "+" for line in hunk.lines)
    new = sum(line.mark != "-" for line in hunk.lines)
    header = re.sub(r"(-\d+) (\+\d+)", rf"\1,{old} \2,{new}", hunk.header, count=1)
    return replace(hunk, header=header)


def text_of(line: str) -> str:
    """Return the text of a line, without the side, number and mark that it may begin with."""
    match = NUMBERED_LINE.fullmatch(line.strip())
    if match is None:
        return line
    return match["text"] or ""


def parse_numbered(text: str) -> Patch:
    """Parse the text that `numbered` returned. Lines of any other format are skipped; nothing is
    raised.
    """
    hunks: list[tuple[str, list[Line]]] = []
    for raw in text.split("\n"):
        if HUNK_HEADER.match(raw):
            hunks.append((raw, []))
            continue
        match = NUMBERED_LINE.fullmatch(raw)
        if not hunks:
            continue
        lines = hunks[-1][1]
        if match is not None:
            side: Side = "LEFT" if match["side"] == "L" else "RIGHT"
            mark = _MARKS[match["mark"] or " "]
            lines.append(Line(side, int(match["number"]), mark, match["text"] or ""))
        elif raw.startswith("\\") and lines:
            lines[-1] = replace(lines[-1], lacks_newline=True)
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


_MARKS: dict[str, Mark] = {mark: mark for mark in get_args(Mark)}
