"""Finds the line of a patch that each finding of Claude quotes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patches import NUMBERED_LINE, Line, Patch, Side, normalize_line

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
