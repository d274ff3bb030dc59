"""Finds the line of a patch that a finding or a verdict quotes.

Claude's quotes are often slightly wrong: other quotation marks, a typo, a part of the line, no trailing comment. A
finding is not lost for that: without a line, it is about its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import reduce

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patches import NUMBERED_LINE, Line, Patch, Side, normalize_line
from hls_handler.untrusted.cleaning import CodeText, clean, escape_opening, show_name
from hls_handler.untrusted.markdown import sanitize_code_block

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

Position = tuple[Side, int]

MIN_RATIO = 0.7
"""Least similarity of a line and its quote, as `difflib.SequenceMatcher.ratio` measures it."""

CURLY = str.maketrans(
    "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}‘\N{RIGHT SINGLE QUOTATION MARK}", "\"\"''"
)
SURE_COMMENT = re.compile(r"\s*(?://|# )")
COMMENT = re.compile(r"\s*(?:#|//|/\*|\*|--|;|%|<!--|'''|\"\"\"|REM\b)", re.IGNORECASE)

REDACTION_MARKER = "[redacted: "


@dataclass(frozen=True, slots=True)
class Located:
    """A finding at a line of the patch that Claude was shown, or at a file (`line` is None)."""

    finding: Finding  # with path, side, lines and suggestion as GitHub accepts them
    line: Line | None
    is_shown: bool = True  # False: no call showed the file
    form: str = ""  # of a committed credential

    @property
    def path(self) -> str:
        return self.finding.path

    @property
    def quote(self) -> str:
        """The text of its line: Claude's quote may be wrong, and a proof must not depend on that."""
        return self.finding.quote if self.line is None else self.line.text


def is_only_comment(text: str) -> bool:
    """Return True if a line has no code but a comment, in any of the usual languages. In doubt, it is a comment."""
    return not text.strip() or COMMENT.match(text) is not None


def is_surely_comment(text: str) -> bool:
    """Return True if a line is a comment in most languages, and code in hardly any. In doubt, it is code."""
    return SURE_COMMENT.match(text) is not None


def letters_of(text: str) -> str:
    """Return the letters, digits and underscores of a text, in order: a formatter does not change these."""
    return re.sub(r"\W", "", text)


def resembles(line: str, quote: str) -> bool:
    """Return True if the quote may be meant for the line: equal, one contains the other, or they are similar."""
    one, other = _fold(line), _fold(quote)
    if not one:
        return False
    return one in other or other in one or SequenceMatcher(None, one, other, autojunk=False).ratio() >= MIN_RATIO


def locate(finding: Finding, patches: Mapping[str, Patch]) -> Located:
    """Return the finding at the line that it names, if that resembles its quote; else at the only line that does.

    `patches` maps paths to the patches that Claude was shown. A finding without a line is about its file. A suggestion
    is deleted unless GitHub can replace exactly the named lines by it.
    """
    path = find_path(finding.path, patches)
    if path is None:
        return Located(finding.model_copy(update={"suggestion": None}), None, is_shown=False)
    finding = finding.model_copy(update={"path": path})
    line = find_line(patches[path], finding.quote, (finding.side, finding.line))
    if line is None:
        return Located(finding.model_copy(update={"start_line": None, "suggestion": None}), None)
    return Located(_place(finding, line, patches[path]), line)


def find_path(path: str, patches: Mapping[str, Patch]) -> str | None:
    """Return the path of the file that prompts show with this name."""
    return next((one for one in patches if one == path), None) or next(
        (one for one in patches if show_name(one) == show_name(path)), None
    )


def find_line(patch: Patch, quote: str, named: Position | None) -> Line | None:
    """Return the named line if it resembles the quote, else the only changed line that equals or resembles it."""
    quotes = _variants(quote)
    lines = [line for hunk in patch.hunks for line in hunk.lines]
    at = next((line for line in lines if (line.side, line.number) == named), None)
    if at is not None and any(resembles(at.text, one) for one in quotes):
        return at
    changed = [line for line in lines if line.mark != " " and line.text.strip()]
    equal = [line for line in changed if any(_fold(line.text) == _fold(one) for one in quotes)]
    similar = equal or [line for line in changed if any(resembles(line.text, one) for one in quotes)]
    return similar[0] if len(similar) == 1 else None


