r"""Shows patches to Claude as numbered lines, and finds the line of a patch that each finding of Claude quotes.

The text for Claude has one line for each line of the patch:

    @@ -10,3 +10,3 @@ def area():      header of a hunk, as in GitHub's patch
    R   10   side = 2                 unchanged: number in the new file, a blank as mark, the text
    L   11 - return side * 2          removed: number in the old file
    R   11 + return side ** 2         added: number in the new file
    \ No newline at end of file       the file ends with the line above

A numbered line consists of the side (`R` or `L`), a space, the number right-aligned to at least four places, a space,
the mark (space, `-` or `+`), a space and the text. `NUMBERED_LINE` matches a numbered line; `parse_numbered` parses the
whole text. Patches and this text are split at "\n" only, because a line may contain other Unicode line ends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, get_args

from hls_handler.analysis import Finding, Severity
from hls_handler.prompting.render import estimate_tokens
from hls_handler.untrusted.cleaning import CodeText, clean

Side = Literal["LEFT", "RIGHT"]
Mark = Literal[" ", "-", "+"]

HUNK_HEADER = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
NUMBERED_LINE = re.compile(r"(?P<side>[LR]) +(?P<number>[0-9]{1,10})(?: (?P<mark>[-+ ])(?: (?P<text>.*))?)?")
NO_NEWLINE = "\\ No newline at end of file"


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


def parse_patch(text: str) -> Patch:
    """Parse the field `patch` of https://docs.github.com/en/rest/pulls/pulls#list-pull-requests-files.

    Never raises: skips text before the first hunk header, and lines that begin with no `+`, `-`, space or backslash.
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
            lines[-1] = replace(lines[-1], lacks_newline=True)
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


def numbered(patch: Patch) -> str:
    """Return the patch as text with numbered lines, such as "R   11 + return side ** 2"."""
    shown: list[str] = []
    for hunk in patch.hunks:
        shown.append(hunk.header)
        for line in hunk.lines:
            shown.append(f"{line.side[0]} {line.number:>4} {line.mark} {line.text}")
            if line.lacks_newline:
                shown.append(NO_NEWLINE)
    return "\n".join(shown)


def parse_numbered(text: str) -> Patch:
    """Parse the text that `numbered` returned. Lines of any other format are skipped; nothing is raised."""
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
            lines[-1] = replace(lines[-1], lacks_newline=True)
    return Patch(tuple(Hunk(header, tuple(lines)) for header, lines in hunks))


_MARKS: dict[str, Mark] = {mark: mark for mark in get_args(Mark)}


MIN_LINES = 20  # a hunk is not cut to fewer lines than this


def truncate_patch(patch: Patch, tokens: int) -> Patch:
    """Return the first hunks of the patch, as many as fit into `tokens`.

    If the first hunk alone does not fit, its last lines are removed. If fewer than `MIN_LINES` fit, no hunk is left.
    """
    left = tokens
    hunks: list[Hunk] = []
    for hunk in patch.hunks:
        needed = estimate_tokens(hunk.header) + sum(_tokens(line) for line in hunk.lines)
        if needed > left:
            if not hunks:
                left -= estimate_tokens(hunk.header)
                ends = accumulate(_tokens(line) for line in hunk.lines)
                count = sum(end <= left for end in ends)
                hunks += [Hunk(hunk.header, hunk.lines[:count])] if count >= MIN_LINES else []
            break
        hunks.append(hunk)
        left -= needed
    return Patch(tuple(hunks))


def _tokens(line: Line) -> int:
    return estimate_tokens(f"R 1234 + {line.text}\n")  # the line as `numbered` writes it


RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Position = tuple[Side, int]


