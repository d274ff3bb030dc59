"""Names in templates, held against the types of the variables: a walk over the syntax tree, before any rendering.

What is checked: variables, fields of typed values (also through loops, `set`, macros' surroundings, includes, imports,
and filters such as `map(attribute='name')`), filters and tests. What is not: the payload in `event`, parameters of
macros, and what other filters make of a value; those are found by rendering samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jinja2 import nodes

from hls_handler.prompting.expressions import attribute_argument, said, targets
from hls_handler.prompting.filters import ELSEWHERE
from hls_handler.prompting.hints import (
    ANYTHING,
    LIST_ATTRIBUTES,
    TEXT_METHODS,
    WHAT_TEXTS_CAN,
    Exports,
    GroupOf,
    ListOf,
    Text,
    element_of,
    has_members,
    members,
    settle,
)
from hls_handler.prompting.problems import Problem, nearest
from hls_handler.prompting.references import Trees, exported_names, referenced

JINJAS_OWN = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})
SAME_LIST = frozenset({"list", "sort", "reverse", "unique", "selectattr", "rejectattr", "select", "reject"})
ONE_OF_LIST = frozenset({"first", "last", "random", "min", "max"})
SAME_VALUE = frozenset({"default", "d", "excerpt", "lines", "code", "inline"})


@dataclass(slots=True)
class Scope:
    """The names that can be used at one place of a template."""

    names: dict[str, object]  # name -> hint
    kept_out: frozenset[str] = frozenset()  # an event's variables, inside the system block

    def inner(self, names: Iterable[str] = ()) -> Scope:
        return Scope({**self.names, **dict.fromkeys(names, ANYTHING)}, self.kept_out)


def check_names(trees: Trees, template: str, variables: Mapping[str, object]) -> list[Problem]:
    """Everything wrong with the names that a template and all that it extends, includes and imports use.

    `variables` are type hints by name. Templates must not include each other in a circle.
    """
    walk = _Walk(trees, template, frozenset(variables))
    walk.run(Scope({name: settle(hint) for name, hint in variables.items()}))
    return walk.problems


@dataclass(slots=True)
class _Walk:
    trees: Trees
    template: str
    variables: frozenset[str]  # what an event gives
    problems: list[Problem] = field(default_factory=list)
    tested: set[str] = field(default_factory=set)  # names asked about with `is defined` or given a `default`
    later: list[tuple[nodes.Stmt, Scope]] = field(default_factory=list)

    def run(self, scope: Scope) -> None:
        tree = self.trees.trees[self.template]
        self.tested = {
            node.node.name
            for node in tree.find_all((nodes.Test, nodes.Filter))
            if isinstance(node.node, nodes.Name) and node.name in ("defined", "undefined", "default", "d")
        }
        scope.names["self"] = ANYTHING
        self.body(tree.body, scope)
        while self.later:  # macros, blocks and what is extended see what stands below them, too
            node, around = self.later.pop(0)
            match node:
                case nodes.Macro():
                    self.body(node.body, around.inner([*targets(node.args), "caller", "varargs", "kwargs"]))
                case nodes.Block():
                    self.block(node, around)
                case nodes.Extends():
                    self.other_template(node, around)

    def block(self, node: nodes.Block, around: Scope) -> None:
        inside = around.inner(["super"])
        if node.name == "system":
            inside = Scope(
                {name: hint for name, hint in inside.names.items() if name not in self.variables}, self.variables
            )
        self.body(node.body, inside)

    def problem(self, node: nodes.Node, message: str) -> None:
        self.problems.append(Problem(self.trees.files[self.template], node.lineno, message))

    # --- statements --------------------------------------------------------------------------------------------------

    def body(self, statements: Iterable[nodes.Node], scope: Scope) -> None:
        for statement in statements:
            self.statement(statement, scope)

    def statement(self, node: nodes.Node, scope: Scope) -> None:
        match node:
            case nodes.For():
                self.loop(node, scope)
            case nodes.If():
                self.infer(node.test, scope)
                for branch in (node.body, node.elif_, node.else_):
                    self.body(branch, scope)
            case nodes.Assign():
                self.assign(node.target, self.infer(node.node, scope), scope)
            case nodes.AssignBlock():
                self.body(node.body, scope.inner())
                self.assign(node.target, ANYTHING, scope)
            case nodes.Macro():
                self.infer_all(node.defaults, scope)
                scope.names[node.name] = ANYTHING
                self.later.append((node, scope))
            case nodes.Block() | nodes.Extends():
                self.later.append((node, scope))
            case nodes.CallBlock():
                self.infer(node.call, scope)
                self.body(node.body, scope.inner(targets(node.args)))
            case nodes.With():
                inside = scope.inner()
                for target, value in zip(node.targets, node.values, strict=True):
                    self.assign(target, self.infer(value, scope), inside)
                self.body(node.body, inside)
            case nodes.FilterBlock():
                self.body(node.body, scope.inner())
                self.known_filter(node.filter)
            case nodes.Include() | nodes.Import() | nodes.FromImport():
                self.other_template(node, scope)
            case _:
                self.infer_all(node.iter_child_nodes(), scope)

    def loop(self, node: nodes.For, scope: Scope) -> None:
        inside = scope.inner(["loop"])
        self.assign(node.target, element_of(self.infer(node.iter, scope)), inside)
        if node.test is not None:
            self.infer(node.test, inside)
        self.body(node.body, inside)
        self.body(node.else_, scope.inner())

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
            case _:  # a namespace's attribute
                pass

    def other_template(
        self, node: nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport, scope: Scope
    ) -> None:
        with_context = isinstance(node, nodes.Extends) or node.with_context
        for name in referenced(node):
            if name not in self.trees.trees:
                continue  # said elsewhere
            walk = _Walk(self.trees, name, self.variables)
            walk.run(scope.inner() if with_context else Scope({}, scope.kept_out))
            self.problems += walk.problems
            exports = exported_names(self.trees.trees[name])
            if isinstance(node, nodes.Import):
                scope.names[node.target] = Exports(exports)
            elif isinstance(node, nodes.FromImport):
                self.imported(node, name, exports, scope)

    def imported(self, node: nodes.FromImport, template: str, exports: frozenset[str], scope: Scope) -> None:
        for item in node.names:
            name, alias = item if isinstance(item, tuple) else (item, item)
            scope.names[alias] = ANYTHING
            if name not in exports:
                self.problem(node, f"{self.trees.files[template]} has no {name!r}; {nearest(name, exports)}")

    # --- expressions -------------------------------------------------------------------------------------------------

    def infer_all(self, expressions: Iterable[nodes.Node], scope: Scope) -> None:
        for expression in expressions:
            self.infer(expression, scope)

    def infer(self, node: nodes.Node, scope: Scope) -> object:
        """The hint of an expression; problems inside it are noted on the way."""
        match node:
            case nodes.Name():
                return self.name(node, scope)
            case nodes.Test(node=nodes.Name(), name="defined" | "undefined"):
                return ANYTHING
            case nodes.Getattr():
                return self.attribute(node, node.attr, self.infer(node.node, scope))
            case nodes.Getitem():
                return self.item(node, scope)
            case nodes.Filter() if node.node is not None:
                return self.filtered(node, scope)
            case nodes.Test():
                if node.name not in self.trees.environment.tests:
                    self.problem(
                        node, f"unknown test {node.name!r}; {nearest(node.name, self.trees.environment.tests)}"
                    )
        self.infer_all(node.iter_child_nodes(), scope)
        return ANYTHING

    def name(self, node: nodes.Name, scope: Scope) -> object:
        if node.name in scope.names:
            return scope.names[node.name]
        if node.name in scope.kept_out:
            message = f"{node.name!r} comes with an event, and the system block is the same for all events"
            self.problem(node, f"{message}; move it into the task block")
        elif node.name not in self.trees.environment.globals and node.name not in self.tested:
            self.problem(node, f"unknown variable {node.name!r}; {nearest(node.name, scope.names.keys() - JINJAS_OWN)}")
        return ANYTHING

    def attribute(self, node: nodes.Getattr | nodes.Getitem, name: str, hint: object) -> object:
        owner = said(node.node)
        if has_members(hint):
            return self.member(node, owner, name, hint)
        if isinstance(hint, GroupOf) and name in ("grouper", "list"):
            return hint.key if name == "grouper" else ListOf(hint.element)
        if isinstance(hint, ListOf) and name not in LIST_ATTRIBUTES:
            advice = f"loop over it, or use {owner} | map(attribute={name!r})"
            self.problem(node, f"{owner} is a list and has no {name!r}; {advice}")
        elif isinstance(hint, Exports) and name not in hint.names:
            self.problem(node, f"{owner} has no {name!r}; {nearest(name, hint.names)}")
        elif isinstance(hint, Text) and name not in TEXT_METHODS:
            self.problem(node, f"{owner} is text from an event and has no {name!r}; {WHAT_TEXTS_CAN}")
        return ANYTHING

    def member(self, node: nodes.Node, owner: str, name: str, hint: object) -> object:
        assert isinstance(hint, type)
        known = members(hint)
        if name in known:
            return settle(known[name])
        self.problem(node, f"{owner} has no {name!r}; {nearest(name, known)}")
        return ANYTHING

    def item(self, node: nodes.Getitem, scope: Scope) -> object:
        hint = self.infer(node.node, scope)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self.attribute(node, node.arg.value, hint)
        self.infer_all([node.arg], scope)
        if isinstance(node.arg, nodes.Slice):
            return hint if isinstance(hint, ListOf) else ANYTHING
        if isinstance(hint, GroupOf) and isinstance(node.arg, nodes.Const):
            return hint.key if node.arg.value == 0 else ListOf(hint.element)
        return element_of(hint)

    def known_filter(self, node: nodes.Filter) -> None:
        if node.name in self.trees.environment.filters:
            return
        if node.name in ELSEWHERE:
            self.problem(node, f"the filter {node.name!r} is for {ELSEWHERE[node.name]} only")
        else:
            self.problem(node, f"unknown filter {node.name!r}; {nearest(node.name, self.trees.environment.filters)}")

    def filtered(self, node: nodes.Filter, scope: Scope) -> object:
        """What a filter makes of its input; an attribute that it names is looked up on the elements."""
        self.known_filter(node)
        assert node.node is not None
        guarded = node.name in ("default", "d") and _unknown(node.node, scope)
        hint = ANYTHING if guarded else self.infer(node.node, scope)
        self.infer_all(node.args, scope)
        self.infer_all((pair.value for pair in node.kwargs), scope)
        path = attribute_argument(node)
        value = element_of(hint)
        for name in path or ():
            if not has_members(value):
                value = ANYTHING
                break
            value = self.member(node, f"an element of {said(node.node)}", name, value)
        if node.name in SAME_VALUE:
            return hint
        if not isinstance(hint, ListOf):
            return ANYTHING
        if node.name in SAME_LIST:
            return hint
        if node.name in ONE_OF_LIST:
            return hint.element
        if node.name == "groupby" and path:
            return ListOf(GroupOf(value, hint.element))
        return ListOf(value) if node.name == "map" and path else ANYTHING


def _unknown(node: nodes.Expr, scope: Scope) -> bool:
    return isinstance(node, nodes.Name) and node.name not in scope.names and node.name not in scope.kept_out
