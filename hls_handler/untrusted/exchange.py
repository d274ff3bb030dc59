"""Placeholders for untrusted text: templates see only placeholders, which are replaced by the texts after rendering.

Use: `convert` the variables, render the template with the results, `substitute` the rendered text.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum

from hls_handler.untrusted.places import find_contexts
from hls_handler.untrusted.records import NOTHING_TRUSTED, WrappedMapping, WrappedRecord, is_record
from hls_handler.untrusted.stranger import TextFormatter, UntrustedText, count_missing, format_text, text_of
from hls_handler.untrusted.tokens import (
    EXCERPT_ADVICE,
    PLACEHOLDER,
    RESERVED_CHARACTERS,
    BrokenPlaceholder,
    find_broken_placeholder,
    parse_number,
)


class Trusted(str):
    """String that our code marks as trusted. Only `convert` uses the mark; a template sees a plain string."""

    __slots__ = ()


class Placeholders:
    """Untrusted texts of one rendering.

    `key` makes the delimiters unguessable; `show(text, nonce)` returns the text that replaces a placeholder.
    """

    def __init__(self, *, key: bytes, show: TextFormatter) -> None:
        self._key = key
        self._show = show
        self._settled: dict[int, UntrustedText] = {}  # by the number of the placeholder
        self._rendered: list[UntrustedText] = []  # rendered texts; the index is the number of the placeholder

    def convert(self, value: object) -> object:
        """Convert a value for use in a template: strings become `UntrustedText`s, containers keep their structure.

        Numbers, booleans, None, enumerations, `Trusted` strings and strings that a field's `Literal` allows are
        unchanged; times become ISO 8601. A set becomes a sorted list, because rendering must not depend on hashes.
        Contents of mappings and records are converted when they are read. Raises `TypeError` for other types.
        """
        return self._convert(value, NOTHING_TRUSTED)

    def missing(self) -> tuple[int, ...]:
        """Number of missing characters of each settled text that is truncated."""
        return tuple(missing for text in self._settled.values() if (missing := count_missing(text)))

    def substitute(self, rendered: str, *, template: str) -> str:
        """Replace each placeholder by its text. Equal texts in the same order give the same nonce and result.

        Raises `BrokenPlaceholder` with `template` and the line of the rendered text if a placeholder was changed.
        """
        broken = find_broken_placeholder(rendered)
        if broken is not None:
            line, before = broken
            where = f"line {line} of the rendered text" + (f", after {before!r}" if before else "")
            raise BrokenPlaceholder(f"{template}: text from an event was cut or changed ({where}); {EXCERPT_ADVICE}")
        parts = PLACEHOLDER.split(rendered)
        texts = [self._find_text(parse_number(digits), template) for digits in parts[1::2]]
        self._settled.update(zip(map(parse_number, parts[1::2]), texts, strict=True))
        nonce = self._compute_nonce(texts)
        parts[1::2] = [
            format_text(text, nonce, context) for text, context in zip(texts, find_contexts(rendered), strict=True)
        ]
        return "".join(parts)

    def _convert(self, value: object, trusted: frozenset[str]) -> object:
        if value is None or isinstance(value, Enum | bool | int | float):
            return value
        if isinstance(value, WrappedMapping | WrappedRecord):
            return value if value._convert == self._convert else self._convert(value._wrapped, trusted)
        if isinstance(value, UntrustedText):
            return value if value._rendered is self._rendered else self._convert(text_of(value), trusted)
        if isinstance(value, str):
            return self._convert_text(value, trusted)
        if isinstance(value, date):  # a datetime is a date
            return value.isoformat()
        if isinstance(value, Mapping):
            return WrappedMapping(value, self._convert)
        if isinstance(value, set | frozenset):
            return [self._convert(item, trusted) for item in sorted(value, key=repr)]
        if isinstance(value, tuple):
            return tuple(self._convert(item, trusted) for item in value)
        if isinstance(value, list):
            return [self._convert(item, trusted) for item in value]
        if is_record(value):
            return WrappedRecord(value, self._convert)
        raise TypeError(f"a template cannot be given a {type(value).__module__}.{type(value).__qualname__}")

    def _convert_text(self, text: str, trusted: frozenset[str]) -> str | UntrustedText:
        if isinstance(text, Trusted) or text in trusted:
            return str(RESERVED_CHARACTERS.sub("", text))
        return UntrustedText(text, self._rendered, show=self._show)

    def _find_text(self, number: int, template: str) -> UntrustedText:
        if number >= len(self._rendered):
            raise BrokenPlaceholder(f"{template}: a placeholder was made of parts of others; {EXCERPT_ADVICE}")
        return self._rendered[number]

    def _compute_nonce(self, texts: Iterable[UntrustedText]) -> str:
        """Return 16 hex digits. Each text is hashed with its length, so that different lists cannot collide."""
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for text in texts:
            encoded = text_of(text).encode("utf-8", "surrogatepass")
            mac.update(len(encoded).to_bytes(8, "big") + encoded)
        return mac.hexdigest()[:16]
