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
        for arm in get_args(hint):
            yield from iter_alternatives(arm)
    elif hint is not NoneType:
        yield hint


def find_element_type(hint: object) -> object | None:
    """Return the type hint of the elements of a list, tuple or set; None for any other type."""
    kinds = [*iter_alternatives(hint)]
    if len(kinds) != 1 or not _is_a(get_origin(kinds[0]), Collection):
        return None
    if _is_a(get_origin(kinds[0]), Mapping):
        return None
    element: object = get_args(kinds[0])[0]
    return element


def _is_a(kind: object, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


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
    samples = [full, minimal]
    for name, kind in public_hints(type(full)).items():
        if get_origin(kind) is Literal:
            samples += [full.model_copy(update={name: value}) for value in get_args(kind)[1:]]
    return tuple(samples)


def _sample(hint: object, *, full: bool) -> Any:
    origin = get_origin(hint)
    arms = get_args(hint)
    if origin is Annotated:
        return _sample(arms[0], full=full)
    if origin in UNIONS:
        if not full and NoneType in arms:
            return None
        return _sample(next(arm for arm in arms if arm is not NoneType), full=full)
    if origin is Literal:
        return arms[0] if full else arms[-1]
    if _is_a(origin, Mapping):
        return {}
    if _is_a(origin, Collection):
        if not full:
            return []
        return [_sample(arms[0], full=True), _sample(arms[0], full=True)]
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        values = {name: _sample(kind, full=full) for name, kind in public_hints(hint).items()}
        return hint.model_construct(**values)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = public_hints(hint)
        values = {field.name: _sample(hints[field.name], full=full) for field in fields(hint)}
        return hint(**values)
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
    documents: list[VariableDoc] = []
    for name, hint in hints.items():
        if name == "config":
            documents.append(VariableDoc(name, "map of your own values", "trusted", None))
            continue
        recorded = [
            placeholders.convert(values[name])
            for values in marked_examples
            if values.get(name) is not None
        ]
        sample = mark_trusted({name: sample_values(hint)[0]})[name]
        documents += _document(name, hint, recorded, [placeholders.convert(sample)])
    return documents


def _document(
    name: str, hint: object, recorded: Sequence[object], samples: Sequence[object]
) -> Iterator[VariableDoc]:
    path = name
    kind = hint
    element = find_element_type(hint)
    if element is not None:
        path = f"{name}[]"
        kind = element
        recorded = _flatten(recorded)
        samples = _flatten(samples)
    plain = next(iter_alternatives(kind))
    if not has_members(plain):
        text = None
        # the first value that is not empty, else an empty one; else a sample, which is no example
        # but shows whether the text is trusted
        filled = [value for value in recorded if value not in ("", None)]
        decisive = next(iter([*filled, *recorded, *samples]), None)
        if recorded:
            text = _as_text(decisive)
        yield VariableDoc(path, describe_type(kind), _trust_of(decisive), text)
        return
    yield VariableDoc(name, describe_type(hint), "", None)
    for member, member_hint in public_hints(plain).items():
        values = [_member_values(recorded, member), _member_values(samples, member)]
        yield from _document(f"{path}.{member}", member_hint, *values)


def _trust_of(converted: object) -> Trust:
    if isinstance(converted, UntrustedText | Mapping):  # all texts in a mapping are untrusted
        return "untrusted"
    if isinstance(converted, str):
        return "trusted"
    return ""


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
        named = [describe_type(arm) for arm in arms if arm is not NoneType]
        if NoneType in arms:
            named.append("none")
        return " or ".join(named)
    if origin is not None:
        element = find_element_type(hint)
        if element is None:
            return "the payload, as GitHub sent it"
        if has_members(element):
            return "list of objects"
        return f"list: {describe_type(element)}"
    if has_members(hint):
        return "object"
    return TYPE_NAMES.get(hint, "anything")


def _flatten(converted: Sequence[object]) -> list[object]:
    elements: list[object] = []
    for each in converted:
        if isinstance(each, list | tuple):
            elements += each
    return elements


def _member_values(converted: Sequence[Any], member: str) -> list[object]:
    values = [getattr(each, member) for each in converted]
    return [value for value in values if value is not None]
