"""Finds the lines of a source file that are code and not comments, by the grammar of its
language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tree_sitter import Node

from hls_handler.review.grammars import has_grammar, parse_source
from hls_handler.review.parser_process import parse

NO_CODE = re.compile("comment|string|text")
"""Found in the types of nodes whose text is no code. A line of a string may be a comment of another
language.
"""


def find_code_rows(text: str, path: str, rows: Sequence[int]) -> Sequence[int]:
    """Return those of the rows, from 0, that begin with code; nothing without a grammar. Raises as
    `parse`.
    """
    if not rows or not has_grammar(path):
        return []
    return [*parse("code", text, path, [*rows])]


def list_code_rows(text: str, path: str, rows: Sequence[int]) -> list[int]:
    root = parse_source(text, path)
    if root is None:
        return []
    lines = text.split("\n")
    found: list[int] = []
    for row in rows:
        if row >= len(lines) or not lines[row].strip():
            continue
        line = lines[row]
        indent = len(line[: len(line) - len(line.lstrip())].encode())
        node = root.descendant_for_point_range((row, indent), (row, indent + 1))
        if _is_code(node):
            found.append(row)
    return found


def _is_code(node: Node | None) -> bool:
    """Return True if neither a node nor one around it is a comment, a string or an error of the
    parser.
    """
    while node is not None:
        if node.is_error or NO_CODE.search(node.type):
            return False
        node = node.parent
    return True
