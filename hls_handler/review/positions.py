"""Finds the line of a patch that each finding of Claude quotes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patches import NUMBERED_LINE, Line, Patch, Side, normalize_line
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.markdown import sanitize_code_block

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Position = tuple[Side, int]


MAX_MOVED_LINES = 20
"""Distance up to which a finding moves to the line that it quotes. Farther away, the quote may mean another place."""

MIN_PART_CHARS = 20
"""Least characters, without blanks, of a part of a line that stands for the line."""

REDACTION_MARKER = "[redacted: "


def locate_findings(
    findings: Iterable[Finding], patches: Mapping[str, Patch]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Move each finding to the line that it quotes. Return these findings, and those without such a line.

    `patches` maps paths to the patches that Claude was shown. A finding stays on its line if that line equals the last
    line of the quote; blanks are ignored. If that line differs, the finding moves to the nearest equal line within
    `MAX_MOVED_LINES`: of the finding's side (LEFT or RIGHT), or else of the other side. If no line equals the quote, a
    line suffices that contains it. If there is none, or if two are equally near, the finding has no line. A range of
    lines is cut to one hunk.

    A suggestion is deleted unless GitHub can replace exactly the named lines by it: for removed lines, for a range that
    was cut or moved, if only a part of the line is quoted, and if it changes nothing, lacks a redacted credential or a
    control character, or repeats the line above or below.
    Findings of one category at one line are merged. The located findings are sorted by severity, path and line. GitHub
    accepts a review comment at each returned line.
    """
    shown = {path: _PatchIndex(patch) for path, patch in patches.items()}
    paths = {clean(path): path for path in shown}  # as the prompt shows them
    located: list[Finding] = []
    lost: list[Finding] = []
    for finding in findings:
        path = finding.path if finding.path in shown else paths.get(finding.path)
        found = shown[path].find(finding.model_copy(update={"path": path})) if path is not None else None
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
        self._texts: dict[Position, str] = {}  # normalized
        for index, hunk in enumerate(patch.hunks):
            for line in hunk.lines:
                position = (line.side, line.number)
                self._lines[position], self._hunk_index[position] = line, index
                text = normalize_line(line.text)
                self._positions_by_text.setdefault(text, []).append(position)
                self._texts[position] = text

    def find(self, finding: Finding) -> Finding | None:
        variants = _variants(finding.quote)
        position = (finding.side, finding.line)
        equal = self._find_equal(variants)
        # Of a line of which a part is quoted, a suggestion may replace only that part.
        partly = finding.model_copy(update={"suggestion": None})
        if position in equal:
            return self._move_to(position, finding)
        if _quotes_part(variants, self._texts.get(position, "")):
            return self._move_to(position, partly)
        if equal:
            return self._find_near(finding, equal)
        return self._find_near(partly, {at for at, text in self._texts.items() if _quotes_part(variants, text)})

    def _find_equal(self, variants: Iterable[str]) -> set[Position]:
        return {position for quote in variants if quote for position in self._positions_by_text.get(quote, ())}

    def _find_near(self, finding: Finding, quoted: Collection[Position]) -> Finding | None:
        """Move the finding to the nearest of these lines. None if there is none, or if two are equally near."""
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
            if suggestion == self._text(start, line) or not self._is_safe(suggestion, start, line):
                suggestion = None
        moved = {
            "side": side,
            "line": line,
            "start_line": start if start < line else None,
            "suggestion": suggestion,
        }
        return finding.model_copy(update=moved)

    def _is_safe(self, suggestion: str, start: int, line: int) -> bool:
        """Return True if the suggestion is text that nothing changes, and does not repeat the lines beside its own."""
        replaced = self._text(start, line)
        texts = (suggestion, replaced)
        if not suggestion or any(clean(CodeText(text)) != text or REDACTION_MARKER in text for text in texts):
            return False
        new, old = suggestion.split("\n"), replaced.split("\n")
        above, below = (self._texts.get(("RIGHT", number)) for number in (start - 1, line + 1))
        ends = ((above, new[0], old[0]), (below, new[-1], old[-1]))
        is_repeated = any(
            beside and normalize_line(one) == beside != normalize_line(other) for beside, one, other in ends
        )
        return sanitize_code_block(suggestion) == suggestion and not is_repeated

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
