"""Functions that read names and attributes from the expressions of a template's syntax tree."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

ATTRIBUTE_FILTERS = frozenset({"selectattr", "rejectattr", "groupby"})
"""Filters whose first positional argument is an attribute of the elements."""


def argument_names(arguments: Iterable[nodes.Name]) -> list[str]:
    return [argument.name for argument in arguments]


def attribute_path(node: nodes.Filter) -> list[str] | None:
    """Return the attribute that a filter reads: `map(attribute='user.login')` -> ["user", "login"]."""
    given = [pair.value for pair in node.kwargs if pair.key == "attribute"]
    if node.name in ATTRIBUTE_FILTERS and node.args:
        given.append(node.args[0])
    if given and isinstance(given[0], nodes.Const) and isinstance(given[0].value, str):
        return given[0].value.split(".")
    return None


def describe(node: nodes.Node) -> str:
    """Return an expression as shown in error messages: "issue.user"."""
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
