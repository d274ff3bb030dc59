"""Wrappers for mappings, dataclasses and models in templates: same names, values converted when they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache, cached_property
from inspect import getattr_static
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

Convert = Callable[[object, frozenset[str]], object]
"""Function that converts a value; its second argument are the strings that are trusted there, from a `Literal`."""

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
NOTHING_TRUSTED: frozenset[str] = frozenset()


class WrappedMapping(Mapping[object, object]):
    """Mapping whose values are converted when they are read. Keys that are plain identifiers are unchanged."""

    __slots__ = ("_convert", "_wrapped")

    def __init__(self, mapping: Mapping[object, object], convert: Convert) -> None:
        self._wrapped = mapping
        self._convert = convert

    def __getitem__(self, key: object) -> object:
        return self._convert(self._wrapped[key], NOTHING_TRUSTED)

    def __iter__(self) -> Iterator[object]:
        for key in self._wrapped:
            yield key if isinstance(key, str) and PLAIN_KEY.fullmatch(key) else self._convert(key, NOTHING_TRUSTED)

    def __len__(self) -> int:
        return len(self._wrapped)

    def __repr__(self) -> str:
        return repr(dict(self))


class WrappedRecord:
    """Dataclass or model with its public fields and properties, converted when they are read, without methods."""

    __slots__ = ("_convert", "_wrapped")

    def __init__(self, record: Any, convert: Convert) -> None:
        self._wrapped = record
        self._convert = convert

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        kind: Any = type(self._wrapped)
        trusted = public_fields(kind).get(name)
        if trusted is None:
            raise AttributeError(f"{kind.__name__} has no {name}")
        return self._convert(getattr(self._wrapped, name), trusted)

    def __eq__(self, other: object) -> bool:
        return bool(self._wrapped == (other._wrapped if isinstance(other, WrappedRecord) else other))

    def __hash__(self) -> int:
        return hash(self._wrapped)

    def __repr__(self) -> str:
        kind: Any = type(self._wrapped)
        return f"{kind.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in public_fields(kind))})"


def is_record(value: object) -> bool:
    return isinstance(value, BaseModel) or hasattr(type(value), "__dataclass_fields__")


@cache
def public_fields(kind: type[Any]) -> Mapping[str, frozenset[str]]:
    """Public fields and properties of a dataclass or model, each with the strings that its `Literal` allows."""
    hints: dict[str, object] = {}
    if issubclass(kind, BaseModel):
        hints |= {name: field.annotation for name, field in kind.model_fields.items()}
    else:
        resolved = _hints(kind)
        hints |= {field.name: resolved[field.name] for field in fields(kind)}
    for name in dir(kind):
        member = getattr_static(kind, name, None)
        if isinstance(member, cached_property):
            hints[name] = _hints(member.func).get("return")
        elif isinstance(member, property) and not hasattr(BaseModel, name):
            hints[name] = _hints(member.fget).get("return")
    return {name: literal_strings(hint) for name, hint in hints.items() if not name.startswith("_")}


def literal_strings(hint: object) -> frozenset[str]:
    """Strings of a `Literal`, also inside `X | None`, tuples and lists; other annotations have none."""
    if get_origin(hint) is Literal:
        return frozenset(value for value in get_args(hint) if isinstance(value, str))
    if _is_mapping(get_origin(hint)):
        return NOTHING_TRUSTED
    return frozenset().union(*(literal_strings(part) for part in get_args(hint)))


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _hints(annotated: object) -> dict[str, object]:
    try:
        return get_type_hints(annotated)
    except NameError as exc:
        raise TypeError(f"{annotated!r} has an annotation that cannot be resolved: {exc}") from exc
