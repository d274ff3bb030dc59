"""Finds the line of a patch that a finding or a verdict quotes.

Claude's quotes are often slightly wrong: other quotation marks, a typo, a part of the line, no
trailing comment. A finding is not lost for that: without a line, it is about its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from hls_handler.analysis import Finding, Severity
from hls_handler.review.patches import Line, Patch, Side
from hls_handler.untrusted.cleaning import show_name
from hls_handler.untrusted.suggestions import is_applicable, is_presentable

RANK: Mapping[Severity, int] = {"critical": 0, "high": 1, "medium": 2, "low": 3}

# least similarity of a line and its quote, as `difflib.SequenceMatcher.ratio` measures it
MIN_RATIO = 0.7

SURE_COMMENT = re.compile("//|# ")  # begins a comment in most languages, and code in hardly any

COMMENT = re.compile(
    r"\s*(?:#(?!\s*(?:include|define)\b|\[)|//|/\*|\*|--|;|%|<!--|'''|\"\"\"|REM\b)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Located:
    """A finding at a line of the patch that Claude was shown, or at a file (`line` is None)."""

    finding: Finding  # with path, side, lines and suggestion as GitHub accepts them
    line: Line | None
    is_shown: bool = True  # False: no call showed the file
    form: str = ""  # of a committed credential
    named: int | None = None  # the line that Claude named, if it is another one


def is_only_comment(text: str) -> bool:
    """Return True if a line has no code but a comment, in any of the usual languages. In doubt, it
    is a comment.
    """
    return not text.strip() or COMMENT.match(text) is not None


def letters_of(text: str) -> str:
    """Return the letters, digits and underscores of a text, in order: a formatter does not change
    these.
    """
    return re.sub(r"\W", "", text)


def code_of(text: str) -> str:
    """Return the letters of a line without its comment at the end; with the comment if there are no
    other letters.
    """
    return letters_of(SURE_COMMENT.split(text, maxsplit=1)[0]) or letters_of(text)


def resembles(line: str, quote: str) -> bool:
    """Return True if the quote may be meant for the line: one contains the other, or they are
    similar.
    """
    line_code = code_of(line).casefold()
    quote_code = code_of(quote).casefold()
    if not line_code or not quote_code:
        return not quote_code
    return (
        line_code in quote_code
        or quote_code in line_code
        or SequenceMatcher(None, line_code, quote_code, autojunk=False).ratio() >= MIN_RATIO
    )


def locate(finding: Finding, patches: Mapping[str, Patch]) -> Located:
    """Return the finding at the line that it names, if that resembles its quote; else at the only
    line that does.

    `patches` maps paths to the patches that Claude was shown. A finding without a line is about its
    file. A suggestion by which GitHub cannot replace exactly the named lines becomes a code block
    of the text.
    """
    path = find_path(finding.path, patches)
    if path is None:
        return Located(finding.model_copy(update={"suggestion": None}), None, is_shown=False)
    finding = finding.model_copy(update={"path": path})
    line = find_line(patches[path], finding.quote, finding.side, finding.line)
    if line is None:
        return Located(finding.model_copy(update={"start_line": None, "suggestion": None}), None)
    named = finding.line if finding.line != line.number else None
    return Located(_place(finding, line, patches[path]), line, named=named)


def find_path(path: str, patches: Mapping[str, Patch]) -> str | None:
    """Return the path of the file that prompts show with this name."""
    if path in patches:
        return path
    same = [candidate for candidate in patches if show_name(candidate) == show_name(path)]
    # "b/src/area.py", as in a diff of git
    same = same or [candidate for candidate in patches if path.endswith(f"/{candidate}")]
    return same[0] if len(same) == 1 else None


def find_line(patch: Patch, quote: str, side: Side, number: int | None) -> Line | None:
    """Return the named line if it resembles the quote, else the only changed line that equals or
    resembles it.
    """
    quote = last_line(quote)
    lines = patch.lines
    named_line = next((line for line in lines if (line.side, line.number) == (side, number)), None)
    if named_line is not None and resembles(named_line.text, quote):
        return named_line
    similar = [
        line
        for line in lines
        if line.mark != " " and line.text.strip() and resembles(line.text, quote)
    ]
    same = [line for line in similar if letters_of(line.text) == letters_of(quote)] or similar
    return same[0] if len(same) == 1 else None


def last_line(quote: str) -> str:
    return next((line for line in reversed(quote.split("\n")) if line.strip()), "")


def _place(finding: Finding, line: Line, patch: Patch) -> Finding:
    hunk = next(hunk for hunk in patch.hunks if line in hunk.lines)
    texts = {other.number: other.text for other in hunk.lines if other.side == line.side}
    above = 0
    if finding.start_line is not None:
        above = max(finding.line - finding.start_line, 0)
    start = line.number
    while start > line.number - above and start - 1 in texts:
        start -= 1
    is_named = (line.side, line.number) == (finding.side, finding.line)
    is_exact = is_named and line.number - start == above
    fix = (finding.suggestion or "").removesuffix("\n")
    body = finding.body
    replaced = [texts[number].removesuffix("\r") for number in range(start, line.number + 1)]
    beside = [texts.get(start - 1, ""), texts.get(line.number + 1, "")]
    is_whole = letters_of(last_line(finding.quote)) == letters_of(line.text)
    is_replacement = is_exact and is_whole
    if not fix or line.side != "RIGHT" or not is_presentable(fix, replaced):
        fix = ""
    elif not is_replacement or not is_applicable(fix, replaced, beside, texts.values()):
        if fix.strip() not in body:
            body = f"{body}\n\n```\n{fix}\n```"
        fix = ""
    place = {
        "side": line.side,
        "line": line.number,
        "start_line": start if start < line.number else None,
        "body": body,
        "suggestion": fix or None,
    }
    return finding.model_copy(update=place)


def merge_located(located: Iterable[Located]) -> list[Located]:
    """Return the findings, the most severe first. Of findings with the same title and line, the
    most severe remains.
    """
    merged: dict[tuple[object, ...], Located] = {}
    for item in sorted(located, key=rank):
        finding = item.finding
        key: tuple[object, ...] = (finding.path, finding.category, finding.title.casefold())
        if item.line is not None:
            key += (item.line.side, item.line.number)
        merged.setdefault(key, item)
    return [*merged.values()]


def rank(located: Located) -> tuple[object, ...]:
    """Return the sort key: the most severe first, then the most certain; in the same order for any
    order of them.
    """
    f = located.finding
    return RANK[f.severity], -f.confidence, f.path, f.line, f.side, f.title, f.category
