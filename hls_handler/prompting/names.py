"""Checks the names in templates without running them: compares each syntax tree with the types of the variables.

Checked: variables, filters, tests, and attributes of typed values. Types are followed through loops, `set`, macros,
includes, imports, and filters such as `map(attribute='name')`. Not checked: the payload in `event`, parameters of
macros, and results of other filters; the smoke render finds errors in these.

A *hint* describes the type of an expression: a class, a `ListOf` or similar (see `variables.py`), or `ANYTHING`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jinja2 import nodes

from hls_handler.prompting.environment import (
    ALLOWED_ONLY_IN,
    TEXT_OPERATIONS,
    ParsedTemplates,
    exported_names,
    referenced_names,
)
from hls_handler.prompting.problems import Problem, suggest_name
from hls_handler.prompting.variables import (
    ANYTHING,
    LIST_ATTRIBUTES,
    TEXT_METHODS,
    Exports,
    GroupOf,
    ListOf,
    Text,
    element_hint,
    has_members,
    normalize_hint,
)
from hls_handler.untrusted.placeholders import public_hints

ATTRIBUTE_FILTERS = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first positional argument names an attribute of the elements: `groupby('kind')`."""


def _attribute_path(node: nodes.Filter) -> list[str] | None:
    given = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    if node.name in ATTRIBUTE_FILTERS and node.args:
        given.append(node.args[0])
    if given and isinstance(given[0], nodes.Const) and isinstance(given[0].value, str):
        return given[0].value.split(".")  # ["user", "login"] for `map(attribute='user.login')`
    return None