def _fold(text: str) -> str:
    """Return a text without differences in case, quotation marks and blanks."""
    return escape_opening(normalize_line(text)).translate(CURLY).replace("`", "").strip().casefold()


def _variants(quote: str) -> Sequence[str]:
    """Return the texts that the last line of a quote may mean: Claude may copy the number and the mark with it."""
    last = next((line for line in reversed(quote.split("\n")) if line.strip()), "")
    shown = NUMBERED_LINE.fullmatch(last.strip())
    variants = [last, *([shown["text"] or ""] if shown else []), *([last[1:]] if last[:1] in "+-" and last[1:] else [])]
    return [one for one in variants if one.strip()] or [""]


def _place(finding: Finding, line: Line, patch: Patch) -> Finding:
    hunk = next(hunk for hunk in patch.hunks if line in hunk.lines)
    own = {one.number: one for one in hunk.lines if one.side == line.side}
    above = max(finding.line - finding.start_line, 0) if finding.start_line is not None else 0
    start = line.number
    while start > line.number - above and start - 1 in own:
        start -= 1
    is_exact = (line.side, line.number) == (finding.side, finding.line) and line.number - start == above
    suggestion = finding.suggestion.removesuffix("\n") if finding.suggestion and line.side == "RIGHT" else None
    replaced = [own[number].text.removesuffix("\r") for number in range(start, line.number + 1)]
    beside = [own[number].text if number in own else "" for number in (start - 1, line.number + 1)]
    last = next((text for text in reversed(finding.quote.split("\n")) if text.strip()), "")
    is_whole = normalize_line(last) == normalize_line(line.text)
    if suggestion and not (is_exact and is_whole and _is_safe(suggestion, replaced, beside)):
        suggestion = None
    update = {
        "side": line.side,
        "line": line.number,
        "start_line": start if start < line.number else None,
        "suggestion": suggestion or None,
    }
    return finding.model_copy(update=update)


def _is_safe(suggestion: str, replaced: Sequence[str], beside: Sequence[str]) -> bool:
    """Return True if a suggestion changes its lines, as nothing changes it, and repeats no line beside them."""
    old = "\n".join(replaced)
    if suggestion == old or any(
        clean(CodeText(text)) != text or REDACTION_MARKER in text for text in (suggestion, old)
    ):
        return False
    new = suggestion.split("\n")
    ends = zip(beside, (new[0], new[-1]), (replaced[0], replaced[-1]), strict=True)
    is_repeated = any(
        text.strip() and normalize_line(one) == normalize_line(text) != normalize_line(other)
        for text, one, other in ends
    )
    is_indented = new[0][:1].isspace() or not replaced[0][:1].isspace()  # Claude may leave the indentation out
    return sanitize_code_block(suggestion) == suggestion and is_indented and not is_repeated


def sort_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the most severe first, then the most certain; in the same order for any order of them."""
    return sorted(
        findings, key=lambda f: (RANK[f.severity], -f.confidence, f.path, f.line, f.side, f.title, f.category)
    )


def merge_located(located: Iterable[Located]) -> list[Located]:
    """Merge the findings of one category that end at one line to one, with the text of all; the most severe first.

    Findings without a line are merged if they have the same title.
    """
    groups: dict[tuple[object, ...], list[Located]] = {}
    by_id = {id(one.finding): one for one in located}
    for finding in sort_findings(one.finding for one in by_id.values()):
        one = by_id[id(finding)]
        place: tuple[object, ...] = ("file", finding.title) if one.line is None else (finding.side, finding.line)
        groups.setdefault((one.path, one.is_shown, finding.category, *place), []).append(one)
    return [reduce(_join, group) for group in groups.values()]


def _join(first: Located, other: Located) -> Located:
    one, two = first.finding, other.finding
    body = (
        one.body
        if normalize_line(two.body) in normalize_line(one.body)
        else f"{one.body}\n\n**{two.title}**\n\n{two.body}"
    )
    return Located(one.model_copy(update={"body": body}), first.line, first.is_shown)
