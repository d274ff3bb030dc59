"""Finds the lines from the beginning of the enclosing function or class to a hunk, by the grammar of its language.

The grammars are those of tree-sitter, https://tree-sitter.github.io. Files without one have no such lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

from tree_sitter import Language, Node, Parser, Point

from hls_handler.review.patches import Hunk, Line, Patch

MAX_LINES = 30  # for one hunk
FIRST_LINES = 10  # of a longer function: so many from its beginning, the others directly above the hunk
PARSE_S = 1.0  # for one file, which takes milliseconds; text made to be ambiguous can take minutes


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar of tree-sitter: a module of PyPI, and the types of nodes, separated by blanks."""

    module: str
    named: str  # functions, methods, classes and what else has a name of its own
    unnamed: str = ""  # functions that are values: used if no named one is around a line, or if they get a name
    language: str = "language"  # the module's function


_JAVASCRIPT = (
    "function_declaration generator_function_declaration method_definition class_declaration"
    " abstract_class_declaration interface_declaration enum_declaration type_alias_declaration internal_module"
)
_JAVASCRIPT_VALUES = "arrow_function function_expression generator_function class"
_C = "function_definition struct_specifier union_specifier enum_specifier"

GRAMMARS = {
    ".py .pyi": Grammar("tree_sitter_python", "function_definition class_definition"),
    ".js .jsx .mjs .cjs": Grammar("tree_sitter_javascript", _JAVASCRIPT, _JAVASCRIPT_VALUES),
    ".ts .mts .cts": Grammar("tree_sitter_typescript", _JAVASCRIPT, _JAVASCRIPT_VALUES, "language_typescript"),
    ".tsx": Grammar("tree_sitter_typescript", _JAVASCRIPT, _JAVASCRIPT_VALUES, "language_tsx"),
    ".go": Grammar("tree_sitter_go", "function_declaration method_declaration type_declaration", "func_literal"),
    ".java": Grammar(
        "tree_sitter_java",
        "method_declaration constructor_declaration compact_constructor_declaration class_declaration"
        " interface_declaration enum_declaration record_declaration annotation_type_declaration",
        "lambda_expression",
    ),
    ".rs": Grammar(
        "tree_sitter_rust",
        "function_item impl_item trait_item struct_item enum_item union_item mod_item macro_definition",
        "closure_expression",
    ),
    ".cs": Grammar(
        "tree_sitter_c_sharp",
        "method_declaration constructor_declaration destructor_declaration operator_declaration property_declaration"
        " local_function_statement class_declaration struct_declaration interface_declaration record_declaration"
        " enum_declaration",
        "lambda_expression anonymous_method_expression",
    ),
    ".c": Grammar("tree_sitter_c", _C),
    ".cc .cpp .cxx .h .hh .hpp": Grammar("tree_sitter_cpp", f"{_C} class_specifier", "lambda_expression"),
}
"""By extensions. Another language is one line here and one in requirements.txt."""

WRAPPERS = {"decorated_definition", "export_statement", "template_declaration"}
"""Types of the nodes that begin above a definition: decorators, `export`, `template <...>`."""

NAMING = {"variable_declarator", "pair", "assignment_expression", "public_field_definition", "field_definition"}
"""Types of the nodes that give a function that is a value its name: `const area = () => {`."""


def find_lines_above(text: str, path: str, patch: Patch) -> tuple[tuple[Line, ...], ...]:
    """Return for each hunk the unchanged lines above it that belong to its function, from its beginning.

    () if the hunk itself shows the beginning or differs from `text`, the new file at `path`, or if there is no grammar.
    Lines of other hunks are left out.
    """
    parsed = _parse(text, path)
    if parsed is None:
        return ((),) * len(patch.hunks)
    root, grammar = parsed
    lines = text.split("\n")
    shown = {line.number for hunk in patch.hunks for line in hunk.lines if line.side == "RIGHT"}
    above = (_above(root, grammar, lines, hunk) for hunk in patch.hunks)
    return tuple(tuple(line for line in found if line.number not in shown) for found in above)


def has_grammar(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _by_extension()


def _parse(text: str, path: str) -> tuple[Node, Grammar] | None:
    grammar = _by_extension().get(PurePosixPath(path).suffix.lower())
    if grammar is None:
        return None
    encoded, deadline = text.encode(errors="replace"), time.monotonic() + PARSE_S
    try:
        tree = Parser(_language(grammar)).parse(
            lambda offset, _point: encoded[offset : offset + 65_536],
            progress_callback=lambda _offset, _has_error: time.monotonic() > deadline,  # True ends it
        )
    except ValueError:  # "Parsing failed": it was ended
        return None
    return tree.root_node, grammar


@cache
def _by_extension() -> dict[str, Grammar]:
    return {extension: grammar for extensions, grammar in GRAMMARS.items() for extension in extensions.split()}


@cache
def _language(grammar: Grammar) -> Language:
    return Language(getattr(import_module(grammar.module), grammar.language)())


def _above(root: Node, grammar: Grammar, lines: Sequence[str], hunk: Hunk) -> Sequence[Line]:
    new = [line for line in hunk.lines if line.side == "RIGHT"]
    if not new or not 1 <= new[0].number <= len(lines) or lines[new[0].number - 1] != new[0].text:
        return ()
    first = new[0].number
    numbers = range(_find_beginning(root, grammar, lines, _first_change(hunk)) or first, first)
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


def _find_beginning(root: Node, grammar: Grammar, lines: Sequence[str], number: int) -> int | None:
    """Return the number of the line that begins the innermost function or class around a line."""
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
