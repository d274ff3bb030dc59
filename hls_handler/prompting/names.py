"""Checks the names in templates without running them, so that rarely used branches are checked, too.

Checked: variables, filters, tests, and attributes of typed values. A name has all types that the templates assign to
it, wherever they do. Not checked: the payload in `event`, parameters of macros, and results of most filters; the smoke
render finds errors in these.
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

ATTRIBUTE_FILTERS = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first positional argument names an attribute of the elements: `groupby('kind')`."""

JINJA_VARIABLES = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
FILTERS_KEEPING_LIST = frozenset({"list", "sort", "reverse", "unique", "selectattr", "rejectattr", "select", "reject"})
FILTERS_GIVING_ELEMENT = frozenset({"first", "last", "random", "min", "max"})
FILTERS_KEEPING_TYPE = frozenset({"default", "d", "excerpt", "lines", "code", "inline"})

Found = tuple[nodes.Node, str]
"""A node and the message of its problem."""


def check_names(templates: ParsedTemplates, template: str, variables: Mapping[str, object]) -> list[Problem]:
    """Return a problem for each unknown name in a template and in all templates that it extends, includes and imports.

    `variables` maps names to types: {"issue": Issue}.
    """
    names = [name for name in find_used_templates(templates, template) if name in templates.trees]
    checker = _NameChecker(templates.environment, variables)
    for name in names:
        checker.add_types(templates.trees[name])
    return list(
        dict.fromkeys(
            Problem(templates.files[name], node.lineno, message)
            for name in names
            for node, message in checker.check(templates.trees[name])
        )
    )


class _NameChecker:
    def __init__(self, environment: PromptEnvironment, variables: Mapping[str, object]) -> None:
        self._environment, self._variables = environment, variables
        self._types: dict[str, list[object]] = {name: [*iter_alternatives(hint)] for name, hint in variables.items()}

    def add_types(self, tree: nodes.Template) -> None:
        """Add the types of all names that a template assigns."""
        for node, parameters in _walk(tree):
            match node:
                case nodes.For():
                    self._assign(node.target, _element_types(self._infer(node.iter, parameters)))
                case nodes.Assign():
                    self._assign(node.target, self._infer(node.node, parameters))
                case nodes.With():
                    for target, value in zip(node.targets, node.values, strict=True):
                        self._assign(target, self._infer(value, parameters))
                case nodes.AssignBlock():
                    self._assign(node.target, [ANYTHING])
                case nodes.Macro():
                    self._add(node.name, [ANYTHING])
                case nodes.Import():
                    self._add(node.target, [ANYTHING])
                case nodes.FromImport():
                    for name in node.names:
                        self._add(name if isinstance(name, str) else name[1], [ANYTHING])

    def _assign(self, target: nodes.Node, types: list[object]) -> None:
        for name in [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name):
            self._add(name.name, types if name is target else [ANYTHING])

    def _add(self, name: str, types: list[object]) -> None:
        self._types.setdefault(name, []).extend(types)

    def _infer(self, node: nodes.Node, parameters: frozenset[str]) -> list[object]:
        match node:
            case nodes.Name() if node.name not in parameters:
                return self._types.get(node.name, [ANYTHING])
            case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
                return _member_types(self._infer(node.node, parameters), name)
            case nodes.Getitem(arg=nodes.Slice()):
                return self._infer(node.node, parameters)
            case nodes.Getitem():
                return _element_types(self._infer(node.node, parameters))
            case nodes.Filter() if node.node is not None:
                types = self._infer(node.node, parameters)
                if node.name in FILTERS_GIVING_ELEMENT:
                    return _element_types(types)
                is_list = any(find_element_type(kind) is not None for kind in types)
                kept = node.name in FILTERS_KEEPING_TYPE or (node.name in FILTERS_KEEPING_LIST and is_list)
                return types if kept else [ANYTHING]
        return [ANYTHING]

    def check(self, tree: nodes.Template) -> Iterator[Found]:
        """Yield the problems of a template, after the types of all templates were added."""
        optional = {
            node.node.name
            for node in tree.find_all((nodes.Test, nodes.Filter))
            if isinstance(node.node, nodes.Name) and node.name in ("defined", "undefined", "default", "d")
        }
        for node, parameters in _walk(tree):
            match node:
                case nodes.Name(ctx="load") if node.name not in optional | parameters:
                    yield from self._check_variable(node)
                case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
                    yield from _check_member(node, _describe(node.node), self._infer(node.node, parameters), name)
                case nodes.Test() if node.name not in self._environment.tests:
                    yield node, f"unknown test {node.name!r}; {suggest_name(node.name, self._environment.tests)}"
                case nodes.Filter():
                    yield from self._check_filter(node, parameters)
                case nodes.Block(name="system"):
                    yield from self._check_system_block(node)

    def _check_variable(self, node: nodes.Name) -> Iterator[Found]:
        if node.name not in self._types.keys() | self._environment.globals.keys() | JINJA_VARIABLES:
            yield node, f"unknown variable {node.name!r}; {suggest_name(node.name, self._types)}"

    def _check_filter(self, node: nodes.Filter, parameters: frozenset[str]) -> Iterator[Found]:
        known = self._environment.filters
        if node.name not in known and node.name in ALLOWED_ONLY_IN:
            yield node, f"the filter {node.name!r} is for {ALLOWED_ONLY_IN[node.name]} only"
        elif node.name not in known:
            yield node, f"unknown filter {node.name!r}; {suggest_name(node.name, known)}"
        if node.node is None:
            return
        types = _element_types(self._infer(node.node, parameters))
        for name in _attribute_path(node):
            yield from _check_member(node, f"an element of {_describe(node.node)}", types, name)
            types = _member_types(types, name)

    def _check_system_block(self, block: nodes.Block) -> Iterator[Found]:
        for node in block.find_all(nodes.Name):
            if node.name in self._variables:
                message = f"{node.name!r} depends on the event, but the system block must be the same for all events"
                yield node, f"{message}; use it in the task block"


def _walk(node: nodes.Node, parameters: frozenset[str] = frozenset()) -> Iterator[tuple[nodes.Node, frozenset[str]]]:
    """Yield each node below `node`, and the parameters of the macros that contain it."""
    for child in node.iter_child_nodes():
        visible = parameters
        if isinstance(child, nodes.Macro | nodes.CallBlock):
            visible = parameters.union(argument.name for argument in child.args)
        yield child, visible
        yield from _walk(child, visible)


def _element_types(types: Iterable[object]) -> list[object]:
    return [one for kind in types for one in iter_alternatives(find_element_type(kind) or ANYTHING)]


def _member_types(types: Iterable[object], name: str) -> list[object]:
    return [one for kind in types for one in iter_alternatives((members_of(kind) or {}).get(name, ANYTHING))]


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


def _attribute_path(node: nodes.Filter) -> list[str]:
    given = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    if node.name in ATTRIBUTE_FILTERS:
        given += node.args[:1]
    match given:
        case [nodes.Const(value=str(path))]:
            return path.split(".")  # ["user", "login"] for `map(attribute='user.login')`
    return []


def _describe(node: nodes.Node) -> str:
    """Describe an expression for an error message: "issue.user"; "this value" for a more complex expression."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{_describe(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{_describe(node.node)}[...]"
        case nodes.Filter() if node.node is not None:
            return f"{_describe(node.node)} | {node.name}"
    return "this value"
