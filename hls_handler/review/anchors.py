"""Anchors findings: each is placed at the line of the patch that it quotes, or dropped."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patch import NUMBERED_LINE, Line, Patch, Side
from hls_handler.untrusted.cleaning import CodeText, clean

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Place = tuple[Side, int]


@dataclass(frozen=True, slots=True)
class AnchoringResult:
    kept: tuple[Finding, ...]  # worst first, then by file and line
    dropped: tuple[tuple[Finding, str], ...]  # with the reason as a sentence


def anchor(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> AnchoringResult:
    """Compare findings with the patches that Claude was shown, by path.

    A finding keeps its line if the line equals its quote, apart from blanks. It moves if the quote equals exactly one
    other line of the file's patch; its own side is searched first. A range is cut to the lines of one hunk. A
    suggestion for a cut range or for removed lines is dropped, because it could not be applied. Findings of the same
    category on one line are merged. Never raises; GitHub accepts the positions of all returned findings.
    """
    shown = {path: _PatchIndex(patch) for path, patch in patches.items()}
    kept: list[Finding] = []
    dropped: list[tuple[Finding, str]] = []
    for finding in findings:
        file = shown.get(finding.path)
        found = file.find(finding) if file else f"{finding.path} is not among the files shown"
        if isinstance(found, str):
            dropped.append((finding, found))
        else:
            kept.append(found)
    return AnchoringResult(tuple(_merge(kept)), tuple(dropped))


class _PatchIndex:
    """Index of one file's patch by position and by text."""

    def __init__(self, patch: Patch) -> None:
        self._lines: dict[Place, Line] = {}
        self._hunk_index: dict[Place, int] = {}
        self._places_by_text: dict[str, list[Place]] = {}
        for index, hunk in enumerate(patch.hunks):
            for line in hunk.lines:
                place = (line.side, line.number)
                self._lines[place], self._hunk_index[place] = line, index
                self._places_by_text.setdefault(_normalize(line.text), []).append(place)

    def find(self, finding: Finding) -> Finding | str:
        """Return the finding at its line, or the reason why it has none."""
        variants = _variants(finding.quote)
        position = (finding.side, finding.line)
        line = self._lines.get(position)
        if line is not None and _normalize(line.text) in variants:
            return self._move_to(position, finding)
        quoted_places = [place for quote in variants if quote for place in self._places_by_text.get(quote, ())]
        for side in (finding.side, _other_side(finding.side)):
            places = [place for place in quoted_places if place[0] == side]
            if len(places) == 1:
                return self._move_to(places[0], finding)
            if places:
                return f"its quote matches {len(places)} lines of {finding.path}, but not line {finding.line}"
        return f"its quote is not in the patch of {finding.path}"

    def _move_to(self, place: Place, finding: Finding) -> Finding:
        side, line = place
        lines_above = finding.line - finding.start_line if finding.start_line is not None else 0
        start = self._range_start(place, line - lines_above)
        replaceable = side == "RIGHT" and line - start == max(lines_above, 0)
        moved = {
            "side": side,
            "line": line,
            "start_line": start if start < line else None,
            "suggestion": finding.suggestion if replaceable else None,
        }
        return finding.model_copy(update=moved)

    def _range_start(self, place: Place, wanted: int) -> int:
        """Return the first line of a range that ends at `place`, within the adjacent lines of its hunk."""
        side, start = place
        while start > wanted and self._hunk_index.get((side, start - 1)) == self._hunk_index[place]:
            start -= 1
        return start


def _variants(quote: str) -> tuple[str, ...]:
    """Return variants of the quote's last line: unchanged, and without the number or mark that Claude was shown."""
    last = next((line for line in reversed(quote.split("\n")) if _normalize(line)), "")
    variants = [_normalize(last)]
    shown = NUMBERED_LINE.fullmatch(last.strip())
    if shown is not None and shown["text"]:
        variants.append(_normalize(shown["text"]))
    if last[:1] in ("+", "-"):
        variants.append(_normalize(last[1:]))
    return tuple(dict.fromkeys(variants))


def _normalize(text: str) -> str:
    """Return the text as Claude saw it, without blanks and invisible characters."""
    return "".join(character for character in clean(CodeText(text)) if unicodedata.category(character)[0] not in "CZ")


def _other_side(side: Side) -> Side:
    return "LEFT" if side == "RIGHT" else "RIGHT"


def _merge(findings: Iterable[Finding]) -> list[Finding]:
    """Sort by severity and merge by line and category: the worst finding, followed by the texts of the others."""
    merged: dict[tuple[str, Side, int, str], Finding] = {}
    for finding in sorted(findings, key=_sort_key):
        key = (finding.path, finding.side, finding.line, finding.category)
        first = merged.get(key)
        merged[key] = finding if first is None else _join(first, finding)
    return list(merged.values())


def _join(first: Finding, other: Finding) -> Finding:
    same = _normalize(other.body) in _normalize(first.body)
    body = first.body if same else f"{first.body}\n\n**{other.title}**\n\n{other.body}"
    return first.model_copy(update={"body": body})


def _sort_key(finding: Finding) -> tuple[int, str, int, Side, float]:
    return (RANK[finding.severity], finding.path, finding.line, finding.side, -finding.confidence)
