"""Table of all keys of a settings file, and sentences about invalid values. No sentence contains a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from hls_handler.settings.model import Settings
from hls_handler.settings.values import IS_EMPTY, PROBLEM, Expected

REQUIRED, UNSET = "required", "unset"

_UNITS = (
    (re.compile(r"_s$|seconds_between"), "of seconds"),
    (re.compile(r"_h$"), "of hours"),
    (re.compile(r"^max_usd"), "of US dollars"),
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
    """One `Key` for each section and each key of a settings model. All items of a list or map share one `Key`."""

    def __init__(self, model: type[BaseModel] = Settings) -> None:
        self.rows = tuple(_iter_rows(model, ""))
        self._by_path = {row.path: row for row in self.rows}

    @property
    def keys(self) -> tuple[Key, ...]:
        """One `Key` for each setting, such as "server.port". Sections and list items are left out."""
        return tuple(row for row in self.rows if row.kind == "key")

    def find(self, path: str) -> Key | None:
        """Return the `Key` of a path such as "repositories[0].events[2]"; None if there is no such key."""
        general = re.sub(r"\[\d+\]", "[]", path)
        if general in self._by_path:
            return self._by_path[general]
        maps = (row for row in self.rows if row.path.endswith(".*") and general.startswith(row.path[:-1]))
        return next(maps, None)

    def names_in(self, section: str) -> tuple[str, ...]:
        """Return the names of the keys in `section`: "repositories[0]" -> ("name", ...). "" is the whole file."""
        general = re.sub(r"\[\d+\]", "[]", section)
        prefix = f"{general}." if general else ""
        names = (row.path.removeprefix(prefix) for row in self.rows if row.path.startswith(prefix))
        return tuple(name for name in names if name.isidentifier())


def _iter_rows(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        kinds = _types_without_none(info.annotation)
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        item = next((get_args(kind)[0] for kind in map(_plain, kinds) if get_origin(kind) is tuple), None)
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
                yield Key(f"{path}[]", "item", "", _describe_value("", item, ()), REQUIRED, _plain(item) is SecretStr)
            if get_origin(kinds[0]) in (Mapping, dict):
                item = get_args(kinds[0])[1]
                expected = _describe_value("", item, ())
                yield Key(f"{path}.*", "item", "", expected, REQUIRED, secret=_plain(item) is SecretStr)


def _build_row(path: str, kind: Literal["section", "key"], info: FieldInfo, expected: str) -> Key:
    kinds = [_plain(part) for part in _types_without_none(info.annotation)]
    secret = any(kind is SecretStr or any(_plain(item) is SecretStr for item in get_args(kind)) for kind in kinds)
    return Key(path, kind, info.description or "", expected, _default_text(info), secret)


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return REQUIRED
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel):
        return UNSET
    return str(value) if isinstance(value, str | Path) else to_json(value).decode()


def _describe_section(section: type[BaseModel]) -> str:
    required = [name for name, info in section.model_fields.items() if info.is_required()]
    return f"a section with {' and '.join(required)}" if required else "a section of keys"


def _types_without_none(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, UnionType):
        return tuple(part for part in get_args(annotation) if part is not type(None))
    return (annotation,)


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _describe_value(name: str, annotation: Any, metadata: Sequence[object]) -> str:
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [*metadata, *inner]
    named = next((part.words for part in metadata if isinstance(part, Expected)), None)
    if named is not None:
        return named
    return " or ".join(
        _describe_value(name, kind, metadata) if get_origin(kind) is Annotated else _describe_kind(name, kind, metadata)
        for kind in _types_without_none(annotation)
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
    # no key has only one bound
    high = next((part.le for part in metadata if isinstance(part, Le)), None)
    for part in metadata:
        if isinstance(part, Ge):
            return f" from {part.ge} to {high}"
        if isinstance(part, Gt):
            return f" above {part.gt}, at most {high}"
    return ""


def explain(error: ValidationError, root: object, variables: Mapping[str, str], reference: Reference) -> dict[str, str]:
    """Convert pydantic's errors to {key path: sentence}: {"features.bots": 'found "many", expected true or false'}.

    `root` is the parsed file. `variables` is {"github.token": "GITHUB_TOKEN"} if the file has `token: ${GITHUB_TOKEN}`.
    Sentences do not quote values of variables, because these values may be secret.
    """
    sentences: dict[str, str] = {}
    rejected: dict[str, str] = {}
    for found in error.errors(include_url=False, include_input=False):
        path, value = _locate(root, found["loc"], found["type"])
        if found["type"] == PROBLEM:
            is_optional_secret = found["msg"] == IS_EMPTY and (key := reference.find(path)) and key.default == UNSET
            is_optional_secret = is_optional_secret and not path.startswith("github.")  # one of them is required
            rejected[path] = found["msg"] + ("; remove the key instead" if is_optional_secret else "")
        elif found["type"] == "extra_forbidden":
            name = str(found["loc"][-1])
            section = path[: -len(name)].rstrip(".")  # the name may contain dots
            sentences[path] = unknown_key(section, name, reference)
        elif found["type"] == "missing":
            sentences[path] = f"is missing; expected {_describe_expected(path, reference)}"
        else:
            sentences[path] = _describe_wrong_value(path, value, variables, reference)
    paths = [*sentences, *rejected]  # `webhook_secret[1]` is more precise than `webhook_secret`
    parents = {path for path in paths if any(other.startswith((f"{path}.", f"{path}[")) for other in paths)}
    return {path: text for path, text in sentences.items() if path not in parents} | rejected


def _locate(root: object, steps: Sequence[str | int], kind: str) -> tuple[str, object]:
    path, value = "", root
    for position, step in enumerate(steps):  # skips the names of types, which pydantic adds for several types
        missing_here = kind == "missing" and position == len(steps) - 1
        if missing_here or (isinstance(value, dict) and step in value):
            path = f"{path}.{step}" if path else str(step)
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path, value = f"{path}[{step}]", value[step]
    return path, value


def _describe_expected(path: str, reference: Reference) -> str:
    key = reference.find(path)
    return key.expected if key else "something else"


def _describe_wrong_value(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    expected = _describe_expected(path, reference)
    if value is None:
        return f"has no value, expected {expected}; remove the key to take the default"
    needs_quotes = expected.startswith("text") and isinstance(value, bool | int | float)
    quotes = "; put the value in quotes" if needs_quotes else ""
    return f"found {_describe_found(path, value, variables, reference)}, expected {expected}{quotes}"


def _describe_found(path: str, value: object, variables: Mapping[str, str], reference: Reference) -> str:
    key = reference.find(path)
    if isinstance(value, dict | list):
        kind = "map" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    if path in variables:
        return f"the value of the variable {variables[path]}"
    if key is None or key.secret or key.kind == "section":  # the text may be secret
        return "text" if isinstance(value, str) else "a value of another kind"
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= 60 else f"{written[:57]}..."


def unknown_key(section: str, name: str, reference: Reference) -> str:
    """Return a sentence such as "unknown key; did you mean server.port?" about the key `name` of a section."""
    if reference.find(name) and "." in name:
        return f"unknown key; write it as {name.rpartition('.')[2]} inside the section {name.rpartition('.')[0]}"
    siblings = {known: f"{section}.{known}" if section else known for known in reference.names_in(section)}
    elsewhere = [key.path.rpartition(".")[0] for key in reference.keys if key.path.rpartition(".")[2] == name]
    if elsewhere:
        return f"unknown key; {name} belongs under {' or '.join(elsewhere)}"
    everywhere = {row.path.rpartition(".")[2]: row.path for row in reversed(reference.rows)} | siblings
    near = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {everywhere[near[0]]}?"
    return f"unknown key; {section or 'the file'} has {', '.join(siblings)}"
