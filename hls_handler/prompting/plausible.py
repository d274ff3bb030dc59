"""Plausible values of a type, for trying templates out before Claude has said anything: a full one and a bare one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hls_handler.prompting.hints import members

WORDS = "some *text*, with a | bar and a\nsecond line"


def plausible(hint: object) -> tuple[Any, ...]:
    """Two values of a type: one with everything in it, one with everything left out that can be.

    A closed set adds one for each of its values, so that `{% if analysis.kind == ... %}` is tried on all branches.
    """
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return (_full(hint), _bare(hint), *_variants(hint))
    return (_full(hint), _bare(hint))


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


def _bare(hint: object) -> Any:
    origin, arms = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if NoneType in arms else _bare(arms[0])
    return _build(hint, origin, arms, full=False)


def _build(hint: object, origin: object, arms: tuple[Any, ...], *, full: bool) -> Any:
    one = _full if full else _bare
    if origin is Annotated:
        return one(arms[0])
    if origin is Literal:
        return arms[0] if full else arms[-1]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if isinstance(origin, type) and issubclass(origin, Collection):
        return [_full(arms[0]), _full(arms[0])] if full else []
    if isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel)):
        return _instance(hint, one)
    return _plain(hint, full=full)


def _instance(cls: type, one: Any) -> Any:
    hints = members(cls)
    if issubclass(cls, BaseModel):
        return cls.model_construct(**{name: one(hint) for name, hint in hints.items()})
    assert is_dataclass(cls)
    return cls(**{field.name: one(hints[field.name]) for field in fields(cls)})


def _plain(hint: object, *, full: bool) -> Any:
    if hint is bool:
        return full
    if hint is int:
        return 7 if full else 0
    if hint is float:
        return 0.8 if full else 0.0
    return WORDS if full else ""
