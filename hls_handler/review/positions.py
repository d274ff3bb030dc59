"""Finds the line of a patch that each finding of Claude quotes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patches import NUMBERED_LINE, Hunk, Line, Patch, Side, normalize_line
from hls_handler.untrusted.cleaning import CodeText, clean, escape_opening, show_name
from hls_handler.untrusted.markdown import sanitize_code_block
from hls_handler.untrusted.redaction import redact

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Position = tuple[Side, int]


MAX_MOVED_LINES = 20
"""Distance up to which a finding moves to the line that it quotes. Farther away, the quote may mean another place."""

MIN_PART_CHARS = 20
"""Least characters, without blanks, of a part of a line that stands for the line."""

REDACTION_MARKER = "[redacted: "


def find_lines(
    findings: Iterable[Finding], patches: Mapping[str, Patch]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Move each finding to the line that it quotes. Return these findings, and those without such a line.

    `patches` maps paths to the patches that Claude was shown. A finding stays on its line if that line equals the last
    line of the quote, and the lines above it the others; the number of blanks and blank lines are ignored. If they
    differ, the finding moves to the nearest equal lines within `MAX_MOVED_LINES`: of the finding's side (LEFT or
    RIGHT), or else of the other side. If no line equals the last one of the quote, a line suffices that contains it. If
    there is none, or if two are equally near, the finding has no line. A range of lines is cut to one hunk. In a stored
    reply, the quote is redacted alone, so it may have a marker in the place of a text that the prompt showed.

    A suggestion is deleted unless GitHub can replace exactly the named lines by it: for removed lines, for a range that
    was cut or moved, for a line that moved to one of several equal ones, if only a part of the line is quoted, and if
    it changes nothing, lacks a redacted credential or a control character, or repeats the line above or below.
    GitHub accepts a review comment at each returned line.
    """
    shown = {path: _PatchIndex(patch) for path, patch in patches.items()}
    paths: dict[str, list[str]] = {}  # by the names that the prompt shows: two files may look the same
    for path in shown:
        paths.setdefault(show_name(path), []).append(path)
    located: list[Finding] = []
    lost: list[Finding] = []
    for finding in findings:
        same_name = paths.get(finding.path, []) or paths.get(show_name(finding.path), [])
        indexes = [(path, shown[path]) for path in same_name]
        if REDACTION_MARKER in finding.quote:
            indexes += [(path, _PatchIndex(_redact_lines(patches[path]))) for path, _ in indexes]
        places = (index.find(finding.model_copy(update={"path": path})) for path, index in indexes)
        found = next((place for place in places if place is not None), None)
        if found is None:
            lost.append(finding)
        else:
            located.append(found)
    return tuple(located), tuple(lost)


def _redact_lines(patch: Patch) -> Patch:
    """Return the patch with each line redacted alone."""
    hunks = (
        Hunk(one.header, tuple(replace(line, text=redact(line.text)) for line in one.lines)) for one in patch.hunks
    )
    return Patch(tuple(hunks))


def _normalize(text: str) -> str:
    """Return a line as prompts show it, with one space for each run of blanks."""
    return escape_opening(normalize_line(text))