def locate_findings(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> tuple[tuple[Finding, ...], int]:
    """Move each finding to the line that it quotes. Return the findings, and the number of dropped findings.

    `patches` maps paths to the patches that Claude was shown. A finding stays on its line if that line equals the last
    line of the quote; blanks are ignored. If that line differs, the finding moves to the only equal line of the
    finding's side (LEFT or RIGHT). If that side has no equal line, the finding moves to the only equal line of the
    other side. If neither side has an equal line, or the first with equal lines has several, the finding is dropped. A
    range of lines is cut to one hunk. A suggestion for a cut range or for removed lines is deleted, because GitHub
    could not apply the suggestion. Findings of one category at one line are merged. The findings are sorted by
    severity, path and line. GitHub accepts a review comment at each returned line.
    """
    shown = {path: _PatchIndex(patch) for path, patch in patches.items()}
    found = [shown[finding.path].find(finding) if finding.path in shown else None for finding in findings]
    return tuple(_merge(finding for finding in found if finding is not None)), found.count(None)


class _PatchIndex:
    def __init__(self, patch: Patch) -> None:
        self._lines: dict[Position, Line] = {}
        self._hunk_index: dict[Position, int] = {}
        self._positions_by_text: dict[str, list[Position]] = {}
        for index, hunk in enumerate(patch.hunks):
            for line in hunk.lines:
                position = (line.side, line.number)
                self._lines[position], self._hunk_index[position] = line, index
                self._positions_by_text.setdefault(normalize_line(line.text), []).append(position)

    def find(self, finding: Finding) -> Finding | None:
        variants = _variants(finding.quote)
        position = (finding.side, finding.line)
        line = self._lines.get(position)
        if line is not None and normalize_line(line.text) in variants:
            return self._move_to(position, finding)
        quoted = [position for quote in variants if quote for position in self._positions_by_text.get(quote, ())]
        other_side: Side = "LEFT" if finding.side == "RIGHT" else "RIGHT"
        for side in (finding.side, other_side):
            positions = [position for position in quoted if position[0] == side]
            if positions:
                return self._move_to(positions[0], finding) if len(positions) == 1 else None
        return None

    def _move_to(self, position: Position, finding: Finding) -> Finding:
        side, line = position
        lines_above = finding.line - finding.start_line if finding.start_line is not None else 0
        start = self._range_start(position, line - lines_above)
        replaceable = side == "RIGHT" and line - start == max(lines_above, 0)
        moved = {
            "side": side,
            "line": line,
            "start_line": start if start < line else None,
            "suggestion": finding.suggestion if replaceable else None,
        }
        return finding.model_copy(update=moved)

    def _range_start(self, position: Position, wanted: int) -> int:
        side, start = position
        while start > wanted and self._hunk_index.get((side, start - 1)) == self._hunk_index[position]:
            start -= 1
        return start


def _variants(quote: str) -> tuple[str, ...]:
    last = next((line for line in reversed(quote.split("\n")) if normalize_line(line)), "")
    variants = [normalize_line(last)]
    shown = NUMBERED_LINE.fullmatch(last.strip())  # Claude may copy the number with the line
    if shown is not None and shown["text"]:
        variants.append(normalize_line(shown["text"]))
    if last[:1] in ("+", "-"):
        variants.append(normalize_line(last[1:]))
    return tuple(dict.fromkeys(variants))


def normalize_line(text: str) -> str:
    # without blanks (Z) and invisible characters (C), so that texts that look the same are equal
    return "".join(character for character in clean(CodeText(text)) if unicodedata.category(character)[0] not in "CZ")


def _merge(findings: Iterable[Finding]) -> list[Finding]:
    merged: dict[tuple[str, Side, int, str], Finding] = {}
    worst_first = sorted(findings, key=lambda f: (RANK[f.severity], f.path, f.line, f.side, -f.confidence))
    for finding in worst_first:
        key = (finding.path, finding.side, finding.line, finding.category)
        first = merged.get(key)
        merged[key] = finding if first is None else _join(first, finding)
    return list(merged.values())


def _join(first: Finding, other: Finding) -> Finding:
    same = normalize_line(other.body) in normalize_line(first.body)
    body = first.body if same else f"{first.body}\n\n**{other.title}**\n\n{other.body}"
    return first.model_copy(update={"body": body})
