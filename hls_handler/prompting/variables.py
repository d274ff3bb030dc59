"""Template variables that all event families have, marking of trusted strings, and documentation of variables.

A string is untrusted and becomes a placeholder (see `untrusted.placeholders`), unless its field's type is a `Literal`.
Also trusted are the strings of a `RuleView`, and the variables in `TRUSTED_PATTERNS` that match their pattern. Trust
cannot be derived from types, so the documentation finds it by converting values as for a rendering.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hls_handler.events import Account, Repository
from hls_handler.prompting.type_hints import has_members, members, sample_values
from hls_handler.settings.values import Length, Tone
from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.placeholders import Placeholders, Trusted
from hls_handler.untrusted.untrusted_text import UntrustedText, text_of


@dataclass(frozen=True, slots=True)
class RuleView:
    """The part of the rule that templates may use. All its strings are trusted."""

    event: str  # "issues.opened"
    prompt: str  # "issues/analyze": chosen by `on:` or settings; after `then`, still the first prompt
    dry_run: bool
    language: str | None = None  # "Brazilian Portuguese"; None: that of the conversation
    tone: Tone = "neutral"
    length: Length = "normal"


COMMON: Mapping[str, object] = {
    "repository": Repository,
    "sender": Account,
    "action": str | None,
    "rule": RuleView,
    "delivery": str,
    "event": Mapping[str, object],
}
"""Variables of all templates, with type hints."""

COMMENT: Mapping[str, object] = {"prompt_id": str}
"""Further variables of comment templates, with type hints. `analysis` is not included: its type is the reply type."""

TRUSTED_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "action": re.compile(r"[a-z_]{1,60}"),
    "delivery": re.compile(r"[0-9a-fA-F-]{1,64}"),
    "size": re.compile(r"small|medium|large"),
    "commit": re.compile(r"[0-9a-f]{7,64}"),
    "asked": re.compile(r"how to start|a question"),
}


def mark_trusted(variables: Mapping[str, object]) -> dict[str, object]:
    """Return the variables with trusted strings wrapped in `Trusted`."""
    return {name: _mark_value(name, value) for name, value in variables.items()}


def _mark_value(name: str, value: object) -> object:
    if isinstance(value, RuleView):
        language = None if value.language is None else Trusted(value.language)
        return replace(value, event=Trusted(value.event), prompt=Trusted(value.prompt), language=language)
    pattern = TRUSTED_PATTERNS.get(name)
    if pattern is not None and isinstance(value, str) and pattern.fullmatch(value):
        return Trusted(value)
    return value


TYPE_NAMES: Mapping[object, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}
OBJECT, PAYLOAD = "object", "the payload, as GitHub sent it"


@dataclass(frozen=True, slots=True)
class VariableDoc:
    name: str  # "issue.user.login"; "issue.labels[].name" for the elements of a list
    kind: str  # "text", "whole number", "one of open, closed"
    whose: Literal["stranger's", "ours", ""]  # "stranger's": untrusted text; "ours": trusted text; "": not text
    example: str | None  # as text, of any length; None if no recorded event has a value


def document_variables(hints: Mapping[str, object], examples: Iterable[Mapping[str, object]]) -> list[VariableDoc]:
    """Document each variable and each of its members. `hints` are types by name, `examples` are values by name."""
    placeholders = Placeholders(key=b"", show=format_for_prompt)  # no text is inserted
    marked_examples = [mark_trusted(values) for values in examples]
    found: list[VariableDoc] = []
    for name, hint in hints.items():
        recorded = [placeholders.convert(values[name]) for values in marked_examples if values.get(name) is not None]
        sample = mark_trusted({name: sample_values(hint)[0]})[name]
        found += _document(name, hint, recorded, [placeholders.convert(sample)])
    return found


def _document(name: str, hint: object, recorded: Sequence[object], samples: Sequence[object]) -> Iterator[VariableDoc]:
    """Document one variable. If no recorded event has a value for it, `samples` decide whether the text is trusted."""
    element = _element_hint(hint)
    if element is not None:
        recorded, samples = _flatten(recorded), _flatten(samples)
        if not has_members(element):
            yield _document_leaf(f"{name}[]", element, recorded, samples)
            return
        yield VariableDoc(name, describe_type(hint), "", None)
        name, hint = f"{name}[]", element
    plain = _without_none(hint)
    if not has_members(plain):
        yield _document_leaf(name, hint, recorded, samples)
        return
    if element is None:
        yield VariableDoc(name, describe_type(hint), "", None)
    assert isinstance(plain, type)
    for member, member_hint in members(plain).items():
        path = f"{name}.{member}"
        yield from _document(path, member_hint, _member_values(recorded, member), _member_values(samples, member))


def _document_leaf(name: str, hint: object, recorded: Sequence[object], samples: Sequence[object]) -> VariableDoc:
    example = next((value for value in recorded if value not in ("", None)), next(iter(recorded), None))
    decisive = example if example is not None else next(iter(samples), None)
    return VariableDoc(name, describe_type(hint), _trust_of(decisive), None if example is None else _as_text(example))


def _trust_of(admitted: object) -> Literal["stranger's", "ours", ""]:
    if isinstance(admitted, UntrustedText | Mapping):  # all texts in a mapping are untrusted
        return "stranger's"
    return "ours" if isinstance(admitted, str) else ""


def _as_text(admitted: object) -> str:
    if isinstance(admitted, UntrustedText):
        return text_of(admitted)
    if isinstance(admitted, bool):
        return str(admitted).lower()
    if isinstance(admitted, Mapping):
        return f"its keys are {', '.join(key for key in admitted if isinstance(key, str))}"
    return str(admitted)


def describe_type(hint: object) -> str:
    """Describe a type in words: "text", "text or none", "one of open, closed", "list of objects"."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe_type(arms[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, arms))}"
    if origin in (Union, UnionType):
        named = " or ".join(describe_type(arm) for arm in arms if arm is not NoneType)
        return f"{named} or none" if NoneType in arms else named
    if origin is not None and _element_hint(hint) is None:
        return PAYLOAD
    if origin is not None:
        return "list of objects" if has_members(_element_hint(hint)) else f"list: {describe_type(_element_hint(hint))}"
    return OBJECT if has_members(hint) else TYPE_NAMES.get(hint, "anything")


def _without_none(hint: object) -> object:
    if get_origin(hint) is Annotated:
        return _without_none(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        arms = [arm for arm in get_args(hint) if arm is not NoneType]
        return _without_none(arms[0]) if len(arms) == 1 else hint
    return hint


def _element_hint(hint: object) -> object | None:
    """Return the hint of a collection's elements; None if the hint is not a collection."""
    plain = _without_none(hint)
    origin = get_origin(plain)
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        element: object = get_args(plain)[0]
        return element
    return None


def _flatten(admitted: Sequence[object]) -> list[object]:
    return [element for each in admitted if isinstance(each, list | tuple) for element in each]


def _member_values(admitted: Sequence[Any], member: str) -> list[object]:
    return [value for each in admitted if (value := getattr(each, member)) is not None]
