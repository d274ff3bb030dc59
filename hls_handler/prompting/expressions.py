"""Expressions in templates: how an author would say one, and which names it holds."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

ATTRIBUTE_FIRST = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first argument is an attribute of the elements."""


def targets(arguments: Iterable[nodes.Name]) -> list[str]:
    return [argument.name for argument in arguments]


def attribute_argument(node: nodes.Filter) -> list[str] | None:
    """The attribute that a filter names: `map(attribute='user.login')` -> ["user", "login"]."""
    given = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    if node.name in ATTRIBUTE_FIRST and node.args:
        given.append(node.args[0])
    if given and isinstance(given[0], nodes.Const) and isinstance(given[0].value, str):
        return given[0].value.split(".")
    return None


def said(node: nodes.Node) -> str:
    """An expression as an author would say it: "issue.user"."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{said(node.node)}.{node.attr}"
        case nodes.Getitem():
            return f"{said(node.node)}[...]"
        case nodes.Filter() if node.node is not None:
            return f"{said(node.node)} | {node.name}"
        case _:
            return "this value"
