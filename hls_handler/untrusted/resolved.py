"""A text as Markdown shows it: backslash escapes and character references resolved, and where each character stood."""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # quotes stay escaped: in code those are the inner ones
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The text, and for each character of it, and for its end, the index in the source."""

    text: str
    origins: Sequence[int]


def resolve(source: str) -> Resolved:
    """One level of escapes, wherever they stand: in code, where Markdown shows them, they are resolved too."""
    if ESCAPE.search(source) is None:
        return Resolved(source, range(len(source) + 1))
    written: list[str] = []
    origins = array("L")
    at = 0
    for found in ESCAPE.finditer(source):
        character = found[1] or html.unescape(found[0])
        if len(character) != 1:  # no reference, or one to a sign that is in no credential
            continue
        written += [source[at : found.start()], character]
        origins.extend(range(at, found.start() + 1))
        at = found.end()
    origins.extend(range(at, len(source) + 1))
    return Resolved("".join([*written, source[at:]]), origins)
