"""Text of strangers never enters a template: it sees tokens, which are exchanged for the texts when all is rendered.

The order is: `admit` the variables, render with what came of them, `settle` what was rendered.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum

from hls_handler.untrusted.places import places
from hls_handler.untrusted.records import NONE_OF_OURS, AdmittedMapping, AdmittedRecord, is_record
from hls_handler.untrusted.stranger import Show, Stranger, missing_of, shown, text_of
from hls_handler.untrusted.tokens import ADVICE, RESERVED, TOKEN, TornToken, find_tear, number_of


class Own(str):
    """A string that our own code marks as trusted. It is a mark for `admit` alone: a template sees a plain string."""

    __slots__ = ()


class Exchange:
    """The strangers' texts of one rendering.

    `key` makes the delimiters unguessable; `show(text, nonce)` gives what stands in a text's place.
    """

    def __init__(self, *, key: bytes, show: Show) -> None:
        self._key = key
        self._show = show
        self._settled: dict[int, Stranger] = {}  # by the number of its token
        self._ledger: list[Stranger] = []  # of the texts that were rendered; a token's number is the place here

    def admit(self, value: object) -> object:
        """What a template may see of a value: strings become `Stranger`s, trees keep their shape.

        Numbers, booleans, None, enumerations, `Own` strings, and strings that a field's `Literal` allows pass as they
        are; times pass as ISO 8601. A set comes as a sorted list, since rendering must not depend on hashes. What is
        inside of mappings and records is admitted when it is read. Raises `TypeError` for what it does not know.
        """
        return self._admit(value, NONE_OF_OURS)

    def missing(self) -> tuple[int, ...]:
        """Of each text that was settled and is cut, how many characters are missing."""
        return tuple(missing for stranger in self._settled.values() if (missing := missing_of(stranger)))

    def settle(self, rendered: str, *, template: str) -> str:
        """Exchange each token for its text. Equal texts in equal order give an equal nonce, hence an equal result.

        Raises `TornToken`, naming `template` and the line of the rendered text, if a token was cut or changed.
        """
        tear = find_tear(rendered)
        if tear is not None:
            line, before = tear
            where = f"line {line} of what it renders" + (f", after {before!r}" if before else "")
            raise TornToken(f"{template}: text from an event was cut or changed ({where}); {ADVICE}")
        parts = TOKEN.split(rendered)
        strangers = [self._find(number_of(digits), template) for digits in parts[1::2]]
        self._settled.update(zip(map(number_of, parts[1::2]), strangers, strict=True))
        nonce = self._nonce(strangers)
        parts[1::2] = [
            shown(stranger, nonce, place) for stranger, place in zip(strangers, places(rendered), strict=True)
        ]
        return "".join(parts)

    def _admit(self, value: object, ours: frozenset[str]) -> object:
        if value is None or isinstance(value, Enum | bool | int | float):
            return value
        if isinstance(value, AdmittedMapping | AdmittedRecord):
            return value if value._admit == self._admit else self._admit(value._admitted, ours)
        if isinstance(value, Stranger):
            return value if value._ledger is self._ledger else self._admit(text_of(value), ours)
        if isinstance(value, str):
            return self._admit_text(value, ours)
        if isinstance(value, date):  # a datetime is a date
            return value.isoformat()
        if isinstance(value, Mapping):
            return AdmittedMapping(value, self._admit)
        if isinstance(value, set | frozenset):
            return [self._admit(item, ours) for item in sorted(value, key=repr)]
        if isinstance(value, tuple):
            return tuple(self._admit(item, ours) for item in value)
        if isinstance(value, list):
            return [self._admit(item, ours) for item in value]
        if is_record(value):
            return AdmittedRecord(value, self._admit)
        raise TypeError(f"a template cannot be given a {type(value).__module__}.{type(value).__qualname__}")

    def _admit_text(self, text: str, ours: frozenset[str]) -> str | Stranger:
        if isinstance(text, Own) or text in ours:
            return str(RESERVED.sub("", text))
        return Stranger(text, self._ledger, show=self._show)

    def _find(self, number: int, template: str) -> Stranger:
        if number >= len(self._ledger):
            raise TornToken(f"{template}: a token was made up of others' pieces; {ADVICE}")
        return self._ledger[number]

    def _nonce(self, strangers: Iterable[Stranger]) -> str:
        """16 hex digits. Each text goes in with its length, so that no two lists of texts look alike."""
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for stranger in strangers:
            text = text_of(stranger).encode("utf-8", "surrogatepass")
            mac.update(len(text).to_bytes(8, "big") + text)
        return mac.hexdigest()[:16]
