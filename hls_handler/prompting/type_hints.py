"""Type hints of template variables: the attributes that a template may read, and sample values of a type."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

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


SAMPLE_TEXT = "some *text*, with a | bar and a\nsecond line"


def sample_values(hint: object) -> tuple[Any, ...]:
    """Return two values of a type: a full one, and a minimal one (empty, None, False).

    For a pydantic model, a value for each other choice of each `Literal` field follows, so that all branches of
    `{% if analysis.kind == ... %}` are rendered.
    """
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return (_full(hint), _minimal(hint), *_variants(hint))
    return (_full(hint), _minimal(hint))


def _variants(model: type[BaseModel]) -> list[BaseModel]:
    full = _full(model)
    return [
        full.model_copy(update={name: value})
        for name, hint in members(model).items()
        if get_origin(hint) is Literal
        for value in get_args(hint)[1:]
    ]


def _full(hint: object) -> Any:
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _full(next(arm for arm in arms if arm is not NoneType))
    return _build(hint, origin, arms, full=True)


def _minimal(hint: object) -> Any:
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if NoneType in arms else _minimal(arms[0])
    return _build(hint, origin, arms, full=False)


def _build(hint: object, origin: object, arms: tuple[Any, ...], *, full: bool) -> Any:
    build_part = _full if full else _minimal
    if origin is Annotated:
        return build_part(arms[0])
    if origin is Literal:
        return arms[0] if full else arms[-1]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if isinstance(origin, type) and issubclass(origin, Collection):
        return [_full(arms[0]), _full(arms[0])] if full else []
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel)):
        return _instance(hint, build_part)
    return _scalar(hint, full=full)


def _instance(cls: type, build_part: Any) -> Any:
    hints = members(cls)
    if issubclass(cls, BaseModel):
        return cls.model_construct(**{name: build_part(hint) for name, hint in hints.items()})
    assert is_dataclass(cls)
    return cls(**{field.name: build_part(hints[field.name]) for field in fields(cls)})


def _scalar(hint: object, *, full: bool) -> Any:
    if hint is bool:
        return full
    if hint is int:
        return 7 if full else 0
    if hint is float:
        return 0.8 if full else 0.0
    return SAMPLE_TEXT if full else ""
