"""Finds the names in a source file: what it defines, calls and uses."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tree_sitter import Node

from hls_handler.review.grammars import (
    NAMING,
    WRAPPERS,
    Grammar,
    find_grammar,
    has_grammar,
    parse_source,
)
from hls_handler.review.parser_process import parse
from hls_handler.review.receivers import (
    IMPORT,
    OWN,
    Words,
    add_import,
    find_expression_type,
    find_receiver,
    last_name,
    list_said,
)

MAX_CHARACTERS = 1000  # of a line: names on longer ones, which are generated, are left out
LINES_BEFORE_NAME = 7  # of a definition that is shown
MAX_OWNERS = 20  # words of the first line of a class
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

CLASSES = re.compile(
    "class|struct|interface|enum|trait|record|union|impl_item|type_(declaration|alias)"
)
"""Found in the types of nodes of classes, and of what is like them."""

CLASS_KEYWORDS = re.compile(
    "abstract|class|data|default|enum|export|extends|final|for|impl|implements|interface|internal"
    "|package|partial|permits|private|protected|pub|public|record|sealed|static|struct|trait|type"
    "|union|where|with"
)

FUNCTIONS = re.compile("func|method|constructor|operator|closure|lambda")
"""Found in the types of nodes of functions, in which variables are local."""

NAME_FIELDS = (
    "name",
    "attribute",
    "property",
    "field",
    "function",
    "constructor",
    "declarator",
    "key",
    "left",
    "type",
)
"""Fields of nodes that lead to the name of a definition, or of what a call calls: `c` in
`a.b.c<T>(x)`.
"""


class Scope(NamedTuple):
    """The innermost definition around a node."""

    first: int  # row of the beginning, from 0, with decorators and the comment above
    last: int  # row of the end
    is_function: bool = False


Kind = Literal["definition", "function", "value", "call", "plain", "member", "import", "text"]
"""A function is one without a name. A value is a constant or field. Members are used. A text is a
word of a string.
"""


class Named(NamedTuple):
    """A name on a line, or that of a definition around a line."""

    kind: Kind
    name: str
    row: int  # of the name, from 0
    scope: Scope  # its own if it is a definition
    is_member: bool = False  # of a class
    owners: Words = ()  # the class around it, and the other words of that class's first line
    receiver: str | None = None  # `b` in `a.b.c()`; "" if it has no name; None if `c` stands alone
    # types of the receiver, or modules of a name that stands alone: see `receivers`
    said: tuple[Words, ...] = ()
    is_local: bool = False  # the receiver is a variable or parameter of a function

    @property
    def begin(self) -> int:
        """The row from which a definition is shown, which may leave out a part of the comment
        above.
        """
        return max(self.scope.first, self.row - LINES_BEFORE_NAME)


def find_named(text: str | None, path: str, rows: Collection[int]) -> list[Named]:
    """Return the definitions around the rows, and the names on them; an outer definition comes
    before an inner one.

    Local variables of functions are left out. Raises as `parse`.
    """
    if not text or not rows or not has_grammar(path):
        return []
    found: list[Named] = []
    for values in parse("names", text, path, sorted(rows)):
        named = Named(*values)  # with lists for tuples
        scope = Scope(*named.scope)
        said = tuple(map(tuple, named.said))
        found.append(named._replace(scope=scope, owners=tuple(named.owners), said=said))
    return found


@dataclass(slots=True)
class _Around:
    """The scope and the owners of the names in a node."""

    node: Node  # the parent
    scope: Scope
    first: int  # row at which the node begins, with its decorators and the comment above
    owners: Words
    is_import: bool = False


@dataclass(slots=True)
class _Use:
    """A name that is used, before it is known what the file says of it."""

    named: Named
    about: str  # the name whose type or module counts
    said: tuple[Words, ...]  # what the expression itself says
    is_member: bool  # it is itself a member


class _Finder:
    """Finds the names on some rows of one file."""

    def __init__(self, root: Node, grammar: Grammar, source: bytes, rows: Sequence[int]) -> None:
        self._source = source
        self._rows = rows
        self._on_rows = set(rows)
        self._named = set(grammar.named.split())
        self._unnamed = set(grammar.unnamed.split())
        self._values = set(grammar.values.split())
        self._functions = {kind for kind in self._named | self._unnamed if FUNCTIONS.search(kind)}
        self._top = Scope(0, root.end_point.row)
        self.found: list[Named | _Use] = []
        nodes = [(root, _Around(root, self._top, 0, ()))]
        while nodes:
            node, around = nodes.pop()
            last = node.end_point.row
            if bisect_left(rows, last + 1) > bisect_left(rows, around.first):
                nodes += reversed(self._visit(node, around))

    def _visit(self, node: Node, around: _Around) -> list[tuple[Node, _Around]]:
        """Add what a node defines or uses. Return its children, with what is around each."""
        scope = around.scope
        own = Scope(around.first, node.end_point.row, node.type in self._functions)
        is_value = node.type in self._unnamed and around.node.type in NAMING
        is_impl = node.type == "impl_item"
        is_definition = is_value or (
            node.type in self._named and not is_impl and not _is_reference(node)
        )
        is_constant = node.type in self._values and not scope.is_function
        is_outer = is_definition or is_constant or own.is_function or is_impl
        inner = own if is_outer else scope
        owners = around.owners
        if node.type in self._named:
            owners = self._find_owners(node) or owners
        name = None
        if is_value:
            name = self._find_name(around.node)
        elif is_definition or is_constant:
            name = self._find_name(node)
        plain = Scope(own.first, own.last)
        if name is not None:
            kind: Kind = "definition" if is_definition else "value"
            is_member = scope is not self._top and not scope.is_function
            self.found.append(
                Named(kind, self._text(name), name.start_point.row, plain, is_member, owners)
            )
        elif is_definition or node.type in self._unnamed:
            self.found.append(Named("function", "", node.start_point.row, plain))
        else:
            self._add_use(node, around)
        is_imported = around.is_import or IMPORT.search(node.type) is not None
        children = node.named_children
        begins = _find_begins(node, around.first, children)
        return [
            (child, _Around(node, inner, begin, owners, is_imported))
            for child, begin in zip(children, begins, strict=True)
        ]

    def _add_use(self, node: Node, around: _Around) -> None:
        parent = around.node
        if node.type in CALLS:
            name = self._find_name(node)
            if name is not None and name.start_point.row in self._on_rows:
                self._append("call", name, around)
        elif (
            node.type.endswith("identifier")
            and node.start_point.row in self._on_rows
            and not node.child_count
        ):
            is_behind = parent.type == "keyword_argument" or node.start_byte > parent.start_byte
            kind: Kind = "plain"
            if node.type != "identifier" or (MEMBERS.search(parent.type) and is_behind):
                kind = "member"
            if IDENTIFIER.fullmatch(self._text(node)):
                self._append(kind, node, around)
        elif node.type.startswith("shorthand_property") and node.start_point.row in self._on_rows:
            self._append("member", node, around)
        elif "string" in node.type and not node.named_child_count:
            self._add_words(node, around)

    def _add_words(self, node: Node, around: _Around) -> None:
        """Add the words of a string that are on the rows."""
        for row, line in enumerate(self._text(node).split("\n"), node.start_point.row):
            if row in self._on_rows:
                for word in IDENTIFIER.findall(line):
                    self.found.append(Named("text", word, row, around.scope, False, around.owners))

    def _append(self, kind: Kind, name: Node, around: _Around) -> None:
        about = self._text(name)
        if around.is_import:
            kind = "import"
        row = name.start_point.row
        named = Named(kind, about, row, around.scope, owners=around.owners)
        is_member = kind == "member"
        said: tuple[Words, ...] = ()
        node = find_receiver(name)
        if node is not None:
            about = last_name(node, self._source)
            named = named._replace(receiver=about)
            is_member = node.named_child_count > 0
            found = find_expression_type(node, self._source)
            if found is not None:
                said = (found,)
            elif around.owners and (
                about in OWN or self._source.startswith(b"super", node.start_byte)
            ):
                said = (around.owners,)
        self.found.append(_Use(named, about, said, is_member))

    def _find_owners(self, node: Node) -> Words:
        """Return the words that name the class which a node is, or whose method it is; () if there
        is none.
        """
        receiver = node.child_by_field_name("receiver")  # Go
        declarator = node.child_by_field_name("declarator")  # C++: `int Box::area()`
        if receiver is not None:
            return tuple(re.findall(r"\w+", self._text(receiver))[-1:])
        if declarator is not None:
            classes = re.findall(r"(\w+)::", self._text(declarator).partition("(")[0])
            if classes:
                return tuple(classes[-1:])
        if CLASSES.search(node.type) is None:
            return ()
        end = node.end_byte
        body = node.child_by_field_name("body")
        if body is not None:
            end = body.start_byte
        first_line = self._source[node.start_byte : end].decode(errors="replace").partition("\n")[0]
        words = [
            word for word in re.findall(r"\w+", first_line) if not CLASS_KEYWORDS.fullmatch(word)
        ]
        own = ""
        name = self._find_name(node)
        if name is not None:
            own = self._text(name)
        return tuple(dict.fromkeys([own, *words]))[:MAX_OWNERS]

    def _find_name(self, node: Node) -> Node | None:
        """Return the last identifier of what a call calls, or of what a definition defines."""
        for _ in range(MAX_DEPTH_OF_NAME):
            inner = next(filter(None, map(node.child_by_field_name, NAME_FIELDS)), None)
            if inner is None and node.named_child_count:
                inner = node.named_children[0]
            if inner is None or "pattern" in node.type:
                return node if IDENTIFIER.fullmatch(self._text(node)) else None
            node = inner
        return None

    def _text(self, node: Node) -> str:
        # `Node.text` reads the file for each byte
        return self._source[node.start_byte : node.end_byte].decode(errors="replace")


def list_named(text: str, path: str, rows: Sequence[int]) -> list[Named]:
    lines = text.split("\n")
    ordered = [row for row in rows if row < len(lines) and len(lines[row]) <= MAX_CHARACTERS]
    grammar = find_grammar(path)
    if grammar is None or not ordered:
        return []
    root = parse_source(text, path)
    if root is None:
        return []
    source = text.encode(errors="replace")
    finder = _Finder(root, grammar, source, ordered)
    about: set[str] = set()
    for one in finder.found:
        if isinstance(one, _Use):
            first_words = [words[0] for words in one.said if words]
            about.update(first_words or [one.about])
    said = list_said(root, source, lines, about - {""})
    found: list[Named] = []
    for one in finder.found:
        if isinstance(one, Named):
            found.append(one)
            continue
        known = said.get(one.about)
        if one.said:
            with_imports = [add_import(words, said) or words for words in one.said]
            found.append(one.named._replace(said=tuple(with_imports)))
            continue
        if known is None:
            found.append(one.named)
            continue
        scope = one.named.scope
        declared = known.find(scope.first, scope.last, is_member=one.is_member)
        is_local = any(each.is_local for each in declared)
        if not (is_local and one.named.receiver is None and one.named.kind in ("call", "plain")):
            types = tuple(each.words for each in declared if each.words is not None)
            found.append(one.named._replace(said=types, is_local=is_local and not one.is_member))
    return found


def _is_reference(node: Node) -> bool:
    """Return True for `struct box` in `struct box *box`, and for `mod box;`."""
    needs_body = node.type.endswith("_specifier") or node.type == "mod_item"
    return needs_body and node.child_by_field_name("body") is None


def _find_begins(node: Node, first: int, children: Sequence[Node]) -> list[int]:
    """Return the row, by child, at which its decorators or the comment directly above it begin."""
    begins: list[int] = []
    # rows of the beginning and the end of the comment above the next child
    comment = -2
    end = -2
    code_end = -1  # row of the end of the last child that is no comment
    for child in children:
        row = child.start_point.row
        begin = row
        if node.type in WRAPPERS or row == node.start_point.row:
            begin = first
        if row <= end + 1:
            begin = min(comment, begin)
        begins.append(begin)
        comment = begin
        end = -2
        if "comment" not in child.type:
            code_end = child.end_point.row
        elif row > code_end:  # not at the end of a line of code
            end = child.end_point.row - (child.end_point.column == 0)
    return begins
