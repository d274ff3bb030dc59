"""Parses source files with the grammars of tree-sitter, https://tree-sitter.github.io."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

from tree_sitter import Language, Node, Parser

# of CPU time for one file, which takes milliseconds; text made to be ambiguous can take minutes
PARSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Grammar:
    """A grammar of tree-sitter: a module of PyPI, and the types of nodes, separated by blanks."""

    module: str
    named: str  # functions, methods, classes and what else has a name of its own
    # functions that are values: used if no named one is around a line, or if they get a name
    unnamed: str = ""
    # constants, and fields of classes and records; the same types inside of functions are local
    values: str = ""
    language: str = "language"  # the module's function
    family: str = ""  # languages of one family call each other's functions; "": the module


_JAVASCRIPT = (
    "function_declaration generator_function_declaration method_definition class_declaration"
    " abstract_class_declaration interface_declaration enum_declaration type_alias_declaration"
    " internal_module"
)
_JAVASCRIPT_FUNCTIONS = "arrow_function function_expression generator_function class"
_JAVASCRIPT_VALUES = "variable_declarator pair field_definition"
_TYPESCRIPT = (
    "tree_sitter_typescript",
    f"{_JAVASCRIPT} function_signature method_signature abstract_method_signature",
    _JAVASCRIPT_FUNCTIONS,
    f"{_JAVASCRIPT_VALUES} public_field_definition property_signature enum_assignment",
)
_C = "function_definition struct_specifier union_specifier enum_specifier"
_C_VALUES = "init_declarator field_declaration enumerator preproc_def"

LANGUAGES = {
    ".py .pyi": Grammar(
        "tree_sitter_python", "function_definition class_definition", values="assignment"
    ),
    ".js .jsx .mjs .cjs": Grammar(
        "tree_sitter_javascript",
        _JAVASCRIPT,
        _JAVASCRIPT_FUNCTIONS,
        _JAVASCRIPT_VALUES,
        family="js",
    ),
    ".ts .mts .cts": Grammar(*_TYPESCRIPT, "language_typescript", "js"),
    ".tsx": Grammar(*_TYPESCRIPT, "language_tsx", "js"),
    ".go": Grammar(
        "tree_sitter_go",
        "function_declaration method_declaration type_declaration",
        "func_literal",
        "const_spec var_spec field_declaration",
    ),
    ".java": Grammar(
        "tree_sitter_java",
        "method_declaration constructor_declaration compact_constructor_declaration"
        " class_declaration interface_declaration enum_declaration record_declaration"
        " annotation_type_declaration",
        "lambda_expression",
        "field_declaration constant_declaration enum_constant",
    ),
    ".rs": Grammar(
        "tree_sitter_rust",
        "function_item impl_item trait_item struct_item enum_item union_item mod_item"
        " macro_definition",
        "closure_expression",
        "const_item static_item field_declaration enum_variant",
    ),
    ".cs": Grammar(
        "tree_sitter_c_sharp",
        "method_declaration constructor_declaration destructor_declaration operator_declaration"
        " property_declaration local_function_statement class_declaration struct_declaration"
        " interface_declaration record_declaration enum_declaration",
        "lambda_expression anonymous_method_expression",
        "variable_declarator enum_member_declaration",
    ),
    ".c": Grammar("tree_sitter_c", _C, values=_C_VALUES, family="c"),
    ".cc .cpp .cxx .h .hh .hpp": Grammar(
        "tree_sitter_cpp", f"{_C} class_specifier", "lambda_expression", _C_VALUES, family="c"
    ),
}
"""By extensions. Another language is one line here and one in requirements.txt."""

GRAMMARS = {
    extension: grammar
    for extensions, grammar in LANGUAGES.items()
    for extension in extensions.split()
}
"""By extension: ".py"."""

WRAPPERS = {"decorated_definition", "export_statement", "template_declaration"}
"""Types of the nodes that begin above a definition: decorators, `export`, `template <...>`."""

NAMING = {
    "variable_declarator",
    "pair",
    "assignment_expression",
    "public_field_definition",
    "field_definition",
}
"""Types of the nodes that give a function that is a value its name: `const area = () => {`."""


def has_grammar(path: str) -> bool:
    return find_grammar(path) is not None


def find_grammar(path: str) -> Grammar | None:
    return GRAMMARS.get(PurePosixPath(path).suffix.lower())


def parse_source(text: str, path: str) -> Node | None:
    """Return the root of the syntax tree; None without a grammar, or if the text takes more than
    `PARSE_S`.
    """
    grammar = find_grammar(path)
    if grammar is None:
        return None
    encoded = text.encode(errors="replace")
    deadline = time.thread_time() + PARSE_S
    try:
        tree = Parser(_language(grammar)).parse(
            lambda offset, _point: encoded[offset : offset + 65_536],
            # True ends it
            progress_callback=lambda _offset, _has_error: time.thread_time() > deadline,
        )
    except ValueError:  # "Parsing failed": it was ended
        return None
    return tree.root_node


@cache
def _language(grammar: Grammar) -> Language:
    return Language(getattr(import_module(grammar.module), grammar.language)())
