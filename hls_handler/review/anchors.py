"""Anchors: a finding stands at a line that the patch shows and that says what the finding quotes, or it is dropped."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patch import NUMBERED_LINE, Line, Patch, Side
from hls_handler.untrusted.cleaning import Code, clean

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Place = tuple[Side, int]


@dataclass(frozen=True, slots=True)
class Anchored:
    kept: tuple[Finding, ...]  # worst first, then by file and line
    dropped: tuple[tuple[Finding, str], ...]  # with the reason, a sentence


def anchor(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> Anchored:
    """Hold findings against the patches that Claude was shown, by path.

    A finding stays where it is if that line is what it quotes (blanks apart). It moves if the quote is exactly one
    other line of the file's patch, on its own side rather than the other. Ranges are cut to the lines of one hunk; a
    suggestion for a range that was cut, or for removed lines, replaces nothing and goes. Findings of one category on
    one line become one. Never raises; what GitHub would refuse does not come out of here.
    """
    shown = {path: _Shown(patch) for path, patch in patches.items()}
    kept: list[Finding] = []
    dropped: list[tuple[Finding, str]] = []
    for finding in findings:
        file = shown.get(finding.path)
        found = file.find(finding) if file else f"{finding.path} is not among the files shown"
        if isinstance(found, str):
            dropped.append((finding, found))
        else:
            kept.append(found)
    return Anchored(tuple(_merged(kept)), tuple(dropped))


class _Shown:
    """One file's patch, ready for looking up places and texts."""

    def __init__(self, patch: Patch) -> None:
        self._lines: dict[Place, Line] = {}
        self._hunk: dict[Place, int] = {}
        self._saying: dict[str, list[Place]] = {}
        for index, hunk in enumerate(patch.hunks):
            for line in hunk.lines:
                place = (line.side, line.number)
                self._lines[place], self._hunk[place] = line, index
                self._saying.setdefault(_plain(line.text), []).append(place)

    def find(self, finding: Finding) -> Finding | str:
        """The finding where it belongs, or why it belongs nowhere."""
        quotes = _readings(finding.quote)
        here = (finding.side, finding.line)
        line = self._lines.get(here)
        if line is not None and _plain(line.text) in quotes:
            return self._at(here, finding)
        said = [place for quote in quotes if quote for place in self._saying.get(quote, ())]
        for side in (finding.side, _other(finding.side)):
            places = [place for place in said if place[0] == side]
            if len(places) == 1:
                return self._at(places[0], finding)
            if places:
                return f"its quote is at {len(places)} lines of {finding.path}, and not at line {finding.line}"
        return f"its quote is nowhere in the patch of {finding.path}"

    def _at(self, place: Place, finding: Finding) -> Finding:
        side, line = place
        lines_above = finding.line - finding.start_line if finding.start_line is not None else 0
        start = self._start(place, line - lines_above)
        replaceable = side == "RIGHT" and line - start == max(lines_above, 0)
        moved = {
            "side": side,
            "line": line,
            "start_line": start if start < line else None,
            "suggestion": finding.suggestion if replaceable else None,
        }
        return finding.model_copy(update=moved)

    def _start(self, place: Place, wanted: int) -> int:
        """The first line of a range that ends at `place`, as far up as its hunk shows lines without a gap."""
        side, start = place
        while start > wanted and self._hunk.get((side, start - 1)) == self._hunk[place]:
            start -= 1
        return start


def _readings(quote: str) -> tuple[str, ...]:
    """What a quote may mean: its last line as it stands, or without the number and the mark that Claude was shown."""
    last = next((line for line in reversed(quote.split("\n")) if _plain(line)), "")
    readings = [_plain(last)]
    shown = NUMBERED_LINE.fullmatch(last.strip())
    if shown is not None and shown["text"]:
        readings.append(_plain(shown["text"]))
    if last[:1] in ("+", "-"):
        readings.append(_plain(last[1:]))
    return tuple(dict.fromkeys(readings))


def _plain(text: str) -> str:
    """A text as Claude saw it, without blanks and invisible characters."""
    return "".join(character for character in clean(Code(text)) if unicodedata.category(character)[0] not in "CZ")


def _other(side: Side) -> Side:
    return "LEFT" if side == "RIGHT" else "RIGHT"


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first; one finding for each line and category: the worst, with its range and what the others say below."""
    merged: dict[tuple[str, Side, int, str], Finding] = {}
    for finding in sorted(findings, key=_order):
        key = (finding.path, finding.side, finding.line, finding.category)
        first = merged.get(key)
        merged[key] = finding if first is None else _joined(first, finding)
    return list(merged.values())


def _joined(first: Finding, other: Finding) -> Finding:
    same = _plain(other.body) in _plain(first.body)
    body = first.body if same else f"{first.body}\n\n**{other.title}**\n\n{other.body}"
    return first.model_copy(update={"body": body})


def _order(finding: Finding) -> tuple[int, str, int, Side, float]:
    return (RANK[finding.severity], finding.path, finding.line, finding.side, -finding.confidence)
