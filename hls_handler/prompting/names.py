"""Checks the names in templates without running them, so that rarely used branches are checked, too.

Checked: variables, filters, tests, and attributes of typed values. A name has all types that the templates assign to
it, wherever they do. Not checked: the payload in `event`, parameters of macros, and what filters return or name; the
smoke render finds errors in these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from jinja2 import nodes

from hls_handler.prompting.environment import (
    ALLOWED_ONLY_IN,
    TEXT_OPERATIONS,
    ParsedTemplates,
    PromptEnvironment,
    find_used_templates,
)
from hls_handler.prompting.problems import Problem, suggest_name
from hls_handler.prompting.variables import ANYTHING, find_element_type, iter_alternatives, members_of

JINJA_VARIABLES = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})

Types = dict[str, list[object]]
"""Name -> all types of its values."""

Found = tuple[nodes.Node, str]
"""A node and the message of its problem."""


def check_names(templates: ParsedTemplates, template: str, variables: Mapping[str, object]) -> list[Problem]:
    """Return a problem for each unknown name in a template and in all templates that it extends, includes and imports.

    `variables` maps names to types: {"issue": Issue}.
    """
    names = [name for name in find_used_templates(templates, template) if name in templates.trees]
    types: Types = {name: [*iter_alternatives(hint)] for name, hint in variables.items()}
    for name in names:
        _add_types(types, templates.trees[name])
    found: dict[Problem, None] = {}
    for name in names:
        problems = _check_tree(templates.trees[name], types, templates.environment)
        found |= {Problem(templates.files[name], node.lineno, message): None for node, message in problems}
    return list(found)


def _add_types(types: Types, tree: nodes.Template) -> None:
    """Add the types of all names that a template assigns."""
    typed: set[nodes.Node] = set()
    for statement in tree.find_all(nodes.Stmt):
        match statement:
            case nodes.For(target=nodes.Name() as target, iter=value):
                assigned = _elements(_infer(types, value))
            case nodes.Assign(target=nodes.Name() as target, node=value):
                assigned = _infer(types, value)
            case _:
                continue
        typed.add(target)
        types.setdefault(target.name, []).extend(assigned)
    for node in tree.find_all(nodes.Node):
        untyped: list[str | tuple[str, str]] = []
        match node:
            case nodes.Name(name=name) if node.ctx != "load" and node not in typed:
                untyped = [name]  # a parameter, one of several targets, or the target of a block
            case nodes.Macro(name=name) | nodes.Import(target=name):
                untyped = [name]
            case nodes.FromImport():
                untyped = node.names
        for one in untyped:
            types.setdefault(one if isinstance(one, str) else one[1], []).append(ANYTHING)


def _infer(types: Types, node: nodes.Node) -> list[object]:
    match node:
        case nodes.Name():
            return types.get(node.name, [ANYTHING])
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            members = [(members_of(kind) or {}).get(name, ANYTHING) for kind in _infer(types, node.node)]
            return [one for hint in members for one in iter_alternatives(hint)]
    return [ANYTHING]


def _elements(types: Iterable[object]) -> list[object]:
    return [one for kind in types for one in iter_alternatives(find_element_type(kind) or ANYTHING)]


def _check_tree(tree: nodes.Template, types: Types, environment: PromptEnvironment) -> Iterator[Found]:
    """Yield the problems of a template. `types` has the names of all templates."""
    optional = {
        node.node.name
        for node in tree.find_all((nodes.Test, nodes.Filter))
        if isinstance(node.node, nodes.Name) and node.name in ("defined", "undefined", "default", "d")
    }
    known = types.keys() | environment.globals.keys() | JINJA_VARIABLES | optional
    for node in tree.find_all(nodes.Node):
        match node:
            case nodes.Name(name=name) if name not in known:
                yield node, f"unknown variable {name!r}; {suggest_name(name, types)}"
            case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
                yield from _check_member(node, _describe(node.node), _infer(types, node.node), name)
            case nodes.Test(name=name) if name not in environment.tests:
                yield node, f"unknown test {name!r}; {suggest_name(name, environment.tests)}"
            case nodes.Filter(name=name) if name not in environment.filters:
                where = ALLOWED_ONLY_IN.get(name)
                is_unknown = f"unknown filter {name!r}; {suggest_name(name, environment.filters)}"
                yield node, f"the filter {name!r} is for {where} only" if where else is_unknown


def _check_member(node: nodes.Node, owner: str, types: Iterable[object], name: str) -> Iterator[Found]:
    known: set[str] = set()
    for kind in types:
        members = members_of(kind)
        if members is None or name in members:
            return
        known |= members.keys()
    if any(find_element_type(kind) is not None for kind in types):
        yield node, f"{owner} is a list and has no {name!r}; loop over it, or use {owner} | map(attribute={name!r})"
    elif str in types:
        yield node, f"{owner} is text from an event and has no {name!r}; {TEXT_OPERATIONS}"
    else:
        yield node, f"{owner} has no {name!r}; {suggest_name(name, known)}"


def _describe(node: nodes.Node) -> str:
    """Describe an expression for an error message: "issue.user"; "this value" for a more complex expression."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{_describe(node.node)}.{node.attr}"
    return "this value"
