"""Types of template variables: their sample values and their documentation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

from hls_handler.prompting.render import mark_trusted
from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.placeholders import Placeholders, public_hints
from hls_handler.untrusted.untrusted_text import UntrustedText, text_of

UNIONS = (Union, UnionType)


def has_members(hint: object) -> TypeGuard[type]:
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, BaseModel))


def iter_alternatives(hint: object) -> Iterator[object]:
    """Yield the types of a union except None, or the hint itself. `Annotated` is removed."""
    if get_origin(hint) is Annotated:
        yield from iter_alternatives(get_args(hint)[0])
    elif get_origin(hint) in UNIONS:
        yield from (one for arm in get_args(hint) for one in iter_alternatives(arm))
    elif hint is not NoneType:
        yield hint


def find_element_type(hint: object) -> object | None:
    """Return the type hint of the elements of a list, tuple or set; None for any other type."""
    kinds = [*iter_alternatives(hint)]
    origin = get_origin(kinds[0]) if len(kinds) == 1 else None
    is_collection = (
        isinstance(origin, type)
        and issubclass(origin, Collection)
        and not issubclass(origin, Mapping)
    )
    return get_args(kinds[0])[0] if is_collection else None


SAMPLE_TEXT = "some *text*, with a | bar and a\nsecond line"


def sample_values(hint: object) -> tuple[Any, ...]:
    """Return sample values of a type: a full value, then a minimal value (empty, None, False).

    For a pydantic model, copies of the full value follow, so that every value of each `Literal`
    field occurs and every branch of `{% if analysis.kind == ... %}` is rendered.
    """
    full = _sample(hint, full=True)
    minimal = _sample(hint, full=False)
    if not isinstance(full, BaseModel):
        return full, minimal
    choices = {
        name: get_args(kind)
        for name, kind in public_hints(type(full)).items()
        if get_origin(kind) is Literal
    }
    variants = [
        full.model_copy(update={name: value})
        for name, values in choices.items()
        for value in values[1:]
    ]
    return full, minimal, *variants


def _sample(hint: object, *, full: bool) -> Any:
    origin = get_origin(hint)
    arms = get_args(hint)
    if origin is Annotated:
        return _sample(arms[0], full=full)
    if origin in UNIONS:
        has_none = not full and NoneType in arms
        return (
            None
            if has_none
            else _sample(next(arm for arm in arms if arm is not NoneType), full=full)
        )
    if origin is Literal:
        return arms[0] if full else arms[-1]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if isinstance(origin, type) and issubclass(origin, Collection):
        return [_sample(arms[0], full=True), _sample(arms[0], full=True)] if full else []
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint.model_construct(
            **{name: _sample(kind, full=full) for name, kind in public_hints(hint).items()}
        )
    if isinstance(hint, type) and is_dataclass(hint):
        hints = public_hints(hint)
        return hint(**{field.name: _sample(hints[field.name], full=full) for field in fields(hint)})
    if hint in (bool, int, float):
        return {bool: True, int: 7, float: 0.8}[hint] if full else hint()
    return SAMPLE_TEXT if full else ""


TYPE_NAMES: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}

Trust = Literal["untrusted", "trusted", ""]
"""Trust in a text; "" for a value that is not text."""


@dataclass(frozen=True, slots=True)
class VariableDoc:
    name: str  # "issue.user.login"; "issue.labels[].name" for the elements of a list
    kind: str  # "text", "whole number", "one of open, closed"
    trust: Trust
    example: str | None  # as text, of any length; None if no recorded event has a value


def document_variables(
    hints: Mapping[str, object], examples: Iterable[Mapping[str, object]]
) -> list[VariableDoc]:
    """Return the documentation of each variable ("issue") and of its members ("issue.user",
    "issue.user.login").

    `hints` maps variables to types. Each of `examples` maps variables to their values in one event.
    Types do not show whether a text is trusted, so values are converted as in a render, which makes
    untrusted text `UntrustedText`.
    """
    # placeholders are not replaced by texts here
    placeholders = Placeholders(key=b"", show=format_for_prompt)
    marked_examples = [mark_trusted(values) for values in examples]
    found: list[VariableDoc] = []
    for name, hint in hints.items():
        if name == "config":
            found.append(VariableDoc(name, "map of your own values", "trusted", None))
            continue
        recorded = [
            placeholders.convert(values[name])
            for values in marked_examples
            if values.get(name) is not None
        ]
        sample = mark_trusted({name: sample_values(hint)[0]})[name]
        found += _document(name, hint, recorded, [placeholders.convert(sample)])
    return found


def _document(
    name: str, hint: object, recorded: Sequence[object], samples: Sequence[object]
) -> Iterator[VariableDoc]:
    element = find_element_type(hint)
    path, kind = (name, hint) if element is None else (f"{name}[]", element)
    if element is not None:
        recorded = _flatten(recorded)
        samples = _flatten(samples)
    plain = next(iter_alternatives(kind))
    if not has_members(plain):
        example = next(
            (value for value in recorded if value not in ("", None)), next(iter(recorded), None)
        )
        # `samples` give no examples, but show whether the text is trusted if no recorded event has
        # a value.
        decisive = example if example is not None else next(iter(samples), None)
        text = None if example is None else _as_text(example)
        yield VariableDoc(path, describe_type(kind), _trust_of(decisive), text)
        return
    yield VariableDoc(name, describe_type(hint), "", None)
    for member, member_hint in public_hints(plain).items():
        values = [_member_values(recorded, member), _member_values(samples, member)]
        yield from _document(f"{path}.{member}", member_hint, *values)


def _trust_of(converted: object) -> Trust:
    if isinstance(converted, UntrustedText | Mapping):  # all texts in a mapping are untrusted
        return "untrusted"
    return "trusted" if isinstance(converted, str) else ""


def _as_text(converted: object) -> str:
    if isinstance(converted, UntrustedText):
        return text_of(converted)
    if isinstance(converted, bool):
        return str(converted).lower()
    if isinstance(converted, Mapping):
        return f"its keys are {', '.join(key for key in converted if isinstance(key, str))}"
    return str(converted)


def describe_type(hint: object) -> str:
    """Describe a type in words: "text", "text or none", "one of open, closed", "list of
    objects".
    """
    origin = get_origin(hint)
    arms = get_args(hint)
    if origin is Annotated:
        return describe_type(arms[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, arms))}"
    if origin in UNIONS:
        named = " or ".join(describe_type(arm) for arm in arms if arm is not NoneType)
        return f"{named} or none" if NoneType in arms else named
    if origin is not None:
        element = find_element_type(hint)
        if element is None:
            return "the payload, as GitHub sent it"
        return "list of objects" if has_members(element) else f"list: {describe_type(element)}"
    return "object" if has_members(hint) else TYPE_NAMES.get(hint, "anything")


def _flatten(converted: Sequence[object]) -> list[object]:
    return [element for each in converted if isinstance(each, list | tuple) for element in each]


def _member_values(converted: Sequence[Any], member: str) -> list[object]:
    return [value for each in converted if (value := getattr(each, member)) is not None]
