"""Finds the names in a source file: what it defines, calls and uses."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from tree_sitter import Node

from hls_handler.review.grammars import NAMING, WRAPPERS, has_grammar, parse_source
from hls_handler.review.parser_process import parse

MAX_CHARACTERS = 1000  # of a line: names on longer ones, which are generated, are left out
LINES_BEFORE_NAME = 7  # of a definition that is shown
MAX_DEPTH_OF_NAME = 20  # nodes from a call to its name
IDENTIFIER = re.compile(r"[^\W\d]\w{0,99}")

CALLS = {
    "call",
    "call_expression",
    "invocation_expression",
    "method_invocation",
    "new_expression",
    "object_creation_expression",
}
"""Types of the nodes of calls in all grammars."""

MEMBERS = re.compile("attribute|access|member|scoped|reference|keyword_argument")
"""Found in the types of nodes with a name that is that of a member."""

FUNCTIONS = re.compile("func|method|constructor|operator|closure|lambda")
"""Found in the types of nodes of functions, in which variables are local."""

NAME_FIELDS = ("name", "attribute", "property", "field", "function", "constructor", "declarator", "key", "left", "type")
"""Fields of nodes that lead to the name of a definition, or of what a call calls: `c` in `a.b.c<T>(x)`."""


class Scope(NamedTuple):
    """The innermost definition around a node."""

    first: int  # row of the beginning, from 0, with decorators and the comment above
    last: int  # row of the end
    is_function: bool = False


class Named(NamedTuple):
    """A name on a line, or that of a definition around a line."""

    kind: Literal["definition", "function", "value", "call", "plain", "member"]
    """A function is one without a name. A value is a constant or field. Members are used."""
    name: str
    row: int  # of the name, from 0
    scope: Scope  # its own if it is a definition
    is_member: bool = False  # of a class

    @property
    def begin(self) -> int:
        """The row from which a definition is shown, which may leave out a part of the comment above."""
        return max(self.scope.first, self.row - LINES_BEFORE_NAME)


def find_named(text: str | None, path: str, rows: Collection[int]) -> list[Named]:
    """Return the definitions around the rows, and the names on them; an outer definition comes before an inner one.

    Raises as `parse`.
    """
    if not text or not rows or not has_grammar(path):
        return []
    found = parse("names", text, path, sorted(rows))
    return [Named(kind, name, row, Scope(*scope), is_member) for kind, name, row, scope, is_member in found]


def list_named(text: str, path: str, rows: Sequence[int]) -> list[Named]:
    lines = text.split("\n")
    ordered = [row for row in rows if row < len(lines) and len(lines[row]) <= MAX_CHARACTERS]
    parsed = parse_source(text, path) if ordered else None
    if parsed is None:
        return []
    root, grammar = parsed
    named, unnamed, values = set(grammar.named.split()), set(grammar.unnamed.split()), set(grammar.values.split())
    functions = {kind for kind in named | unnamed if FUNCTIONS.search(kind)}
    on_rows, source = set(ordered), text.encode(errors="replace")
    found: list[Named] = []
    top = Scope(0, root.end_point.row)
    nodes = [(root, root, top, 0)]
    while nodes:
        node, parent, scope, first = nodes.pop()
        last = node.end_point.row
        if bisect_left(ordered, last + 1) == bisect_left(ordered, first):
            continue
        inner, is_function = scope, node.type in functions
        is_value = node.type in unnamed and parent.type in NAMING
        is_definition = is_value or (node.type in named and node.type != "impl_item" and not _is_reference(node))
        is_constant = node.type in values and not scope.is_function
        if is_definition or is_constant or is_function or node.type == "impl_item":
            inner = Scope(first, last, is_function)
        name = _find_name(parent if is_value else node, source) if is_definition or is_constant else None
        if name is not None:
            kind: Literal["definition", "value"] = "definition" if is_definition else "value"
            own, is_member = Scope(first, last), scope is not top and not scope.is_function
            found.append(Named(kind, _text(name, source), name.start_point.row, own, is_member))
        elif is_definition or node.type in unnamed:
            found.append(Named("function", "", node.start_point.row, Scope(first, last)))
        elif node.type in CALLS:
            name = _find_name(node, source)
            if name is not None and name.start_point.row in on_rows:
                found.append(Named("call", _text(name, source), name.start_point.row, scope))
        elif node.type.endswith("identifier") and node.start_point.row in on_rows and not node.child_count:
            is_behind = parent.type == "keyword_argument" or node.start_byte > parent.start_byte
            is_member = node.type != "identifier" or (MEMBERS.search(parent.type) is not None and is_behind)
            used = _text(node, source)
            if IDENTIFIER.fullmatch(used):
                found.append(Named("member" if is_member else "plain", used, node.start_point.row, scope))
        children = node.named_children
        begins = _find_begins(node, first, children)
        nodes += [(child, node, inner, begin) for child, begin in zip(children, begins, strict=True)][::-1]
    return found


def _is_reference(node: Node) -> bool:
    """Return True for `struct box` in `struct box *box`, and for `mod box;`."""
    needs_body = node.type.endswith("_specifier") or node.type == "mod_item"
    return needs_body and node.child_by_field_name("body") is None


def _find_begins(node: Node, first: int, children: Sequence[Node]) -> list[int]:
    """Return the row, by child, at which its decorators or the comment directly above it begin."""
    begins: list[int] = []
    comment = end = -2  # rows of the beginning and the end of the comment above the next child
    for child in children:
        row = child.start_point.row
        begin = first if node.type in WRAPPERS or row == node.start_point.row else row
        begins.append(min(comment, begin) if row <= end + 1 else begin)
        is_comment = "comment" in child.type
        comment = begins[-1]
        end = child.end_point.row - (child.end_point.column == 0) if is_comment else -2
    return begins


def _find_name(node: Node, source: bytes) -> Node | None:
    """Return the last identifier of what a call calls, or of what a definition defines."""
    for _ in range(MAX_DEPTH_OF_NAME):
        inner = next(filter(None, map(node.child_by_field_name, NAME_FIELDS)), None)
        if inner is None and node.named_child_count:
            inner = node.named_children[0]
        if inner is None or "pattern" in node.type:
            return node if IDENTIFIER.fullmatch(_text(node, source)) else None
        node = inner
    return None


def _text(node: Node, source: bytes) -> str:
    return source[node.start_byte : node.end_byte].decode(errors="replace")  # `Node.text` reads the file for each byte
