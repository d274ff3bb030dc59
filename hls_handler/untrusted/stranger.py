"""A stranger's text inside a template: it can be tested, compared, measured and shown, but not transformed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from hls_handler.untrusted.cleaning import LONGEST_TEXT, Code, cap, clean
from hls_handler.untrusted.places import Place
from hls_handler.untrusted.redaction import redact
from hls_handler.untrusted.tokens import ADVICE, TornToken, token


class Show(Protocol):
    """Takes a text and the nonce of its delimiters; gives what stands in the text's place."""

    def __call__(self, text: str, nonce: str, /) -> str: ...


class ShowInMarkdown(ABC):
    """A `Show` for what will be read as Markdown, where the same text means other things in other places.

    A class and no Protocol, since every text that is shown asks whether its `Show` is one.
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


class Stranger:
    """A stranger's text. Rendered it is a token; `ledger` is where it then signs in, and its place there is its number.

    Names that begin with an underscore are out of a sandboxed template's reach.
    """

    __slots__ = ("_ledger", "_missing", "_show", "_text", "_token")

    def __init__(self, text: str, ledger: list[Stranger], *, show: Show, missing: int = 0) -> None:
        """`missing` is how many characters of the whole text are not in `text`."""
        self._text = text
        self._missing = missing
        self._ledger = ledger
        self._show = show
        self._token: str | None = None

    def excerpt(self, n: int) -> Stranger:
        """The first `n` characters, with a remark on how many are missing.

        Counted after cleaning and redaction: half a credential would not be recognised as one any more.
        """
        whole = self._readable()
        return self._with(cap(whole, n), missing=len(whole) - n)

    def lines(self, a: int, b: int) -> Stranger:
        """Lines `a` to `b`, both included, from 1, of the cleaned text. What is not there is left out."""
        whole = self._readable()
        part = "\n".join(whole.split("\n")[max(a, 1) - 1 : max(b, 0)])
        return self._with(part, missing=len(whole) - len(part))

    def startswith(self, part: str | Stranger) -> bool:
        return self._text.startswith(_plain(part))

    def endswith(self, part: str | Stranger) -> bool:
        return self._text.endswith(_plain(part))

    def __str__(self) -> str:
        if self._token is None:
            self._token = token(len(self._ledger))
            self._ledger.append(self)
        return self._token

    __repr__ = __str__

    def __len__(self) -> int:
        return len(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == (other._text if isinstance(other, Stranger) else other)

    def __lt__(self, other: str | Stranger) -> bool:
        return self._text < _plain(other)

    def __le__(self, other: str | Stranger) -> bool:
        return self._text <= _plain(other)

    def __gt__(self, other: str | Stranger) -> bool:
        return self._text > _plain(other)

    def __ge__(self, other: str | Stranger) -> bool:
        return self._text >= _plain(other)

    def __contains__(self, part: str | Stranger) -> bool:
        return _plain(part) in self._text

    def __getitem__(self, index: object) -> str:
        """Never answers. A name is a `TypeError`, which Jinja turns into its word on undefined attributes."""
        if isinstance(index, str):
            raise TypeError("a text from an event has no such attribute")
        raise TornToken(f"a template takes a text from an event apart; {ADVICE}")

    def _readable(self) -> str:
        return redact(clean(self._text))

    def _with(self, text: str, *, missing: int) -> Stranger:
        same_kind = Code(text) if isinstance(self._text, Code) else text
        return Stranger(same_kind, self._ledger, show=self._show, missing=self._missing + max(missing, 0))


def text_of(stranger: Stranger) -> str:
    return stranger._text


def missing_of(stranger: Stranger) -> int:
    """How many characters of the whole text a prompt does not show; what cleaning takes away does not count."""
    beyond = len(stranger._readable()) - LONGEST_TEXT if len(stranger._text) > LONGEST_TEXT else 0
    return stranger._missing + max(beyond, 0)


def shown(stranger: Stranger, nonce: str, place: Place) -> str:
    show, text = stranger._show, stranger._text
    if not isinstance(show, ShowInMarkdown):
        return show(text, nonce)
    where, prefix = place
    if where == "code_block":
        return show.in_code_block(text).replace("\n", f"\n{prefix}")
    if where == "code_span":
        return show.in_code_span(text)
    if where == "link_target":
        return show.in_link_target(text)
    if where == "html":
        return show.in_html(text)
    return f"{prefix}{show(text, nonce)}"


def shown_as(value: object, show: Show) -> object:
    """The same text, shown by another function: for filters such as one for table cells. Our own values pass."""
    if not isinstance(value, Stranger):
        return value
    return Stranger(value._text, value._ledger, show=show, missing=value._missing)


def _plain(text: str | Stranger) -> str:
    return text._text if isinstance(text, Stranger) else text
