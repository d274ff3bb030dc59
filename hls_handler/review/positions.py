"""Finds the line of a patch that each finding of Claude quotes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hls_handler.analysis import MAX_QUOTE_CHARS, Finding, Severity
from hls_handler.review.patches import NUMBERED_LINE, Line, Patch, Side, normalize_line
from hls_handler.untrusted.markdown import sanitize_code_block

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Position = tuple[Side, int]


MAX_MOVED_LINES = 20
"""Distance up to which a finding moves to the line that it quotes. Farther away, the quote may mean another place."""

MIN_PART_CHARS = 20
"""Least characters, without blanks, of a part of a line longer than `MAX_QUOTE_CHARS` that stands for the line."""

REDACTION_MARKER = "[redacted: "


def locate_findings(
    findings: Iterable[Finding], patches: Mapping[str, Patch]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Move each finding to the line that it quotes. Return these findings, and those without such a line.

    `patches` maps paths to the patches that Claude was shown. A finding stays on its line if that line equals the last
    line of the quote; blanks are ignored. Of a line longer than `MAX_QUOTE_CHARS`, a part suffices. If that line
    differs, the finding moves to the nearest equal line within `MAX_MOVED_LINES`: of the finding's side (LEFT or
    RIGHT), or else of the other side. If there is none, or if two are equally near, the finding has no line. A range of
    lines is cut to one hunk.

    A suggestion is deleted unless GitHub can replace exactly the named lines by it: for removed lines, for a range that
    was cut or moved, if only a part of the line is quoted, and if it changes nothing or lacks a redacted credential.
    Findings of one category at one line are merged. The located findings are sorted by severity, path and line. GitHub
    accepts a review comment at each returned line.
    """
    shown = {path: _PatchIndex(patch) for path, patch in patches.items()}
    located: list[Finding] = []
    lost: list[Finding] = []
    for finding in findings:
        found = shown[finding.path].find(finding) if finding.path in shown else None
        if found is None:
            lost.append(finding)
        else:
            located.append(found)
    return tuple(_merge(located)), tuple(lost)


class _PatchIndex:
    def __init__(self, patch: Patch) -> None:
        self._lines: dict[Position, Line] = {}
        self._hunk_index: dict[Position, int] = {}
        self._positions_by_text: dict[str, list[Position]] = {}
        self._long_lines: dict[Position, str] = {}  # normalized text
        for index, hunk in enumerate(patch.hunks):
            for line in hunk.lines:
                position = (line.side, line.number)
                self._lines[position], self._hunk_index[position] = line, index
                text = normalize_line(line.text)
                self._positions_by_text.setdefault(text, []).append(position)
                if len(line.text) > MAX_QUOTE_CHARS:
                    self._long_lines[position] = text

    def find(self, finding: Finding) -> Finding | None:
        variants = _variants(finding.quote)
        position = (finding.side, finding.line)
        line = self._lines.get(position)
        if line is not None and normalize_line(line.text) in variants:
            return self._move_to(position, finding)
        parts = {position for position, text in self._long_lines.items() if _quotes_part(variants, text)}
        if parts:  # a suggestion may replace only the quoted part
            finding = finding.model_copy(update={"suggestion": None})
        if position in parts:
            return self._move_to(position, finding)
        quoted = parts | {
            position for quote in variants if quote for position in self._positions_by_text.get(quote, ())
        }
        other_side: Side = "LEFT" if finding.side == "RIGHT" else "RIGHT"
        for side in (finding.side, other_side):
            near = sorted(
                (abs(number - finding.line), number)
                for at, number in quoted
                if at == side and abs(number - finding.line) <= MAX_MOVED_LINES
            )
            if near:
                is_tie = len(near) > 1 and near[0][0] == near[1][0]
                return None if is_tie else self._move_to((side, near[0][1]), finding)
        return None

    def _move_to(self, position: Position, finding: Finding) -> Finding:
        side, line = position
        lines_above = finding.line - finding.start_line if finding.start_line is not None else 0
        start = self._range_start(position, line - lines_above)
        is_moved = position != (finding.side, finding.line)
        is_exact = line - start == lines_above and not (lines_above and is_moved)
        suggestion = finding.suggestion if side == "RIGHT" and is_exact else None
        if suggestion:
            suggestion = suggestion.removesuffix("\n")  # GitHub would insert an empty line for it
            # Sanitizing would change the code that people apply.
            is_plain = sanitize_code_block(suggestion) == suggestion and REDACTION_MARKER not in suggestion
            if not suggestion or suggestion == self._text(start, line) or not is_plain:
                suggestion = None
        moved = {
            "side": side,
            "line": line,
            "start_line": start if start < line else None,
            "suggestion": suggestion,
        }
        return finding.model_copy(update=moved)

    def _text(self, start: int, line: int) -> str:
        return "\n".join(self._lines["RIGHT", number].text.removesuffix("\r") for number in range(start, line + 1))

    def _range_start(self, position: Position, wanted: int) -> int:
        side, start = position
        while start > wanted and self._hunk_index.get((side, start - 1)) == self._hunk_index[position]:
            start -= 1
        return start


def _quotes_part(variants: Iterable[str], text: str) -> bool:
    return any(len(quote) >= MIN_PART_CHARS and quote in text for quote in variants)


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
