"""Untrusted text inside a template: it can be tested, compared, measured and shown, but not transformed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from hls_handler.untrusted.cleaning import LONGEST_TEXT, CodeText, clean, truncate
from hls_handler.untrusted.places import MarkdownContext
from hls_handler.untrusted.redaction import redact
from hls_handler.untrusted.tokens import EXCERPT_ADVICE, BrokenPlaceholder, format_placeholder


class TextFormatter(Protocol):
    """Function from a text and the nonce of its delimiters to the text as it is shown."""

    def __call__(self, text: str, nonce: str, /) -> str: ...


class MarkdownFormatter(ABC):
    """A `TextFormatter` for Markdown, where escaping depends on the context of the text.

    An abstract class instead of a Protocol, because `format_text` checks it with isinstance for every text.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, text: str, nonce: str, /) -> str: ...

    @abstractmethod
    def in_code_span(self, text: str) -> str: ...

    @abstractmethod
    def in_code_block(self, text: str) -> str: ...

    @abstractmethod
    def in_link_target(self, text: str) -> str: ...

    @abstractmethod
    def in_html(self, text: str) -> str: ...


class UntrustedText:
    """Untrusted text. Rendering it appends it to `rendered_texts` and returns a placeholder with its index there.

    A sandboxed template cannot access names that begin with an underscore.
    """

    __slots__ = ("_missing", "_placeholder", "_rendered", "_show", "_text")

    def __init__(
        self, text: str, rendered_texts: list[UntrustedText], *, show: TextFormatter, missing: int = 0
    ) -> None:
        """`missing` is the number of characters of the whole text that are not in `text`."""
        self._text = text
        self._missing = missing
        self._rendered = rendered_texts
        self._show = show
        self._placeholder: str | None = None

    def excerpt(self, n: int) -> UntrustedText:
        """Truncate to `n` characters, with a remark on how many are missing.

        Counted after cleaning and redaction, because half a credential would not be recognised.
        """
        whole = self._sanitized()
        return self._with(truncate(whole, n), missing=len(whole) - n)

    def lines(self, a: int, b: int) -> UntrustedText:
        """Lines `a` to `b` of the cleaned text, inclusive, from 1. Lines that do not exist are skipped."""
        whole = self._sanitized()
        part = "\n".join(whole.split("\n")[max(a, 1) - 1 : max(b, 0)])
        return self._with(part, missing=len(whole) - len(part))

    def startswith(self, part: str | UntrustedText) -> bool:
        return self._text.startswith(_plain(part))

    def endswith(self, part: str | UntrustedText) -> bool:
        return self._text.endswith(_plain(part))

    def __str__(self) -> str:
        if self._placeholder is None:
            self._placeholder = format_placeholder(len(self._rendered))
            self._rendered.append(self)
        return self._placeholder

    __repr__ = __str__

    def __len__(self) -> int:
        return len(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == (other._text if isinstance(other, UntrustedText) else other)

    def __lt__(self, other: str | UntrustedText) -> bool:
        return self._text < _plain(other)

    def __le__(self, other: str | UntrustedText) -> bool:
        return self._text <= _plain(other)

    def __gt__(self, other: str | UntrustedText) -> bool:
        return self._text > _plain(other)

    def __ge__(self, other: str | UntrustedText) -> bool:
        return self._text >= _plain(other)

    def __contains__(self, part: str | UntrustedText) -> bool:
        return _plain(part) in self._text

    def __getitem__(self, index: object) -> str:
        """Always raises. A string index is a `TypeError`, which Jinja reports as an undefined attribute."""
        if isinstance(index, str):
            raise TypeError("a text from an event has no such attribute")
        raise BrokenPlaceholder(f"a template takes a text from an event apart; {EXCERPT_ADVICE}")

    def _sanitized(self) -> str:
        return redact(clean(self._text))

    def _with(self, text: str, *, missing: int) -> UntrustedText:
        same_kind = CodeText(text) if isinstance(self._text, CodeText) else text
        return UntrustedText(same_kind, self._rendered, show=self._show, missing=self._missing + max(missing, 0))


def text_of(untrusted: UntrustedText) -> str:
    return untrusted._text


def count_missing(untrusted: UntrustedText) -> int:
    """Number of characters that a prompt does not show, without those that cleaning removed."""
    truncated = len(untrusted._sanitized()) - LONGEST_TEXT if len(untrusted._text) > LONGEST_TEXT else 0
    return untrusted._missing + max(truncated, 0)


def format_text(untrusted: UntrustedText, nonce: str, context: MarkdownContext) -> str:
    """Format the text that replaces its placeholder in this context."""
    show, text = untrusted._show, untrusted._text
    if not isinstance(show, MarkdownFormatter):
        return show(text, nonce)
    kind, prefix = context
    if kind == "code_block":
        return show.in_code_block(text).replace("\n", f"\n{prefix}")
    if kind == "code_span":
        return show.in_code_span(text)
    if kind == "link_target":
        return show.in_link_target(text)
    if kind == "html":
        return show.in_html(text)
    return f"{prefix}{show(text, nonce)}"


def with_formatter(value: object, show: TextFormatter) -> object:
    """Return the text with another `show`, for filters such as that for table cells; trusted values unchanged."""
    if not isinstance(value, UntrustedText):
        return value
    return UntrustedText(value._text, value._rendered, show=show, missing=value._missing)


def _plain(text: str | UntrustedText) -> str:
    return text._text if isinstance(text, UntrustedText) else text
