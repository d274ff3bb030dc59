"""A prompt's reply type: a named one, with the fields that its front matter adds and the values that it changes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, cast, get_origin

from pydantic import ConfigDict, Field, create_model

from hls_handler.analysis import REPLY_TYPES, LabelRule, Reply
from hls_handler.prompting.frontmatter import FieldKeys, FrontMatter, Lines
from hls_handler.prompting.labels import enum_of, label_rules
from hls_handler.prompting.problems import Problem, nearest
from hls_handler.untrusted.cleaning import Code, clean
from hls_handler.untrusted.redaction import redact

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

TYPES: Mapping[str, Any] = {
    "string": Annotated[str, Field(max_length=4000)],
    "integer": int,
    "number": Annotated[float, Field(allow_inf_nan=False)],
    "boolean": bool,
    "list": Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=20)],
}
"""What an author's own field may be. The bounds are for slips of Claude's: no author has asked for others."""

FrozenRules = tuple[tuple[str, str | tuple[tuple[str, str], ...]], ...]


def reply_model(front: FrontMatter, lines: Lines) -> tuple[type[Reply] | None, list[Problem]]:
    """The type of a prompt's replies, a subclass of the one that `reply` names, and what is wrong with it.

    None if the reply or its fields cannot be used. Equal front matters give the same type.
    """
    base = REPLY_TYPES.get(front.reply)
    if base is None:
        return None, []
    problems = [
        lines.problem(("fields", name, *key), f"fields.{'.'.join((name, *key))}: {message}")
        for name, keys in front.fields.items()
        for key, message in _problems(base, front.reply, name, keys)
    ]
    if problems:
        return None, problems
    fields = tuple(front.fields.items())
    rules, problems = label_rules(_derived(base, fields, _frozen(base.label_rules)), front, lines)
    return _derived(base, fields, _frozen(rules)), problems


def unasked_reply(reply: Reply, model: type[Reply]) -> Reply:
    """A reply of ours, given where nobody was asked, as one of a prompt's type: the author's own fields are empty."""
    if not issubclass(model, type(reply)):
        return reply
    own = type(reply).model_fields
    empty: dict[str, Any] = {
        name: _empty(field.annotation) for name, field in model.model_fields.items() if name not in own
    }
    return model.model_construct(**dict(reply), **empty)


@cache
def any_version(base: type[Reply]) -> type[Reply]:
    """What all prompts' versions of a reply type have in common: any values in its closed sets, and any more fields."""
    opened: dict[str, Any] = {
        name: (list[str] if get_origin(field.annotation) is list else str, ...)
        for name, field in base.model_fields.items()
        if enum_of(field.annotation)
    }
    extra = ConfigDict(extra="allow")
    return create_model(base.__name__, __base__=base, __config__=extra, __module__=base.__module__, **opened)


def _problems(base: type[Reply], reply: str, name: str, keys: FieldKeys) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with one field: at which of its keys, and why."""
    if name in base.model_fields:
        yield from _change_problems(base, reply, name, keys)
    elif NAME.fullmatch(name) is None:
        yield (), "is no name for a field; use a letter, then letters, digits and _, at most 40"
    elif hasattr(base, name):
        yield (), "is a name that HLS keeps for itself; choose another"
    elif keys.type is None and keys.enum is None:
        yield (), f"has no type; {nearest('', TYPES)}"
    elif keys.enum is not None and keys.type not in (None, "string", "list"):
        yield ("enum",), f"is for string and list only, and the type is {keys.type}"
    if keys.enum is not None:
        yield from ((("enum",), message) for message in _enum_problems(keys.enum))


def _change_problems(
    base: type[Reply], reply: str, name: str, keys: FieldKeys
) -> Iterator[tuple[tuple[str, ...], str]]:
    annotation = base.model_fields[name].annotation
    changeable = sorted(other for other, field in base.model_fields.items() if enum_of(field.annotation))
    if not enum_of(annotation):
        others = f"only the values of {', '.join(changeable)} can be changed" if changeable else "none can be changed"
        yield (), f"is a field of {reply} already; {others}; give yours another name"
        return
    if keys.enum is None:
        yield (), f"is a field of {reply} already; give its new values with enum"
    has = "list" if get_origin(annotation) is list else "string"
    if keys.type not in (None, has):
        yield ("type",), f"is {has} in {reply}, and cannot change"


def _enum_problems(values: tuple[str, ...]) -> Iterator[str]:
    if not 2 <= len(values) <= 100:
        yield f"has {len(values)} values; 2 to 100 are possible"
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{value!r} is there twice"
        if "\n" in value or value != value.strip() or clean(Code(value)) != value:
            yield f"{value!r} has a line break, a space at an end or an invisible character"
        elif redact(value) != value:
            yield "a value looks like a credential, and those are taken out of replies"


@cache
def _derived(base: type[Reply], fields: tuple[tuple[str, FieldKeys], ...], rules: FrozenRules) -> type[Reply]:
    """Cached, since what is known of types is kept for good: a library that is read again makes no new ones."""
    thawed = {field: rule if isinstance(rule, str) else dict(rule) for field, rule in rules}
    if not fields and thawed == base.label_rules:
        return base
    definitions: dict[str, Any] = {name: _definition(base, name, keys) for name, keys in fields}
    model = create_model(base.__name__, __base__=base, __doc__=base.__doc__, __module__=base.__module__, **definitions)
    model.label_rules = thawed
    return model


def _definition(base: type[Reply], name: str, keys: FieldKeys) -> tuple[Any, Any]:
    known = base.model_fields.get(name)
    is_list = keys.type == "list" or (known is not None and get_origin(known.annotation) is list)
    annotation = TYPES[keys.type or "string"]
    if keys.enum is not None:
        closed = cast("Any", Literal)[keys.enum]
        annotation = Annotated[cast("Any", list)[closed], Field(max_length=len(keys.enum))] if is_list else closed
    return annotation, Field(description=keys.description or (known.description if known is not None else None))


def _empty(annotation: object) -> object:
    empty: Mapping[object, object] = {bool: False, int: 0, float: 0.0}
    return [] if get_origin(annotation) is list else empty.get(annotation, "")


def _frozen(rules: Mapping[str, LabelRule]) -> FrozenRules:
    return tuple((field, rule if isinstance(rule, str) else tuple(rule.items())) for field, rule in rules.items())
