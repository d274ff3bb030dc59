"""Untrusted text as a template sees it: it can be compared, measured and shown, but not changed.

A template outputs a placeholder for each text. `find_contexts` finds the Markdown around the
placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import total_ordering
from typing import Literal, NamedTuple

from hls_handler.errors import PromptError
from hls_handler.untrusted.cleaning import (
    LONGEST_TEXT,
    ZERO_WIDTH_SPACE,
    CodeText,
    clean_and_redact,
    truncate,
)
from hls_handler.untrusted.markdown import (
    format_code_span,
    sanitize_code_block,
    sanitize_code_span,
    sanitize_html,
    sanitize_link_target,
)
from hls_handler.untrusted.references import References

# private-use characters: templates do not contain them
PLACEHOLDER_START = "\ue000"
PLACEHOLDER_END = "\ue001"
# not 0 to 9, to recognise cut ones
DIGITS = "\ue010\ue011\ue012\ue013\ue014\ue015\ue016\ue017\ue018\ue019"

PLACEHOLDER = re.compile(f"{PLACEHOLDER_START}([{DIGITS}]+){PLACEHOLDER_END}")

PLACEHOLDER_FRAGMENT = re.compile(
    r"[\ue000-\ue01f]|\\ue0[01][0-9a-f]|%ee%80%[89][0-9a-f]", re.IGNORECASE
)
"""Matches a character of a placeholder, also as `repr`, `tojson` or `urlencode` write it."""

EXCERPT_ADVICE = "use excerpt(n) or lines(a, b) for that"


class BrokenPlaceholder(PromptError):
    """A template cut or changed an untrusted text, for example with `text[:10]`."""


def parse_number(digits: str) -> int:
    """Return the number of a placeholder from its digits, which are characters of `DIGITS`."""
    return int("".join(str(DIGITS.index(digit)) for digit in digits))


def contains_placeholder(text: str) -> bool:
    """Return True if a rendered text contains a placeholder or a part of one."""
    return PLACEHOLDER_FRAGMENT.search(text) is not None


class BrokenPlace(NamedTuple):
    line: int
    before: str  # at most 40 characters


def find_broken_placeholder(rendered: str) -> BrokenPlace | None:
    """Return the place of the first broken placeholder; None if all are whole."""
    without_whole = PLACEHOLDER.sub(lambda match: " " * len(match[0]), rendered)
    fragment = PLACEHOLDER_FRAGMENT.search(without_whole)
    if fragment is None:
        return None
    before = without_whole[: fragment.start()]
    return BrokenPlace(before.count("\n") + 1, before.rpartition("\n")[2].strip()[-40:])


MarkdownContext = tuple[
    Literal[
        "text", "link_text", "code_span", "whole_code_span", "code_block", "link_target", "html"
    ],
    str,
]
"""(kind of Markdown around a placeholder, prefix). For a text, the prefix is U+200B or "", inserted
before the text. For "code_block", it is the block's indentation and quote marks, inserted before
each line but the first.
"""

FENCE = re.compile(r"`{3,}|~{3,}")
TAG = re.compile(r"</?[A-Za-z]")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")
OPENING = re.compile(r"[^`]*(`+)")
CLOSING = re.compile("`*")
LINK_TARGET = re.compile(r"\]\([^()\s]*$")
LINK_TEXT = re.compile(r"\[[^\[\]]*$")
JOINING_ENDS = ("!", "@", "<", "&", "]", "\\", PLACEHOLDER_END)
"""Characters that, right before a placeholder, could form an image, mention, tag, entity or link
with its text.
"""


def find_contexts(rendered: str) -> Iterator[MarkdownContext]:
    """Yield the Markdown context of each placeholder, in order. Simple rules suffice, because
    templates are trusted.
    """
    open_fence = ""
    in_html_block = False
    for line in rendered.split("\n"):
        text = line.lstrip(" \t>")
        prefix = line[: len(line) - len(text)]
        opening = FENCE.match(text)
        if open_fence:
            if text.startswith(open_fence) and not text.strip(open_fence[0]).strip():
                open_fence = ""
        elif opening is not None and "`" not in text.lstrip("`"):
            open_fence = opening[0]
        in_html_block = bool(text.strip()) and (in_html_block or TAG.match(text) is not None)
        for placeholder in PLACEHOLDER.finditer(line):
            if open_fence:
                yield "code_block", prefix
            else:
                before = CODE_SPAN.sub("", line[: placeholder.start()])
                after = line[placeholder.end() :]
                yield _context_in_line(before, after, in_html=in_html_block)


def _context_in_line(before: str, after: str, *, in_html: bool) -> MarkdownContext:
    if in_html or TAG.search(before):
        return "html", ""
    unescaped = before.replace("\\`", "")
    if "`" in unescaped:
        opening = OPENING.fullmatch(unescaped)
        closing = CLOSING.match(after)
        if opening and closing and opening[1] == closing[0]:
            return "whole_code_span", ""
        return "code_span", ""
    if LINK_TARGET.search(before):
        return "link_target", ""
    separator = ZERO_WIDTH_SPACE if before.endswith(JOINING_ENDS) else ""
    if LINK_TEXT.search(before):
        return "link_text", separator
    return "text", separator


TextFormatter = Callable[[str, str], str]
"""Function (text, nonce) -> text to show. Delimiters contain the nonce, so that no author can guess
them.
"""


Sanitizer = Callable[[str, References | None], str]


@dataclass(frozen=True, slots=True)
class CommentFormatter:
    """A `TextFormatter` for comments. `in_context` sanitizes a text for the Markdown around its
    placeholder.
    """

    sanitize: Sanitizer  # for text outside of code, link targets and HTML
    references: References | None = None  # None: references stay as they are

    # a comment has no delimiters
    def __call__(self, text: str, nonce: str, /) -> str:  # noqa: ARG002
        return self.sanitize(text, self.references)

    def in_context(self, text: str, context: MarkdownContext) -> str:
        kind, prefix = context
        match kind:
            case "text":
                return f"{prefix}{self.sanitize(text, self.references)}"
            case "link_text":
                references = self.references and replace(self.references, is_link_text=True)
                return f"{prefix}{self.sanitize(text, references)}"
            case "code_span":
                return sanitize_code_span(text)
            case "whole_code_span":
                # between the delimiters of the template, which are at least one backtick
                return format_code_span(text)[1:-1]
            case "code_block":
                return sanitize_code_block(text).replace("\n", f"\n{prefix}")
            case "link_target":
                return sanitize_link_target(text, self.references)
            case "html":
                return sanitize_html(text, self.references)


@total_ordering
class UntrustedText:
    """An untrusted text as a template sees it. `str(text)` returns a placeholder, never the text.

    The first `str(text)` appends the object to `rendered_texts`. The placeholder contains the index
    in that list. Templates cannot read `_text`, because their sandbox forbids names that begin with
    an underscore.
    """

    __slots__ = ("_missing", "_placeholder", "_rendered", "_show", "_text")

    def __init__(
        self,
        text: str,
        rendered_texts: list[UntrustedText],
        *,
        show: TextFormatter,
        missing: int = 0,
    ) -> None:
        """`missing` is the number of characters by which `text` is shorter than the original
        text.
        """
        self._text = text
        self._missing = missing
        self._rendered = rendered_texts
        self._show = show
        self._placeholder: str | None = None

    def excerpt(self, n: int) -> UntrustedText:
        """Return the first `n` characters. If the text is longer, the number of cut characters
        follows.

        The text is cleaned and redacted first, because half a credential would not be recognised.
        """
        whole = self._sanitized()
        return self._with(truncate(whole, n), missing=len(whole) - n)

    def lines(self, a: int, b: int) -> UntrustedText:
        """Return lines `a` to `b` inclusive, counted from 1, of the cleaned and redacted text."""
        whole = self._sanitized()
        part = "\n".join(whole.split("\n")[max(a, 1) - 1 : max(b, 0)])
        return self._with(part, missing=len(whole) - len(part))

    def startswith(self, part: str | UntrustedText) -> bool:
        return self._text.startswith(_plain(part))

    def endswith(self, part: str | UntrustedText) -> bool:
        return self._text.endswith(_plain(part))

    def __str__(self) -> str:
        if self._placeholder is None:
            number = "".join(DIGITS[int(digit)] for digit in str(len(self._rendered)))
            self._placeholder = f"{PLACEHOLDER_START}{number}{PLACEHOLDER_END}"
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
        if isinstance(other, UntrustedText):
            other = other._text
        return self._text == other

    def __lt__(self, other: str | UntrustedText) -> bool:
        return self._text < _plain(other)

    def __contains__(self, part: str | UntrustedText) -> bool:
        return _plain(part) in self._text

    def __getitem__(self, index: object) -> str:
        """Raise `TypeError` for an index of type str, else `BrokenPlaceholder`.

        If `text.name` is missing, Jinja tries `text["name"]`. A `TypeError` makes Jinja report an
        undefined attribute.
        """
        if isinstance(index, str):
            raise TypeError(f"a text from an event has no attribute {index}")
        message = "a template takes a part of a text that comes from an event"
        raise BrokenPlaceholder([f"{message}; {EXCERPT_ADVICE}"])

    def _sanitized(self) -> str:
        return clean_and_redact(self._text)

    def _with(self, text: str, *, missing: int) -> UntrustedText:
        if isinstance(self._text, CodeText):
            text = CodeText(text)
        missing = self._missing + max(missing, 0)
        return UntrustedText(text, self._rendered, show=self._show, missing=missing)


def text_of(untrusted: UntrustedText) -> str:
    return untrusted._text


def count_missing(untrusted: UntrustedText) -> int:
    """Return the number of characters that were cut off by `excerpt`, by `lines` or by the limit
    `LONGEST_TEXT`.

    Characters that cleaning removed are not counted.
    """
    missing = untrusted._missing
    if len(untrusted._text) > LONGEST_TEXT:
        missing += max(len(untrusted._sanitized()) - LONGEST_TEXT, 0)
    return missing


def format_text(untrusted: UntrustedText, nonce: str, context: MarkdownContext) -> str:
    """Return the text that replaces the placeholder of `untrusted` in a rendered text."""
    show = untrusted._show
    if isinstance(show, CommentFormatter):
        return show.in_context(untrusted._text, context)
    return show(untrusted._text, nonce)


def with_formatter(value: object, show: TextFormatter) -> object:
    """If `value` is an `UntrustedText`, return a copy that `show` formats, else return `value`."""
    if not isinstance(value, UntrustedText):
        return value
    return UntrustedText(value._text, value._rendered, show=show, missing=value._missing)


def with_sanitizer(value: object, sanitize: Sanitizer) -> object:
    """If `value` is an `UntrustedText`, return a copy that comments sanitize so, else return
    `value`.
    """
    show = CommentFormatter(sanitize)
    if isinstance(value, UntrustedText) and isinstance(value._show, CommentFormatter):
        show = replace(value._show, sanitize=sanitize)
    return with_formatter(value, show)


def _plain(text: str | UntrustedText) -> str:
    if isinstance(text, UntrustedText):
        return text._text
    return text
