"""Placeholders for untrusted text. Templates see only placeholders, which are replaced by the texts
after rendering.

Use: `convert` the variables, render the template with the results, then `substitute` the texts in
the output.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from functools import cache
from inspect import getattr_static
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from hls_handler.untrusted.cleaning import RESERVED_CHARACTERS, CodeText
from hls_handler.untrusted.untrusted_text import (
    EXCERPT_ADVICE,
    PLACEHOLDER,
    BrokenPlaceholder,
    TextFormatter,
    UntrustedText,
    count_missing,
    find_broken_placeholder,
    find_contexts,
    format_text,
    parse_number,
    text_of,
)


class Trusted(str):
    """A string that our code wrote. `convert` passes it to the template without a placeholder."""

    __slots__ = ()


class Placeholders:
    """The untrusted texts of one rendering, and their placeholders.

    `key` is the secret for the nonce of the delimiters. `show` formats each text that replaces a
    placeholder.
    """

    def __init__(self, *, key: bytes, show: TextFormatter) -> None:
        self._key = key
        self._show = show
        self._text_type: type[str] = str
        # texts that `substitute` has inserted, by placeholder number
        self._settled: dict[int, UntrustedText] = {}
        # texts that a template has output, by placeholder number
        self._rendered: list[UntrustedText] = []

    def convert(self, value: object) -> object:
        """Convert a value for a template. Every string becomes an `UntrustedText`, unless the
        string is trusted.

        `Trusted` strings are trusted, and so are strings that a field's `Literal` allows. Times
        become ISO 8601 texts. A set becomes a sorted list, because the order of sets varies between
        processes. A mapping, dataclass or model is returned in a wrapper that converts each item or
        field when read. What is nested deeper than `MAX_DEPTH` is replaced by a note. Raises
        `TypeError` for other types.
        """
        return self._convert(value, NOTHING_TRUSTED, 0)

    def for_replies(self) -> Placeholders:
        """Return a copy for text by Claude, in which all but known forms was redacted with the code
        at hand.
        """
        other = copy(self)  # with the same lists
        other._text_type = CodeText
        return other

    def list_shown_by(self, formatter: type[TextFormatter]) -> tuple[str, ...]:
        """Return the inserted texts that a formatter of this type formatted, as they were given."""
        settled = self._settled.values()
        return tuple(text_of(text) for text in settled if isinstance(text._show, formatter))

    def missing(self) -> tuple[int, ...]:
        """Return the number of missing characters of each inserted text that was cut."""
        return tuple(filter(None, map(count_missing, self._settled.values())))

    def substitute(self, rendered: str, *, template: str) -> str:
        """Replace each placeholder in `rendered` by its text. Raises `BrokenPlaceholder` if the
        template changed one.

        Errors name the path `template`. All texts get the same nonce, which depends on the texts
        and their order.
        """
        broken = find_broken_placeholder(rendered)
        if broken is not None:
            where = f"line {broken.line} of the rendered text"
            if broken.before:
                where += f", after {broken.before!r}"
            message = f"text from an event was cut or changed ({where})"
            raise BrokenPlaceholder([f"{template}: {message}; {EXCERPT_ADVICE}"])
        parts = PLACEHOLDER.split(rendered)
        numbers = [parse_number(digits) for digits in parts[1::2]]
        if any(number >= len(self._rendered) for number in numbers):
            message = "the template joined parts of texts from an event"
            raise BrokenPlaceholder([f"{template}: {message}; {EXCERPT_ADVICE}"])
        texts = [self._rendered[number] for number in numbers]
        self._settled.update(zip(numbers, texts, strict=True))
        nonce = compute_nonce(self._key, map(text_of, texts))
        parts[1::2] = [
            format_text(text, nonce, context)
            for text, context in zip(texts, find_contexts(rendered), strict=True)
        ]
        return "".join(parts)

    def _convert(self, value: object, trusted: frozenset[str], depth: int) -> object:
        if value is None or isinstance(value, Enum | bool | int | float):
            return value
        if isinstance(value, WrappedMapping | WrappedRecord):
            if value._convert == self._convert:
                return value
            return self._convert(value._wrapped, trusted, depth)
        if isinstance(value, UntrustedText):
            if value._rendered is self._rendered:
                return value
            return self._convert(text_of(value), trusted, depth)
        if isinstance(value, Trusted) or (isinstance(value, str) and value in trusted):
            return str(RESERVED_CHARACTERS.sub("", value))
        if isinstance(value, str):
            return UntrustedText(self._text_type(value), self._rendered, show=self._show)
        if isinstance(value, date):  # also for `datetime`, a subclass
            return value.isoformat()
        if depth == MAX_DEPTH:
            return NESTED_TOO_DEEPLY
        if isinstance(value, Mapping):
            return WrappedMapping(value, self._convert, depth + 1)
        if isinstance(value, set | frozenset):
            return [self._convert(item, trusted, depth + 1) for item in sorted(value, key=repr)]
        if isinstance(value, tuple):
            return tuple(self._convert(item, trusted, depth + 1) for item in value)
        if isinstance(value, list):
            return [self._convert(item, trusted, depth + 1) for item in value]
        if isinstance(value, BaseModel) or is_dataclass(type(value)):
            return WrappedRecord(value, self._convert, depth + 1)
        raise TypeError(
            f"a template cannot be given a {type(value).__module__}.{type(value).__qualname__}"
        )


def compute_nonce(key: bytes, texts: Iterable[str]) -> str:
    """Return the code of delimiters, such as "3f2a90c1d4e5b678": equal for equal texts, and secret
    as the key is.
    """
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        # the length makes ["ab"] and ["a", "b"] differ
        mac.update(len(encoded).to_bytes(8, "big") + encoded)
    return mac.hexdigest()[:16]


MAX_DEPTH = 50
"""Levels of lists and objects that a template sees. GitHub's payloads have at most 10; a body may
have hundreds.
"""

NESTED_TOO_DEEPLY = f"[nested deeper than {MAX_DEPTH} levels]"

Convert = Callable[[object, frozenset[str], int], object]
"""Function (value, trusted strings, depth of the value) -> converted value.

