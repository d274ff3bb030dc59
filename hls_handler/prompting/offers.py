"""What templates may name: each variable with its members, its type in words, whose text it is, and an example.

Whose text it is is not told from types but found out: values are admitted as for a rendering (`untrusted.exchange`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hls_handler.prompting.hints import has_members, members
from hls_handler.prompting.plausible import plausible
from hls_handler.prompting.variables import marked
from hls_handler.untrusted.cleaning import for_prompt
from hls_handler.untrusted.exchange import Exchange
from hls_handler.untrusted.stranger import Stranger, text_of

WORDS: Mapping[object, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}
OBJECT, PAYLOAD = "object", "the payload, as GitHub sent it"


@dataclass(frozen=True, slots=True)
class Offer:
    name: str  # "issue.user.login"; "issue.labels[].name" of each element of a list
    kind: str  # "text", "whole number", "one of open, closed"
    whose: Literal["stranger's", "ours", ""]  # the text; "" where there is none
    example: str | None  # as text, of any length; None where no recorded event has one


def offers(hints: Mapping[str, object], examples: Iterable[Mapping[str, object]]) -> list[Offer]:
    """One for each variable and each of its members. `hints` are types by name, `examples` values by name."""
    exchange = Exchange(key=b"", show=for_prompt)  # nothing is shown
    seen = [marked(values) for values in examples]
    found: list[Offer] = []
    for name, hint in hints.items():
        recorded = [exchange.admit(values[name]) for values in seen if values.get(name) is not None]
        made_up = marked({name: plausible(hint)[0]})[name]
        found += _offers(name, hint, recorded, [exchange.admit(made_up)])
    return found


def _offers(name: str, hint: object, recorded: Sequence[object], made_up: Sequence[object]) -> Iterator[Offer]:
    """`made_up` values decide whose text it is where no recorded event has any."""
    element = _element(hint)
    if element is not None:
        recorded, made_up = _elements(recorded), _elements(made_up)
        if not has_members(element):
            yield _leaf(f"{name}[]", element, recorded, made_up)
            return
        yield Offer(name, in_words(hint), "", None)
        name, hint = f"{name}[]", element
    plain = _without_none(hint)
    if not has_members(plain):
        yield _leaf(name, hint, recorded, made_up)
        return
    if element is None:
        yield Offer(name, in_words(hint), "", None)
    assert isinstance(plain, type)
    for member, of_member in members(plain).items():
        yield from _offers(f"{name}.{member}", of_member, _each(recorded, member), _each(made_up, member))


def _leaf(name: str, hint: object, recorded: Sequence[object], made_up: Sequence[object]) -> Offer:
    example = next((value for value in recorded if value not in ("", None)), next(iter(recorded), None))
    decisive = example if example is not None else next(iter(made_up), None)
    return Offer(name, in_words(hint), _whose(decisive), None if example is None else _as_text(example))


def _whose(admitted: object) -> Literal["stranger's", "ours", ""]:
    if isinstance(admitted, Stranger | Mapping):  # of a mapping all texts are
        return "stranger's"
    return "ours" if isinstance(admitted, str) else ""


def _as_text(admitted: object) -> str:
    if isinstance(admitted, Stranger):
        return text_of(admitted)
    if isinstance(admitted, bool):
        return str(admitted).lower()
    if isinstance(admitted, Mapping):
        return f"its keys are {', '.join(key for key in admitted if isinstance(key, str))}"
    return str(admitted)


def in_words(hint: object) -> str:
    """ "text", "text or none", "one of open, closed", "list of objects"."""
    origin, arms = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return in_words(arms[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, arms))}"
    if origin in (Union, UnionType):
        named = " or ".join(in_words(arm) for arm in arms if arm is not NoneType)
        return f"{named} or none" if NoneType in arms else named
    if origin is not None and _element(hint) is None:
        return PAYLOAD
    if origin is not None:
        return "list of objects" if has_members(_element(hint)) else f"list: {in_words(_element(hint))}"
    return OBJECT if has_members(hint) else WORDS.get(hint, "anything")


def _without_none(hint: object) -> object:
    if get_origin(hint) is Annotated:
        return _without_none(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        arms = [arm for arm in get_args(hint) if arm is not NoneType]
        return _without_none(arms[0]) if len(arms) == 1 else hint
    return hint


def _element(hint: object) -> object | None:
    """What a list holds; None where the hint is no list."""
    plain = _without_none(hint)
    origin = get_origin(plain)
    if isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping):
        element: object = get_args(plain)[0]
        return element
    return None


def _elements(admitted: Sequence[object]) -> list[object]:
    return [element for each in admitted if isinstance(each, list | tuple) for element in each]


def _each(admitted: Sequence[Any], member: str) -> list[object]:
    return [value for each in admitted if (value := getattr(each, member)) is not None]
