"""Reference table of all settings keys, derived from the model: meaning, expected value and default."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from hls_handler.settings.model import Expected, Settings

REQUIRED, UNSET = "required", "unset"

_UNITS = (
    (re.compile(r"_s$|seconds_between"), "of seconds"),
    (re.compile(r"_h$"), "of hours"),
    (re.compile(r"_bytes$"), "of bytes"),
    (re.compile(r"_tokens$"), "of tokens"),
    (re.compile(r"_per_second$"), "a second"),
    (re.compile(r"_per_hour$"), "an hour"),
)


@dataclass(frozen=True, slots=True)
class Key:
    path: str  # "limits.concurrency"; in list items "repositories[].name"; for map values "prompts.use.*"
    kind: Literal["section", "key", "item"]
    meaning: str
    expected: str  # "a whole number from 1 to 200"
    default: str  # as in YAML: "4"; or "required", "unset"
    secret: bool


class Reference:
    """The table, with lookup by concrete paths such as "repositories[0].events[2]"."""

    def __init__(self, model: type[BaseModel] = Settings) -> None:
        self.rows = tuple(_iter_rows(model, ""))
        self._by_path = {row.path: row for row in self.rows}

    @property
    def keys(self) -> tuple[Key, ...]:
        """Rows of the keys that take a value, without sections and list items."""
        return tuple(row for row in self.rows if row.kind == "key")

    def find(self, path: str) -> Key | None:
        general = re.sub(r"\[\d+\]", "[]", path)
        if general in self._by_path:
            return self._by_path[general]
        maps = (row for row in self.rows if row.path.endswith(".*") and general.startswith(row.path[:-1]))
        return next(maps, None)

    def names_in(self, section: str) -> tuple[str, ...]:
        """Names of the keys of a section, given by its concrete path; "" is the whole file."""
        general = re.sub(r"\[\d+\]", "[]", section)
        prefix = f"{general}." if general else ""
        names = (row.path.removeprefix(prefix) for row in self.rows if row.path.startswith(prefix))
        return tuple(name for name in names if name.isidentifier())


def _iter_rows(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        kinds = _alternatives(info.annotation)
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        item = next((get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple), None)
        if section is not None:
            yield _build_row(path, "section", info, _describe_section(section))
            yield from _iter_rows(section, f"{path}.")
        elif isinstance(item, type) and issubclass(item, BaseModel):
            yield _build_row(path, "section", info, f"a list with at least one entry, each {_describe_section(item)}")
            yield Key(f"{path}[]", "item", "", _describe_section(item), REQUIRED, secret=False)
            yield from _iter_rows(item, f"{path}[].")
        else:
            yield _build_row(path, "key", info, _describe_value(name, info.annotation, info.metadata))
            if item is not None:
                yield Key(f"{path}[]", "item", "", _describe_value("", item, ()), REQUIRED, item is SecretStr)
            if kinds and get_origin(kinds[0]) in (Mapping, dict):
                yield Key(
                    f"{path}.*", "item", "", _describe_value("", get_args(kinds[0])[1], ()), REQUIRED, secret=False
                )


def _build_row(path: str, kind: Literal["section", "key"], info: FieldInfo, expected: str) -> Key:
    secret = any(part is SecretStr for part in _alternatives(info.annotation))
    return Key(path, kind, info.description or "", expected, _default_text(info), secret)


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return REQUIRED
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return UNSET
    if isinstance(value, str | Path):
        return str(value)
    return to_json(value).decode() if not isinstance(value, BaseModel) else UNSET


def _describe_section(section: type[BaseModel]) -> str:
    required = [name for name, info in section.model_fields.items() if info.is_required()]
    return f"a section with {' and '.join(required)}" if required else "a section of keys"


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Members of a union without None; any other annotation as the only member."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for part in get_args(annotation) if part is not type(None))
    return (annotation,)


def _describe_value(name: str, annotation: Any, metadata: Sequence[object]) -> str:
    """Describe the expected value: "a number of seconds above 0, at most 60"."""
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*metadata, *inner]
    named = next((part.words for part in metadata if isinstance(part, Expected)), None)
    if named is not None:
        return named
    kinds = _alternatives(annotation)
    return " or ".join(
        _describe_value(name, kind, ()) if get_origin(kind) is Annotated else _describe_kind(name, kind, metadata)
        for kind in kinds
    )


def _describe_kind(name: str, kind: Any, metadata: Sequence[object]) -> str:
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        unit = next((f" {words}" for pattern, words in _UNITS if pattern.search(name)), "")
        return f"{'a whole number' if kind is int else 'a number'}{unit}{_describe_bounds(metadata)}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(kind))}"
    if get_origin(kind) is tuple:
        items = "paths" if get_args(kind)[0] is Path else "texts"
        return f"a list of {items}" + (", at least one" if any(isinstance(part, MinLen) for part in metadata) else "")
    if get_origin(kind) in (Mapping, dict):
        return f"a map of names, each to {_describe_value('', get_args(kind)[1], ())}"
    return "a path" if kind is Path else "text"


def _describe_bounds(metadata: Sequence[object]) -> str:
    """Describe the bounds of a number. All bounded numbers have both bounds."""
    low = next((part.ge for part in metadata if isinstance(part, Ge)), None)
    above = next((part.gt for part in metadata if isinstance(part, Gt)), None)
    high = next((part.le for part in metadata if isinstance(part, Le)), None)
    if low is not None:
        return f" from {low} to {high}"
    return f" above {above}, at most {high}" if above is not None else ""