class _PatchIndex:
    def __init__(self, patch: Patch) -> None:
        self._hunks = patch.hunks
        self._lines: dict[Position, Line] = {}
        self._hunk_index: dict[Position, int] = {}
        self._index_in_hunk: dict[Position, int] = {}
        self._positions_by_text: dict[str, list[Position]] = {}
        self._texts: dict[Position, str] = {}  # normalized
        for index, hunk in enumerate(patch.hunks):
            for number, line in enumerate(hunk.lines):
                position = (line.side, line.number)
                self._lines[position], self._hunk_index[position] = line, index
                self._index_in_hunk[position] = number
                text = _normalize(line.text)
                self._positions_by_text.setdefault(text, []).append(position)
                self._texts[position] = text

    def find(self, finding: Finding) -> Finding | None:
        *above, last = [variants for line in finding.quote.split("\n") if (variants := _variants(line))] or [()]
        position = (finding.side, finding.line)
        equal = {at for quote in last for at in self._positions_by_text.get(quote, ()) if self._is_below(at, above)}
        # Of a line of which a part is quoted, a suggestion may replace only that part.
        partly = finding.model_copy(update={"suggestion": None})
        if position in equal:
            return self._move_to(position, finding)
        if equal:
            quoting = {at for at in (position,) if self._quotes_part(at, last, above)}
            return self._move_to(position, partly) if quoting else self._find_near(finding, equal)
        quoting = {at for at in self._texts if self._quotes_part(at, last, above)}
        return self._move_to(position, partly) if position in quoting else self._find_near(partly, quoting)

    def _quotes_part(self, position: Position, last: Iterable[str], above: Sequence[Collection[str]]) -> bool:
        text = self._texts.get(position, "")
        is_part = any(len(quote.replace(" ", "")) >= MIN_PART_CHARS and quote in text for quote in last)
        return is_part and self._is_below(position, above)

    def _is_below(self, position: Position, quoted: Sequence[Collection[str]]) -> bool:
        """Return True if the lines right above a line of the old file, of the new one or of the patch are quoted."""
        hunk, index = self._hunks[self._hunk_index[position]], self._index_in_hunk[position]
        return not quoted or any(
            _ends_with((_normalize(line.text) for line in reversed(hunk.lines[:index]) if line.mark in marks), quoted)
            for marks in (" +", " -", " +-")
            if hunk.lines[index].mark in marks
        )

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
                if len(quoted) > 1:  # the suggestion may be meant for another one
                    finding = finding.model_copy(update={"suggestion": None})
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
        is_repeated = any(beside and _normalize(one) == beside != _normalize(other) for beside, one, other in ends)
        is_indented = new[0][:1].isspace() or not old[0][:1].isspace()  # Claude may leave the indentation out
        return sanitize_code_block(suggestion) == suggestion and is_indented and not is_repeated

    def _text(self, start: int, line: int) -> str:
        return "\n".join(self._lines["RIGHT", number].text.removesuffix("\r") for number in range(start, line + 1))

    def _range_start(self, position: Position, wanted: int) -> int:
        side, start = position
        while start > wanted and self._hunk_index.get((side, start - 1)) == self._hunk_index[position]:
            start -= 1
        return start


def _ends_with(texts: Iterable[str], quoted: Sequence[Collection[str]]) -> bool:
    """Return True if the lines, read upwards from the last one and without blank ones, are the quoted ones."""
    upwards = (text for text in texts if text)
    return all(next(upwards, "") in variants for variants in reversed(quoted))


def _variants(quoted: str) -> tuple[str, ...]:
    """Return the texts that a line of a quote may mean; () for a blank line."""
    variants = [_normalize(quoted)]
    shown = NUMBERED_LINE.fullmatch(quoted.strip())  # Claude may copy the number with the line
    if shown is not None:
        variants.append(_normalize(shown["text"] or ""))
    if quoted[:1] in ("+", "-"):
        variants.append(_normalize(quoted[1:]))
    return tuple(dict.fromkeys(variants)) if all(variants) else ()


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the most severe first, then by path and line, in the same order for any order of them."""
    return sorted(
        findings, key=lambda f: (RANK[f.severity], f.path, f.line, f.side, -f.confidence, f.title, f.category)
    )


def group_findings(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Return the findings of one category that end at one line together, sorted as by `sort_findings`."""
    groups: dict[tuple[str, Side, int, str], list[Finding]] = {}
    for finding in sort_findings(findings):
        groups.setdefault((finding.path, finding.side, finding.line, finding.category), []).append(finding)
    return list(groups.values())


def merge_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Merge each of the groups of `group_findings` to a finding with the lines of all."""
    return tuple(reduce(_join, group) for group in group_findings(findings))


def _join(first: Finding, other: Finding) -> Finding:
    """Return the first finding with the text and the lines of the other one, which ends at the same line."""
    same = _normalize(other.body) in _normalize(first.body)
    body = first.body if same else f"{first.body}\n\n**{other.title}**\n\n{other.body}"
    start = min(one.start_line or one.line for one in (first, other))
    is_wider = start < (first.start_line or first.line)
    lines = {"start_line": start, "suggestion": None} if is_wider else {}  # a suggestion replaces exactly its lines
    return first.model_copy(update={"body": body, **lines})
