"""Finds the lines from the beginning of the enclosing function or class to a hunk, by the grammar
of its language.

Files without a grammar have no such lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.review.names import Named, find_named
from hls_handler.review.patches import Hunk, Line, Patch

MAX_LINES = 30  # for one hunk
# of a longer function: so many from its beginning, the others directly above the hunk
FIRST_LINES = 10


def find_lines_above(text: str, path: str, patch: Patch) -> tuple[tuple[Line, ...], ...]:
    """Return for each hunk the unchanged lines above it that belong to its function, from its
    beginning.

    () if the hunk itself shows the beginning or differs from `text`, the new file at `path`, or if
    there is no grammar. Lines of other hunks are left out. Raises as `find_named`.
    """
    lines = text.split("\n")
    rows = [_first_change(hunk) - 1 for hunk in patch.hunks]
    named = find_named(text, path, rows)
    shown = {line.number for line in patch.lines if line.side == "RIGHT"}
    above = (
        _above(lines, hunk, _find_begin(named, row))
        for hunk, row in zip(patch.hunks, rows, strict=True)
    )
    return tuple(tuple(line for line in found if line.number not in shown) for found in above)


def _above(lines: Sequence[str], hunk: Hunk, begin: int | None) -> Sequence[Line]:
    new = [line for line in hunk.lines if line.side == "RIGHT"]
    if not new or not 1 <= new[0].number <= len(lines) or lines[new[0].number - 1] != new[0].text:
        return ()
    if begin is None:
        return ()
    numbers = [*range(begin + 1, new[0].number)]
    if len(numbers) > MAX_LINES:
        numbers = numbers[:FIRST_LINES] + numbers[FIRST_LINES - MAX_LINES :]
    return [Line("RIGHT", number, " ", lines[number - 1]) for number in numbers]


def _first_change(hunk: Hunk) -> int:
    """Return the number, in the new file, of the first changed line; of a removed line, that of the
    line below it.
    """
    number = next((line.number for line in hunk.lines if line.side == "RIGHT"), 1)
    for line in hunk.lines:
        if line.mark == "-":
            return number
        if line.mark == "+":
            return line.number
        number = line.number + 1
    return number


def _find_begin(named: Sequence[Named], row: int) -> int | None:
    """Return the first row of the innermost function or class around a row, rather of one that has
    a name.
    """
    # an outer one is first
    begins = {one.kind: one.begin for one in named if one.scope.first <= row <= one.scope.last}
    return begins.get("definition", begins.get("function"))
