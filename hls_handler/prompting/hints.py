"""What a template may ask of a typed variable: the names on it and what they are, read from its type hints."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

ANYTHING: object = Any
"""The hint of what is not checked before rendering: the payload, results of filters, macro parameters."""

LIST_ATTRIBUTES = frozenset({"index", "count"})
WHAT_TEXTS_CAN = "it can be shown, compared and measured, joined with ~, and cut with excerpt(n) or lines(a, b)"
TEXT_METHODS = frozenset({"excerpt", "lines", "startswith", "endswith"})


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, tuple or set of one kind of thing."""

    element: object


@dataclass(frozen=True, slots=True)
class GroupOf:
    """One group that the filter `groupby` makes: a key and the things that share it."""

    key: object
    element: object


@dataclass(frozen=True, slots=True)
class Exports:
    """What an imported template offers."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Text:
    """A string that comes with an event or from Claude."""


@cache
def members(cls: type) -> Mapping[str, object]:
    """The public fields and properties of a dataclass or a model, with their hints."""
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


def settle(hint: object) -> object:
    """A hint in the few forms that are checked: a class with members, `ListOf`, `Text`, or itself."""
    origin = get_origin(hint)
    if origin is Annotated:
        return settle(get_args(hint)[0])
    if origin in (Union, UnionType):
        kinds = {settle(arm) for arm in get_args(hint) if arm is not NoneType}
        return kinds.pop() if len(kinds) == 1 else ANYTHING
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        return ListOf(settle(get_args(hint)[0]))
    return Text() if hint is str else hint


def element_of(hint: object) -> object:
    """What a loop over it runs through."""
    return hint.element if isinstance(hint, ListOf | GroupOf) else ANYTHING
