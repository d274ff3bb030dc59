"""Reply types of prompts: a shipped type, extended by the `fields` and `labels` of a prompt's front matter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, cast, get_origin

from pydantic import ConfigDict, Field, create_model

from hls_handler.analysis import REPLY_TYPES, LabelRule, Reply
from hls_handler.prompting.frontmatter import FieldKeys, FrontMatter, KeyLines
from hls_handler.prompting.labels import enum_values, resolve_label_rules
from hls_handler.prompting.problems import Problem, suggest_name
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact

FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

FIELD_TYPES: Mapping[str, Any] = {
    "string": Annotated[str, Field(max_length=4000)],
    "integer": int,
    "number": Annotated[float, Field(allow_inf_nan=False)],
    "boolean": bool,
    "list": Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=20)],
}
"""Types of additional fields. The limits guard against faulty replies of Claude and cannot be configured."""

FrozenLabelRules = tuple[tuple[str, str | tuple[tuple[str, str], ...]], ...]


def build_reply_model(front: FrontMatter, lines: KeyLines) -> tuple[type[Reply] | None, list[Problem]]:
    """Return a prompt's reply type, a subclass of the type that `reply` names, and the problems of its definition.

    The type is None if `reply` or `fields` are invalid. Equal front matters give the same type.
    """
    base = REPLY_TYPES.get(front.reply)
    if base is None:
        return None, []
    problems = [
        lines.problem(("fields", name, *key), f"fields.{'.'.join((name, *key))}: {message}")
        for name, keys in front.fields.items()
        for key, message in _field_problems(base, front.reply, name, keys)
    ]
    if problems:
        return None, problems
    fields = tuple(front.fields.items())
    rules, problems = resolve_label_rules(_derive_model(base, fields, _freeze(base.label_rules)), front, lines)
    return _derive_model(base, fields, _freeze(rules)), problems


def complete_static_reply(reply: Reply, model: type[Reply]) -> Reply:
    """Convert a static reply (given without asking Claude) to a prompt's reply type; additional fields are empty."""
    if not issubclass(model, type(reply)):
        return reply
    shipped = type(reply).model_fields
    empty: dict[str, Any] = {
        name: _empty_value(field.annotation) for name, field in model.model_fields.items() if name not in shipped
    }
    return model.model_construct(**dict(reply), **empty)


@cache
def permissive_reply_model(base: type[Reply]) -> type[Reply]:
    """Return a variant of a reply type that accepts any value in its enums, and any additional field.

    It reads replies of every prompt whose type is derived from `base`.
    """
    any_values: dict[str, Any] = {
        name: (list[str] if get_origin(field.annotation) is list else str, ...)
        for name, field in base.model_fields.items()
        if enum_values(field.annotation)
    }
    extra = ConfigDict(extra="allow")
    return create_model(base.__name__, __base__=base, __config__=extra, __module__=base.__module__, **any_values)


def _field_problems(base: type[Reply], reply: str, name: str, keys: FieldKeys) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the problems of one field as (key path below the field, message)."""
    if name in base.model_fields:
        yield from _changed_enum_problems(base, reply, name, keys)
    elif FIELD_NAME.fullmatch(name) is None:
        yield (), "is not a valid field name; use a letter, then letters, digits and _, at most 40 characters"
    elif hasattr(base, name):
        yield (), "is a reserved name; choose another"
    elif keys.type is None and keys.enum is None:
        yield (), f"has no type; {suggest_name('', FIELD_TYPES)}"
    elif keys.enum is not None and keys.type not in (None, "string", "list"):
        yield ("enum",), f"is allowed for string and list only; the type is {keys.type}"
    if keys.enum is not None:
        yield from ((("enum",), message) for message in _enum_problems(keys.enum))


def _changed_enum_problems(
    base: type[Reply], reply: str, name: str, keys: FieldKeys
) -> Iterator[tuple[tuple[str, ...], str]]:
    annotation = base.model_fields[name].annotation
    changeable = sorted(other for other, field in base.model_fields.items() if enum_values(field.annotation))
    if not enum_values(annotation):
        others = f"only the values of {', '.join(changeable)} can be changed" if changeable else "none can be changed"
        yield (), f"is already a field of {reply}; {others}; choose another name"
        return
    if keys.enum is None:
        yield (), f"is already a field of {reply}; add enum with its new values"
    shipped_type = "list" if get_origin(annotation) is list else "string"
    if keys.type not in (None, shipped_type):
        yield ("type",), f"is {shipped_type} in {reply} and cannot be changed"


def _enum_problems(values: tuple[str, ...]) -> Iterator[str]:
    if not 2 <= len(values) <= 100:
        yield f"has {len(values)} values; 2 to 100 are allowed"
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{value!r} is listed twice"
        if "\n" in value or value != value.strip() or clean(CodeText(value)) != value:
            yield f"{value!r} has a line break, a leading or trailing space, or an invisible character"
        elif redact(value) != value:
            yield "a value looks like a credential, and credentials are redacted in replies"


@cache
def _derive_model(base: type[Reply], fields: tuple[tuple[str, FieldKeys], ...], rules: FrozenLabelRules) -> type[Reply]:
    """Create the subclass. Cached, because Python keeps types for the life of the process, also after a reload."""
    label_rules = {field: rule if isinstance(rule, str) else dict(rule) for field, rule in rules}
    if not fields and label_rules == base.label_rules:
        return base
    definitions: dict[str, Any] = {name: _field_definition(base, name, keys) for name, keys in fields}
    model = create_model(base.__name__, __base__=base, __doc__=base.__doc__, __module__=base.__module__, **definitions)
    model.label_rules = label_rules
    return model


def _field_definition(base: type[Reply], name: str, keys: FieldKeys) -> tuple[Any, Any]:
    shipped = base.model_fields.get(name)
    is_list = keys.type == "list" or (shipped is not None and get_origin(shipped.annotation) is list)
    annotation = FIELD_TYPES[keys.type or "string"]
    if keys.enum is not None:
        literal = cast("Any", Literal)[keys.enum]
        annotation = Annotated[cast("Any", list)[literal], Field(max_length=len(keys.enum))] if is_list else literal
    return annotation, Field(description=keys.description or (shipped.description if shipped is not None else None))


def _empty_value(annotation: object) -> object:
    empty: Mapping[object, object] = {bool: False, int: 0, float: 0.0}
    return [] if get_origin(annotation) is list else empty.get(annotation, "")


def _freeze(rules: Mapping[str, LabelRule]) -> FrozenLabelRules:
    return tuple((field, rule if isinstance(rule, str) else tuple(rule.items())) for field, rule in rules.items())
