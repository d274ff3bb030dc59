"""Labels of a reply's fields: the rules of reply types and front matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args, get_origin

LabelRule = str | Mapping[str, str]
"""Label for a field's value: a pattern with {value}, a table of the values that have a label, or
the label for true.
"""

MAX_LABEL_CHARACTERS = 50
"""GitHub's limit for the name of a label, in characters."""

VALUE = "{value}"

VALUES_WITHOUT_LABEL = frozenset({"none", "", "false"})
"""Field values for which a label rule of the form "type: {value}" gives no label."""


def enum_values(hint: object) -> tuple[str, ...]:
    """Return the values of a `Literal`, or of a list of a `Literal`; () for all other types."""
    if get_origin(hint) is list:
        return enum_values(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) is Literal else ()


def possible_values(hint: object) -> tuple[str, ...]:
    """Return all values that a field of type `hint` can have, as strings; () if it is not a boolean
    or an enum.
    """
    return ("true", "false") if hint is bool else enum_values(hint)


def to_rule_values(value: object) -> tuple[str, ...]:
    """Convert a field's value in a reply to the strings that label rules use: True -> ("true",)."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, bool):
        return (str(value).lower(),)
    return (str(value),)


def find_label(rule: LabelRule, value: str) -> str | None:
    """Return the label of a value: "type: bug" for ("type: {value}", "bug"). None if the rule gives
    no label.
    """
    if not isinstance(rule, str):
        return rule.get(value)
    if value in VALUES_WITHOUT_LABEL:
        return None
    return rule.replace(VALUE, value)


def group_of(field: str, hint: object, label: str) -> str:
    """Return the name of a label's group. A conversation has at most one label of a group.

    All labels of a field form one group: "kind". If the field is a list, each label is its own
    group: "areas docs".
    """
    return f"{field} {label}" if get_origin(hint) is list else field


def list_possible_labels(rule: LabelRule, hint: object) -> tuple[str, ...]:
    labels = (find_label(rule, value) for value in possible_values(hint))
    return tuple(dict.fromkeys(label for label in labels if label is not None))
