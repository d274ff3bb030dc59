"""Finds what a source file says about the types of its names: by annotations, constructors,
literals and imports.

No types are inferred: `items` in `items.get(1)` has a type if the file has `items: Cache`,
`items = Cache()`, `items = {}` or an import of `items`. The words of a type are its name and the
module that it is imported from.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tree_sitter import Node

MAX_ROWS = 2_000  # with one of the names, on which a file is read for what it says of them
MAX_NAMES = 300  # of one file, of which it is read what the file says
MAX_TEXT_BYTES = 500  # of an expression or a type
MAX_ANCESTORS = 100  # of a declaration, up to its function
MAX_DEPTH = 8  # nodes from a name to its declaration

Words = tuple[str, ...]

OWN = {"self", "this", "cls", "super", "base", "Self"}
"""Names of the object or class whose method a line is in."""

OBJECT_FIELDS = ("object", "operand", "expression", "argument", "scope", "path", "value")
"""Fields of nodes with a member, such as `a` in `a.b`, in all grammars."""

TRANSPARENT = {
    "Annotated",
    "Arc",
    "Awaitable",
    "Box",
    "ClassVar",
    "Final",
    "Optional",
    "Promise",
    "Rc",
    "Readonly",
}
"""Generic types whose members are those of their argument, or become so by a keyword."""

IMPORT = re.compile("import|use_declaration|use_as_clause")
BUILTIN = re.compile(
    r"string|number|integer|float|^list$|dictionary|^set$|tuple|comprehension|^object$|^array|slice"
    r"|map_type|regex|char"
)
"""Found in the types of nodes of literals, and of types that have no name."""

PASSED = re.compile(
    "declarator$|^declaration|variable_declaration|pattern|expression_list|attribute|member"
    "|selector|field|clause|spec"
)
"""Found in the types of nodes between a name and the declaration that gives its type."""

WRAPPING = re.compile(
    "annotation|^type$|pointer|reference|nullable|union|parenthesized|readonly|await|unary|^as_"
    "|binary|type_elem"
)
"""Found in the types of nodes whose first child has the type."""

LOOPS = re.compile("^(for_|foreach|enhanced_for|range)")
CONSTRUCTIONS = {
    "new_expression",
    "object_creation_expression",
    "composite_literal",
    "struct_expression",
}
NO_MODULES = {"", "index", "init", "__init__", "mod", "crate", "lib", "src"}


class Declared(NamedTuple):
    """A declaration of a name."""

    row: int  # from 0
    words: Words | None  # of its type; () for a builtin type; None if the text does not say it
    is_local: bool = False  # a variable or parameter of a function


@dataclass(slots=True)
class Said:
    """The declarations of one name in a file."""

    declared: list[Declared] = field(default_factory=list)

    def find(self, first: int, last: int, *, is_member: bool) -> list[Declared]:
        """Return the declarations that count on the rows of a function: its own, else those outside
        of functions.

        Without these, the last one above counts, because the function may be inside of another. For
        `b` in `a.b.c`, which `is_member`, all count.
        """
        if is_member:
            return self.declared
        own = [one for one in self.declared if one.is_local and first <= one.row <= last]
        outer = [one for one in self.declared if not one.is_local]
        above = sorted((one for one in self.declared if one.row < first), key=lambda one: one.row)
        return own or outer or above[-1:]


def find_receiver(name: Node) -> Node | None:
    """Return `a.b` for the node `c` in `a.b.c`; None if there is nothing before it."""
    parent = name.parent
    if parent is None:
        return None
    for one in OBJECT_FIELDS:
        found = parent.child_by_field_name(one)
        if found is not None and found.end_byte <= name.start_byte:
            return found
    return None


def last_name(node: Node, source: bytes) -> str:
    """Return `b` for `a.b`; "" for an expression without a name."""
    while node.named_child_count:
        is_member = node.type in ("member_expression", "attribute", "field_access")
        if not is_member and not PASSED.search(node.type):
            return ""
        node = node.named_children[-1]
    text = _text(node, source)
    return text if re.fullmatch(r"#?[^\W\d]\w*", text) else ""


def find_expression_type(node: Node, source: bytes) -> Words | None:
    """Return the words of the type of a literal or of a constructor's call; None if the text does
    not say it.
    """
    for _ in range(MAX_DEPTH):
        if node.type in CONSTRUCTIONS:
            named = node.child_by_field_name("constructor") or node.child_by_field_name("type")
            named = named or node.child_by_field_name("name")
            if named is None:
                return None
            return find_type(named, source)
        if BUILTIN.search(node.type):
            return ()
        if "call" in node.type or "invocation" in node.type:
            return _find_constructor(node, source)
        is_single = node.type == "expression_list" and node.named_child_count == 1
        if not (is_single or WRAPPING.search(node.type)) or not node.named_child_count:
            return None
        node = node.named_children[0]
    return None


def _find_constructor(call: Node, source: bytes) -> Words | None:
    function = call.child_by_field_name("function")
    if function is None:
        return None
    text = _text(function, source)
    names = tuple(re.findall(r"\w+", text))
    if names == ("make",):
        return ()
    if names == ("require",):
        return _modules(_text(call, source).partition("(")[2])
    if "(" in text or not names:
        return None
    if "::" in text:  # Rust: `Cache::new()`
        return names[:-1] if names[-2][0].isupper() else None
    is_class = call.type == "call" and names[-1][0].isupper()  # Python
    is_class = is_class or names[-1].startswith("New")  # Go: `cache.NewCache()`
    return names if is_class else None


def find_type(node: Node, source: bytes) -> Words | None:
    """Return the identifiers in the name of a type, without its arguments; () if it has no name."""
    for _ in range(MAX_DEPTH):
        children = node.named_children
        if BUILTIN.search(node.type) and node.type != "string":
            return ()
        if WRAPPING.search(node.type) and children:
            node = children[0]
            continue
        generic = "generic" in node.type or node.type == "subscript"
        if generic and len(children) > 1:
            names = re.findall(r"\w+", _text(children[0], source))
            if names[-1:] and names[-1] in TRANSPARENT and children[1].named_child_count:
                node = children[1].named_children[0]
                continue
            return tuple(names)
        names = [
            name for name in re.findall(r"\w+", _text(node, source)) if name not in TRANSPARENT
        ]
        if names in ([], ["var"], ["auto"], ["Any"], ["any"], ["object"]):
            return None
        return tuple(names)
    return None


def list_said(
    root: Node, source: bytes, lines: Sequence[str], names: Collection[str]
) -> dict[str, Said]:
    """Return what a file says of each of the names that it declares or imports."""
    said = _list_declared(root, source, lines, names)
    types: set[str] = set()
    for one in said.values():
        types.update(each.words[0] for each in one.declared if each.words)
    imported = said | _list_declared(root, source, lines, types - said.keys())
    for one in said.values():
        declared: list[Declared] = []
        for each in one.declared:
            words = add_import(each.words, imported)
            declared.append(each._replace(words=words))
        one.declared = declared
    return said


def add_import(words: Words | None, imported: dict[str, Said]) -> Words | None:
    """Return the words of a type with those of the import of the first one."""
    if not words or words[0] not in imported:
        return words
    modules: list[str] = []
    for each in imported[words[0]].declared:
        modules += each.words or ()
    return (*words, *modules)


def _list_declared(
    root: Node, source: bytes, lines: Sequence[str], names: Collection[str]
) -> dict[str, Said]:
    said: dict[str, Said] = {}
    if not names:
        return said
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)[:MAX_NAMES]))})\b")
    rows = [row for row, line in enumerate(lines) if len(line) <= 1000 and pattern.search(line)]
    for leaf in _list_leaves(root, rows[:MAX_ROWS]):
        text = _text(leaf, source)
        is_string = leaf.type.endswith("string_literal_content")
        is_string = is_string or leaf.type == "interpreted_string_literal"
        if is_string:
            text = text.strip('"').rpartition("/")[2]  # `http` for "net/http"
        if text not in names:
            continue
        of_name = said.setdefault(text, Said())
        if not is_string:
            _add_declaration(of_name, leaf, source)
        elif _find_import(leaf) is not None:
            of_name.declared.append(Declared(leaf.start_point.row, (text,)))
    return {name: one for name, one in said.items() if one.declared}


def _list_leaves(root: Node, rows: Sequence[int]) -> Iterator[Node]:
    """Yield the nodes without children that begin on one of the sorted rows."""
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if bisect_left(rows, node.end_point.row + 1) > bisect_left(rows, node.start_point.row):
            if not node.named_child_count:
                yield node
            nodes += node.named_children


def _add_declaration(said: Said, name: Node, source: bytes) -> None:
    row = name.start_point.row
    imported = _find_import(name)
    if imported is not None:
        said.declared.append(Declared(row, _import_words(imported, name, source)))
        return
    node = name
    for _ in range(MAX_DEPTH):
        parent = node.parent
        if parent is None or parent.type == "keyword_argument":
            return
        kind = parent.child_by_field_name("type")
        value = parent.child_by_field_name("value") or parent.child_by_field_name("right")
        if value is None and parent.type == "variable_declarator" and parent.named_child_count > 1:
            value = parent.named_children[-1]  # C# has no field for it
        if (value is not None and name.start_byte >= value.start_byte) or _is_around(kind, name):
            return
        is_last = name.end_byte == node.end_byte
        if not is_last and "function" not in node.type and "declarator" not in node.type:
            return  # `a` in `a.b = 1`
        found = None
        if value is not None and not LOOPS.search(parent.type):
            found = find_expression_type(value, source)
        if found is None and kind is not None:
            found = find_type(kind, source)
        elif found is None and parent.type == "typed_parameter":
            found = find_type(parent.named_children[-1], source)
        is_declared = kind is not None or value is not None or "parameter" in parent.type
        # of a constructor in TypeScript
        is_field = parent.named_children[0].type == "accessibility_modifier"
        is_local = is_declared and name is node and not is_field and _is_in_function(parent)
        if found is not None or is_local:
            said.declared.append(Declared(row, found, is_local))
        if found is not None or not PASSED.search(parent.type):
            return
        node = parent


def _is_around(outer: Node | None, node: Node) -> bool:
    return outer is not None and outer.start_byte <= node.start_byte < outer.end_byte


def _is_in_function(node: Node) -> bool:
    above: Node | None = node
    for _ in range(MAX_ANCESTORS):
        if above is None or re.search("class|struct|interface|enum|trait", above.type):
            return False
        if re.search("func|method|lambda|closure|constructor|arrow", above.type):
            return True
        above = above.parent
    return False


def _find_import(node: Node) -> Node | None:
    """Return the outermost node of an import around a name."""
    found = None
    above = node.parent
    for _ in range(MAX_DEPTH):
        if above is None:
            break
        if IMPORT.search(above.type):
            found = above
        above = above.parent
    return found


def _import_words(imported: Node, name: Node, source: bytes) -> Words:
    """Return the imported name and the last part of its module; () if both are relative or of the
    language.
    """
    text = _text(imported, source)
    module = re.search(r"""["'](.*?)["']""", text) or re.search(r"\bfrom\s+(\S+)\s+import", text)
    own = _text(name, source)
    if module is not None:
        return (own, *_modules(module[1]))
    dotted = re.sub(r"\b(import|static|use|as|using|pub)\b|[;\s]", " ", text).split()
    parts: list[str] = []
    if dotted:
        parts = [part for part in re.split(r"[.:]+", dotted[0]) if part]
    if imported.type == "import_declaration":  # Java: the packages of all projects begin alike
        return tuple(dict.fromkeys([own, *(part for part in parts if part[0].isupper())]))
    return tuple(dict.fromkeys([own, *parts[-2:]]))


def _modules(text: str) -> Words:
    parts = re.findall(r"\w+", re.sub(r"\.(js|ts|mjs|jsx|tsx)\b", "", text))
    return tuple([part for part in parts if part not in NO_MODULES][-1:])


def _text(node: Node, source: bytes) -> str:
    end = min(node.end_byte, node.start_byte + MAX_TEXT_BYTES)
    return source[node.start_byte : end].decode(errors="replace")
