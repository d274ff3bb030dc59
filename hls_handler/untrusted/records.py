"""What templates see of mappings, dataclasses and models: the same names, each value admitted when it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache, cached_property
from inspect import getattr_static
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

Admit = Callable[[object, frozenset[str]], object]
"""Takes a value and the strings that are our own in its place (those of a `Literal`)."""

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
NONE_OF_OURS: frozenset[str] = frozenset()


class AdmittedMapping(Mapping[object, object]):
    """A mapping whose values are admitted when they are read. Keys that are plain identifiers stay as they are."""

    __slots__ = ("_admit", "_admitted")

    def __init__(self, mapping: Mapping[object, object], admit: Admit) -> None:
        self._admitted = mapping
        self._admit = admit

    def __getitem__(self, key: object) -> object:
        return self._admit(self._admitted[key], NONE_OF_OURS)

    def __iter__(self) -> Iterator[object]:
        for key in self._admitted:
            yield key if isinstance(key, str) and PLAIN_KEY.fullmatch(key) else self._admit(key, NONE_OF_OURS)

    def __len__(self) -> int:
        return len(self._admitted)

    def __repr__(self) -> str:
        return repr(dict(self))


class AdmittedRecord:
    """A dataclass or a model: its public fields and properties, admitted when they are read. It has no methods."""

    __slots__ = ("_admit", "_admitted")

    def __init__(self, record: Any, admit: Admit) -> None:
        self._admitted = record
        self._admit = admit

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        kind: Any = type(self._admitted)
        ours = shape(kind).get(name)
        if ours is None:
            raise AttributeError(f"{kind.__name__} has no {name}")
        return self._admit(getattr(self._admitted, name), ours)

    def __eq__(self, other: object) -> bool:
        return bool(self._admitted == (other._admitted if isinstance(other, AdmittedRecord) else other))

    def __hash__(self) -> int:
        return hash(self._admitted)

    def __repr__(self) -> str:
        kind: Any = type(self._admitted)
        return f"{kind.__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shape(kind))})"


def is_record(value: object) -> bool:
    return isinstance(value, BaseModel) or hasattr(type(value), "__dataclass_fields__")


@cache
def shape(kind: type[Any]) -> Mapping[str, frozenset[str]]:
    """The public fields and properties of a dataclass or model, each with the strings that its `Literal` allows."""
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
    return {name: literals(hint) for name, hint in hints.items() if not name.startswith("_")}


def literals(hint: object) -> frozenset[str]:
    """The strings of a `Literal`, also inside of `X | None`, tuples and lists. Other annotations have none."""
    if get_origin(hint) is Literal:
        return frozenset(value for value in get_args(hint) if isinstance(value, str))
    if _is_mapping(get_origin(hint)):
        return NONE_OF_OURS
    return frozenset().union(*(literals(part) for part in get_args(hint)))


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _hints(annotated: object) -> dict[str, object]:
    try:
        return get_type_hints(annotated)
    except NameError as exc:
        raise TypeError(f"{annotated!r} has an annotation that cannot be resolved: {exc}") from exc