def describe(node: nodes.Node) -> str:
    """Describe an expression for an error message: "issue.user"; "this value" for a more complex expression."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{describe(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{describe(node.node)}[...]"
        case nodes.Filter() if node.node is not None:
            return f"{describe(node.node)} | {node.name}"
        case _:
            return "this value"


JINJA_VARIABLES = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
FILTERS_KEEPING_LIST = frozenset({"list", "sort", "reverse", "unique", "selectattr", "rejectattr", "select", "reject"})
FILTERS_GIVING_ELEMENT = frozenset({"first", "last", "random", "min", "max"})
FILTERS_KEEPING_TYPE = frozenset({"default", "d", "excerpt", "lines", "code", "inline"})


@dataclass(slots=True)
class Scope:
    names: dict[str, object]  # visible name -> hint
    forbidden: frozenset[str] = frozenset()  # variables that the system block must not use; empty outside of it

    def inner(self, names: Iterable[str] = ()) -> Scope:
        return Scope({**self.names, **dict.fromkeys(names, ANYTHING)}, self.forbidden)


def check_names(templates: ParsedTemplates, template: str, variables: Mapping[str, object]) -> list[Problem]:
    """Return a problem for each unknown name in a template and in all templates that it extends, includes and imports.

    `variables` maps names to types: {"issue": Issue}. The templates must not form a cycle.
    """
    checker = _NameChecker(templates, template, frozenset(variables))
    checker.run(Scope({name: normalize_hint(hint) for name, hint in variables.items()}))
    return checker.problems


@dataclass(slots=True)
class _NameChecker:
    templates: ParsedTemplates
    template: str
    variables: frozenset[str]  # names of all variables; the system block must not use them
    problems: list[Problem] = field(default_factory=list)
    guarded: set[str] = field(default_factory=set)  # names with `is defined` or `default`: may be undefined
    deferred: list[tuple[nodes.Stmt, Scope]] = field(default_factory=list)  # checked after all other nodes

    def run(self, scope: Scope) -> None:
        tree = self.templates.trees[self.template]
        self.guarded = {
            node.node.name
            for node in tree.find_all((nodes.Test, nodes.Filter))
            if isinstance(node.node, nodes.Name) and node.name in ("defined", "undefined", "default", "d")
        }
        scope.names["self"] = ANYTHING
        self.check_body(tree.body, scope)
        while self.deferred:  # because macros, blocks and extended templates also see names that are set below them
            node, outer = self.deferred.pop(0)
            match node:
                case nodes.Macro():
                    arguments = [argument.name for argument in node.args]
                    self.check_body(node.body, outer.inner([*arguments, "caller", "varargs", "kwargs"]))
                case nodes.Block():
                    inner = outer.inner(["super"])
                    if node.name == "system":
                        names = {name: hint for name, hint in inner.names.items() if name not in self.variables}
                        inner = Scope(names, self.variables)
                    self.check_body(node.body, inner)
                case nodes.Extends():
                    self.check_template(node, outer)

    def report(self, node: nodes.Node, message: str) -> None:
        self.problems.append(Problem(self.templates.files[self.template], node.lineno, message))

    def report_unknown(self, node: nodes.Node, kind: str, name: str, known: Iterable[str]) -> None:
        self.report(node, f"unknown {kind} {name!r}; {suggest_name(name, known)}")

    def check_body(self, statements: Iterable[nodes.Node], scope: Scope) -> None:
        for node in statements:
            match node:
                case nodes.For():
                    inner = scope.inner(["loop"])
                    self.assign(node.target, element_hint(self.infer(node.iter, scope)), inner)
                    if node.test is not None:
                        self.infer(node.test, inner)
                    self.check_body(node.body, inner)
                    self.check_body(node.else_, scope.inner())
                case nodes.If():
                    self.infer(node.test, scope)
                    self.check_body([*node.body, *node.elif_, *node.else_], scope)
                case nodes.Assign():
                    self.assign(node.target, self.infer(node.node, scope), scope)
                case nodes.AssignBlock():
                    self.check_body(node.body, scope.inner())
                    self.assign(node.target, ANYTHING, scope)
                case nodes.Macro():
                    self.infer_all(node.defaults, scope)
                    scope.names[node.name] = ANYTHING
                    self.deferred.append((node, scope))
                case nodes.Block() | nodes.Extends():
                    self.deferred.append((node, scope))
                case nodes.CallBlock():
                    self.infer(node.call, scope)
                    self.check_body(node.body, scope.inner(argument.name for argument in node.args))
                case nodes.With():
                    inner = scope.inner()
                    for target, value in zip(node.targets, node.values, strict=True):
                        self.assign(target, self.infer(value, scope), inner)
                    self.check_body(node.body, inner)
                case nodes.FilterBlock():
                    self.check_body(node.body, scope.inner())
                    self.check_filter(node.filter)
                case nodes.Include() | nodes.Import() | nodes.FromImport():
                    self.check_template(node, scope)
                case _:
                    self.infer_all(node.iter_child_nodes(), scope)

    def assign(self, target: nodes.Node, hint: object, scope: Scope) -> None:
        match target:
            case nodes.Name():
                scope.names[target.name] = hint
            case nodes.Tuple() if isinstance(hint, GroupOf) and len(target.items) == 2:
                self.assign(target.items[0], hint.key, scope)
                self.assign(target.items[1], ListOf(hint.element), scope)
            case nodes.Tuple():
                for item in target.items:
                    self.assign(item, ANYTHING, scope)
            case _:  # `set ns.name = ...` sets an attribute of a namespace, which is not checked
                pass

    def check_template(
        self, node: nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport, scope: Scope
    ) -> None:
        with_context = isinstance(node, nodes.Extends) or node.with_context
        for name in referenced_names(node):
            if name not in self.templates.trees:
                continue  # the parser or `check_references` reports this template
            checker = _NameChecker(self.templates, name, self.variables)
            checker.run(scope.inner() if with_context else Scope({}, scope.forbidden))
            self.problems += checker.problems
            exports = exported_names(self.templates.trees[name])
            if isinstance(node, nodes.Import):
                scope.names[node.target] = Exports(exports)
            for item in node.names if isinstance(node, nodes.FromImport) else ():
                imported, alias = item if isinstance(item, tuple) else (item, item)
                scope.names[alias] = ANYTHING
                if imported not in exports:
                    advice = suggest_name(imported, exports)
                    self.report(node, f"{self.templates.files[name]} has no {imported!r}; {advice}")

    def infer_all(self, expressions: Iterable[nodes.Node], scope: Scope) -> None:
        for expression in expressions:
            self.infer(expression, scope)

    def infer(self, node: nodes.Node, scope: Scope) -> object:
        match node:
            case nodes.Name():
                return self.infer_name(node, scope)
            case nodes.Test(node=nodes.Name(), name="defined" | "undefined"):
                return ANYTHING
            case nodes.Getattr():
                return self.infer_attribute(node, node.attr, self.infer(node.node, scope))
            case nodes.Getitem():
                return self.infer_item(node, scope)
            case nodes.Filter() if node.node is not None:
                return self.infer_filter(node, scope)
            case nodes.Test():
                if node.name not in self.templates.environment.tests:
                    self.report_unknown(node, "test", node.name, self.templates.environment.tests)
        self.infer_all(node.iter_child_nodes(), scope)
        return ANYTHING

    def infer_name(self, node: nodes.Name, scope: Scope) -> object:
        if node.name in scope.names:
            return scope.names[node.name]
        if node.name in scope.forbidden:
            message = f"{node.name!r} depends on the event, but the system block must be the same for all events"
            self.report(node, f"{message}; use it in the task block")
        elif node.name not in self.templates.environment.globals and node.name not in self.guarded:
            self.report_unknown(node, "variable", node.name, scope.names.keys() - JINJA_VARIABLES)
        return ANYTHING

    def infer_attribute(self, node: nodes.Getattr | nodes.Getitem, name: str, hint: object) -> object:
        owner = describe(node.node)
        if has_members(hint):
            return self.infer_member(node, owner, name, hint)
        if isinstance(hint, GroupOf) and name in ("grouper", "list"):
            return hint.key if name == "grouper" else ListOf(hint.element)
        if isinstance(hint, ListOf) and name not in LIST_ATTRIBUTES:
            advice = f"loop over it, or use {owner} | map(attribute={name!r})"
            self.report(node, f"{owner} is a list and has no {name!r}; {advice}")
        elif isinstance(hint, Exports) and name not in hint.names:
            self.report(node, f"{owner} has no {name!r}; {suggest_name(name, hint.names)}")
        elif isinstance(hint, Text) and name not in TEXT_METHODS:
            self.report(node, f"{owner} is text from an event and has no {name!r}; {TEXT_OPERATIONS}")
        return ANYTHING

    def infer_member(self, node: nodes.Node, owner: str, name: str, hint: type) -> object:
        known = public_hints(hint)
        if name in known:
            return normalize_hint(known[name])
        self.report(node, f"{owner} has no {name!r}; {suggest_name(name, known)}")
        return ANYTHING

    def infer_item(self, node: nodes.Getitem, scope: Scope) -> object:
        hint = self.infer(node.node, scope)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self.infer_attribute(node, node.arg.value, hint)
        self.infer_all([node.arg], scope)
        if isinstance(node.arg, nodes.Slice):
            return hint if isinstance(hint, ListOf) else ANYTHING
        if isinstance(hint, GroupOf) and isinstance(node.arg, nodes.Const):
            return hint.key if node.arg.value == 0 else ListOf(hint.element)
        return element_hint(hint)

    def check_filter(self, node: nodes.Filter) -> None:
        known = self.templates.environment.filters
        if node.name not in known and node.name in ALLOWED_ONLY_IN:
            self.report(node, f"the filter {node.name!r} is for {ALLOWED_ONLY_IN[node.name]} only")
        elif node.name not in known:
            self.report_unknown(node, "filter", node.name, known)

    def infer_filter(self, node: nodes.Filter, scope: Scope) -> object:
        self.check_filter(node)
        assert node.node is not None
        hint = self.infer(node.node, scope)
        self.infer_all(node.args, scope)
        self.infer_all((pair.value for pair in node.kwargs), scope)
        path = _attribute_path(node)
        value = element_hint(hint)
        for name in path or ():
            owner = f"an element of {describe(node.node)}"
            value = self.infer_member(node, owner, name, value) if has_members(value) else ANYTHING
        if node.name in FILTERS_KEEPING_TYPE:
            return hint
        if not isinstance(hint, ListOf):
            return ANYTHING
        if node.name in FILTERS_KEEPING_LIST:
            return hint
        if node.name in FILTERS_GIVING_ELEMENT:
            return hint.element
        if node.name == "groupby" and path:
            return ListOf(GroupOf(value, hint.element))
        return ListOf(value) if node.name == "map" and path else ANYTHING