Trusted strings are those that the field's `Literal` allows.
"""

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
NOTHING_TRUSTED: frozenset[str] = frozenset()


class WrappedMapping(Mapping[object, object]):
    """A mapping for templates that converts each value when it is read. Keys such as "full_name"
    stay plain strings.
    """

    __slots__ = ("_convert", "_depth", "_wrapped")

    def __init__(self, mapping: Mapping[object, object], convert: Convert, depth: int) -> None:
        self._wrapped = mapping
        self._convert = convert
        self._depth = depth

    def __getitem__(self, key: object) -> object:
        return self._convert(self._wrapped[key], NOTHING_TRUSTED, self._depth)

    def __iter__(self) -> Iterator[object]:
        for key in self._wrapped:
            if isinstance(key, str) and PLAIN_KEY.fullmatch(key):
                yield key
            else:
                yield self._convert(key, NOTHING_TRUSTED, self._depth)

    def __len__(self) -> int:
        return len(self._wrapped)

    def __repr__(self) -> str:
        return repr(dict(self))


class WrappedRecord:
    """A dataclass or model for templates: untrusted strings in public fields and properties become
    `UntrustedText`.
    """

    __slots__ = ("_convert", "_depth", "_wrapped")

    def __init__(self, record: Any, convert: Convert, depth: int) -> None:
        self._wrapped = record
        self._convert = convert
        self._depth = depth

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        kind: Any = type(self._wrapped)
        trusted = public_fields(kind).get(name)
        if trusted is None:
            raise AttributeError(f"{kind.__name__} has no {name}")
        return self._convert(getattr(self._wrapped, name), trusted, self._depth)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, WrappedRecord):
            other = other._wrapped
        return bool(self._wrapped == other)

    def __hash__(self) -> int:
        return hash(repr(self._wrapped))  # a model with a list has no hash

    def __repr__(self) -> str:
        kind: Any = type(self._wrapped)
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in public_fields(kind))
        return f"{kind.__name__}({fields})"


def type_of(record: WrappedRecord) -> type:
    return type(record._wrapped)


@cache
def public_fields(kind: type) -> Mapping[str, frozenset[str]]:
    """Map each public field and property of `kind` to the strings in its `Literal` type: {"state":
    {"open", "closed"}}.

    If the type contains no `Literal`, the set is empty.
    """
    return {name: literal_strings(hint) for name, hint in public_hints(kind).items()}


@cache
def public_hints(kind: type[Any]) -> Mapping[str, object]:
    """Return {name: type hint} for all public fields and properties of a dataclass or model."""
    resolved = get_type_hints(kind)
    names = (
        kind.model_fields if issubclass(kind, BaseModel) else [field.name for field in fields(kind)]
    )
    hints: dict[str, object] = {name: resolved[name] for name in names}
    for name in dir(kind):
        member = getattr_static(kind, name, None)
        if isinstance(member, property) and not hasattr(BaseModel, name):
            hints[name] = get_type_hints(member.fget).get("return", Any)
    return {name: hint for name, hint in hints.items() if not name.startswith("_")}


def literal_strings(hint: object) -> frozenset[str]:
    """Return the strings in the `Literal`s of a type hint: {"a"} for `Literal["a"] | None`.
    Mappings are skipped.
    """
    origin = get_origin(hint)
    if origin is Literal:
        return frozenset(value for value in get_args(hint) if isinstance(value, str))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return NOTHING_TRUSTED
    return frozenset().union(*(literal_strings(part) for part in get_args(hint)))
