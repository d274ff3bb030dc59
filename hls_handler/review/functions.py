"""Finds the lines from the beginning of the enclosing function or class to a hunk, by the grammar of its language.

Files without a grammar have no such lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tree_sitter import Node, Point

from hls_handler.review.grammars import NAMING, WRAPPERS, Grammar, has_grammar, parse_source
from hls_handler.review.parser_process import parse
from hls_handler.review.patches import Hunk, Line, Patch

MAX_LINES = 30  # for one hunk
FIRST_LINES = 10  # of a longer function: so many from its beginning, the others directly above the hunk


def find_lines_above(text: str, path: str, patch: Patch) -> tuple[tuple[Line, ...], ...]:
    """Return for each hunk the unchanged lines above it that belong to its function, from its beginning.

    () if the hunk itself shows the beginning or differs from `text`, the new file at `path`, or if there is no grammar.
    Lines of other hunks are left out. Raises as `parse`.
    """
    if not has_grammar(path):
        return ((),) * len(patch.hunks)
    lines = text.split("\n")
    begins = parse("beginnings", text, path, [_first_change(hunk) for hunk in patch.hunks])
    shown = {line.number for hunk in patch.hunks for line in hunk.lines if line.side == "RIGHT"}
    above = (_above(lines, hunk, begin) for hunk, begin in zip(patch.hunks, begins, strict=True))
    return tuple(tuple(line for line in found if line.number not in shown) for found in above)


def _above(lines: Sequence[str], hunk: Hunk, begin: int | None) -> Sequence[Line]:
    new = [line for line in hunk.lines if line.side == "RIGHT"]
    if not new or not 1 <= new[0].number <= len(lines) or lines[new[0].number - 1] != new[0].text:
        return ()
    first = new[0].number
    numbers = range(begin or first, first)
    shown = numbers if len(numbers) <= MAX_LINES else (*numbers[:FIRST_LINES], *numbers[FIRST_LINES - MAX_LINES :])
    return [Line("RIGHT", number, " ", lines[number - 1]) for number in shown]


def _first_change(hunk: Hunk) -> int:
    """Return the number, in the new file, of the first changed line; of a removed line, that of the line below it."""
    number = next((line.number for line in hunk.lines if line.side == "RIGHT"), 1)
    for line in hunk.lines:
        if line.mark != " ":
            return line.number if line.side == "RIGHT" else number
        number = line.number + 1
    return number


def find_beginnings(text: str, path: str, numbers: Sequence[int]) -> list[int | None]:
    """Return the number of the line that begins the innermost function or class around each of the lines."""
    parsed = parse_source(text, path)
    lines = text.split("\n")
    return [None if parsed is None else _find_beginning(*parsed, lines, number) for number in numbers]


def _find_beginning(root: Node, grammar: Grammar, lines: Sequence[str], number: int) -> int | None:
    if number > len(lines):
        return None
    line = lines[number - 1]
    column = len(line[: len(line) - len(line.lstrip())].encode())
    named, unnamed = set(grammar.named.split()), set(grammar.unnamed.split())
    named_at = unnamed_at = None
    parent = root
    for node in _nodes_at(root, Point(number - 1, column)):
        begin = (parent if parent.type in WRAPPERS else node).start_point.row + 1
        if node.type in named or (node.type in unnamed and parent.type in NAMING):
            named_at = begin
        elif node.type in unnamed:
            unnamed_at = begin
        parent = node
    return named_at or unnamed_at


def _nodes_at(root: Node, point: Point) -> Iterator[Node]:
    """Yield the nodes that contain a point, from the root. `Node.parent` would search from the root each time."""
    cursor = root.walk()
    while cursor.goto_first_child_for_point(point) is not None:
        node = cursor.node
        if node is None or not node.start_point <= point < node.end_point:
            return
        yield node
