"""Finds the lines from the beginning of the enclosing function or class to a hunk, in any language, by indentation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hls_handler.review.patches import Hunk, Line, Patch

MAX_LINES = 30  # for one hunk
FIRST_LINES = 10  # of a longer function: so many from its beginning, the others directly above the hunk
TAB_WIDTH = 8

CONTROL_STATEMENT = re.compile(
    r"(?:if|elif|elsif|else|for|foreach|while|do|loop|until|unless|switch|select|case|default|when|match|try|catch"
    r"|except|rescue|finally|ensure|with|using|lock|synchronized|begin|return|yield|async with|async for|await|throw"
    r"|raise|new|assert|defer|go)\b",
    re.IGNORECASE,
)
OPEN_EXPRESSION = re.compile(r"[(\[,=]$")
SIGNATURE = re.compile(r"[\w<>\[\]:*&~, ]+\s[*&]*[\w:~]+\(")  # "def area(", "public static int area("; not "x = area("
COMMENTS = ("#", "//", "/*", "*", "--")
CONTINUATIONS = (")", "]", "}", "{")  # the end of a signature, or a brace on a line of its own


def find_lines_above(text: str, patch: Patch) -> tuple[tuple[Line, ...], ...]:
    """Return for each hunk the unchanged lines above it that belong to its function, from its beginning.

    () if the hunk itself shows the beginning, or differs from `text`, the new file. Lines of other hunks are left out.
    """
    lines = text.split("\n")
    shown = {line.number for hunk in patch.hunks for line in hunk.lines if line.side == "RIGHT"}
    return tuple(tuple(line for line in _above(lines, hunk) if line.number not in shown) for hunk in patch.hunks)


def _above(lines: Sequence[str], hunk: Hunk) -> Sequence[Line]:
    new = [line for line in hunk.lines if line.side == "RIGHT"]
    if not new or not 1 <= new[0].number <= len(lines) or lines[new[0].number - 1] != new[0].text:
        return ()
    first = new[0].number
    begin = next(_beginnings(lines, _first_change(hunk)), first)
    numbers = range(begin, first)
    shown = numbers if len(numbers) <= MAX_LINES else (*numbers[:FIRST_LINES], *numbers[FIRST_LINES - MAX_LINES :])
    return [Line("RIGHT", number, " ", lines[number - 1]) for number in shown]


def _first_change(hunk: Hunk) -> int:
    """Return the number, in the new file, of the first changed line; of a removed line, that of the line below it."""
    number = next(line.number for line in hunk.lines if line.side == "RIGHT")
    for line in hunk.lines:
        if line.mark != " ":
            return line.number if line.side == "RIGHT" else number
        number = line.number + 1
    return number


def _beginnings(lines: Sequence[str], number: int) -> Iterator[int]:
    """Yield the numbers of the lines that begin the functions and classes around a line, innermost first."""
    limit = next((_indent(line) for line in lines[number - 1 :] if line.strip()), 0)
    for above in range(number - 1, 0, -1):
        line = lines[above - 1].strip()
        indent = _indent(lines[above - 1])
        if not line or indent >= limit or line.startswith(COMMENTS):
            continue
        limit = indent
        if line.startswith(CONTINUATIONS):
            limit += 1  # the line that it continues may have the same indentation
        elif not _is_statement(line):
            yield above


def _is_statement(line: str) -> bool:
    return bool(CONTROL_STATEMENT.match(line) or (OPEN_EXPRESSION.search(line) and not SIGNATURE.match(line)))


def _indent(line: str) -> int:
    expanded = line.expandtabs(TAB_WIDTH)
    return len(expanded) - len(expanded.lstrip(" "))
