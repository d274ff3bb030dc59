"""Attributes that a template may read from a typed variable, found through type hints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

ANYTHING: object = Any
"""Hint of values that are checked only by rendering: the payload, results of filters, macro parameters."""

LIST_ATTRIBUTES = frozenset({"index", "count"})
TEXT_OPERATIONS = "it can be shown, compared and measured, joined with ~, and cut with excerpt(n) or lines(a, b)"
TEXT_METHODS = frozenset({"excerpt", "lines", "startswith", "endswith"})


@dataclass(frozen=True, slots=True)
class ListOf:
    """Hint of a list, tuple or set."""

    element: object


@dataclass(frozen=True, slots=True)
class GroupOf:
    """Hint of one group returned by the filter `groupby`: a key and the elements with that key."""

    key: object
    element: object


@dataclass(frozen=True, slots=True)
class Exports:
    """Hint of an imported template: the names that it exports."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Text:
    """Hint of a string that comes with an event or from Claude."""


@cache
def members(cls: type) -> Mapping[str, object]:
    """Return the public fields and properties of a dataclass or pydantic model, with their hints."""
    if issubclass(cls, BaseModel):
        hints = get_type_hints(cls)
        return {name: hints[name] for name in cls.model_fields}
    hints = get_type_hints(cls)
    found = {field.name: hints[field.name] for field in fields(cls)} if is_dataclass(cls) else {}
    for name in dir(cls):
        attribute = getattr(cls, name)
        if isinstance(attribute, property) and attribute.fget is not None and not name.startswith("_"):
            found[name] = get_type_hints(attribute.fget).get("return", ANYTHING)
    return found


def has_members(hint: object) -> bool:
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel))


def normalize_hint(hint: object) -> object:
    """Reduce a hint to a form that is checked: a class with members, `ListOf` or `Text`; others stay as they are."""
    origin = get_origin(hint)
    if origin is Annotated:
        return normalize_hint(get_args(hint)[0])
    if origin in (Union, UnionType):
        kinds = {normalize_hint(arm) for arm in get_args(hint) if arm is not NoneType}
        return kinds.pop() if len(kinds) == 1 else ANYTHING
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        return ListOf(normalize_hint(get_args(hint)[0]))
    return Text() if hint is str else hint


def element_hint(hint: object) -> object:
    """Return the hint of the elements of a collection."""
    return hint.element if isinstance(hint, ListOf | GroupOf) else ANYTHING
