"""Sample values of a type, for rendering templates without a reply of Claude."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from hls_handler.prompting.hints import members

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
