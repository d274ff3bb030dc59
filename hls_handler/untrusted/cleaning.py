"""Cleaning: a chain of small pure functions that take away what people do not see, and what Claude would.

Each takes a text and gives a text, and does one thing. `clean` is the chain; `for_prompt` is what a prompt shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hls_handler.untrusted.redaction import redact
from hls_handler.untrusted.tokens import RESERVED

LONGEST_TEXT = 60_000
"""Characters of one text in a prompt. GitHub's own limit for a body is 65,536."""

SURROGATES = re.compile("[\ud800-\udfff]")
OTHER_LINE_ENDS = re.compile("[\x0b\x0c\r\x85\u2028\u2029]")
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TAG_CHARACTERS = re.compile("[\U000e0000-\U000e007f]")
INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0080-\U000e0fff]"
)
JOINERS = re.compile("[\u200c\u200d\ufe0e\ufe0f]+")
LONGEST_JOINER = 2  # a heart on fire: heart, "as an emoji", "joined to", fire

COMMENT_OPEN, COMMENT_CLOSE = "<!--", "-->"
UNCLOSED_COMMENT = re.compile(r"^[ \t>*+\-0-9.)]*+<!--", re.MULTILINE)  # behind spaces and marks of quotes and lists

DELIMITER = re.compile(r"<(?=\s{0,9}/?\s{0,9}stranger\b)", re.IGNORECASE)


class Code(str):
    """Our own mark on a stranger's text that is code or a diff: people see all of it, so no comment is taken out."""

    __slots__ = ()


def without_surrogates(text: str) -> str:
    """Halves of a character, which JSON can carry and UTF-8 cannot, become U+FFFD."""
    return SURROGATES.sub("\ufffd", text)


def with_plain_line_ends(text: str) -> str:
    """Windows' line ends become newlines, all others a space: a numbered line must not be able to hold a second one."""
    return OTHER_LINE_ENDS.sub(" ", text.replace("\r\n", "\n"))


def without_controls(text: str) -> str:
    """All but newline and tab."""
    return CONTROLS.sub("", text)


def without_bidi_controls(text: str) -> str:
    """What makes a text read otherwise than it is written ("Trojan Source", CVE-2021-42574)."""
    return BIDI_CONTROLS.sub("", text)


def without_tag_characters(text: str) -> str:
    """An invisible copy of ASCII. The flags of England, Scotland and Wales become black ones."""
    return TAG_CHARACTERS.sub("", text)


def without_invisible(text: str) -> str:
    """Characters without width or ink. Joiners and emoji styles stay where a script or an emoji may need them."""
    return JOINERS.sub(_needed_joiner, INVISIBLE.sub("", text))


def _needed_joiner(found: re.Match[str]) -> str:
    """One or two behind a visible character beyond ASCII are spelling; more, or elsewhere, are a hiding place."""
    before = found.string[found.start() - 1] if found.start() else "a"
    is_spelling = len(found[0]) <= LONGEST_JOINER and not before.isascii() and not before.isspace()
    return found[0] if is_spelling else ""


def without_reserved(text: str) -> str:
    """The private-use characters that tokens are made of."""
    return RESERVED.sub("", text)


def without_html_comments(text: str) -> str:
    """What GitHub does not show: closed comments, and everything behind one that begins a line and is not closed.

    An unclosed one inside a line is ordinary text to GitHub, and stays.
    """
    kept: list[str] = []
    at = 0
    while (start := text.find(COMMENT_OPEN, at)) >= 0:
        end = text.find(COMMENT_CLOSE, start + 2)  # "<!-->" is a whole comment
        if end < 0:
            break
        kept.append(text[at:start])
        if text.endswith(("<", "<!", "<!-"), at, start):  # what is left must not make a new one
            kept.append(" ")
        at = end + len(COMMENT_CLOSE)
    rest = "".join([*kept, text[at:]])
    unclosed = UNCLOSED_COMMENT.search(rest)
    if unclosed is None:
        return rest
    start = unclosed.end() - len(COMMENT_OPEN)
    return f"{rest[:start]}[unclosed HTML comment: {len(rest) - start:,} characters cut]"


CODE_CHAIN: tuple[Callable[[str], str], ...] = (
    without_surrogates,
    with_plain_line_ends,
    without_controls,
    without_bidi_controls,
    without_tag_characters,
    without_invisible,
    without_reserved,
)


def clean(text: str) -> str:
    """The whole chain; for `Code` all but the HTML comments."""
    is_code = isinstance(text, Code)
    for step in CODE_CHAIN:
        text = step(text)
    return text if is_code else without_html_comments(text)


def cap(text: str, n: int) -> str:
    """At most `n` characters of a text, and a remark on how many are missing."""
    return text if len(text) <= n else f"{text[:n]}… [{len(text) - n:,} characters cut]"


def for_prompt(text: str, nonce: str, *, limit: int = LONGEST_TEXT) -> str:
    """A stranger's text as a prompt shows it: cleaned, redacted, capped, between delimiters with the nonce.

    Redacted before it is capped, because half a credential is not recognised.
    """
    inside = defused(cap(redact(clean(text)), limit), nonce)
    frame = "\n" if "\n" in inside else ""
    return f"<stranger {nonce}>{frame}{inside}{frame}</stranger {nonce}>"


def defused(text: str, nonce: str) -> str:
    """No delimiter can be read into the text: not one with our nonce, and not one that looks like it."""
    return DELIMITER.sub("‹", text.replace(nonce, "…"))
