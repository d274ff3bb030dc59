"""Resolution of Markdown's backslash escapes and character references, with the origin of each character."""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

ESCAPE = re.compile(
    r"\\([!#-&(-/:-@\[-_{-~])"  # quotes stay escaped: in code they are inside a string
    r"|&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Text, and for each of its characters and its end the index in the source."""

    text: str
    origins: Sequence[int]


def resolve(source: str) -> Resolved:
    """Resolve one level of escapes everywhere, even in code, where Markdown does not."""
    if ESCAPE.search(source) is None:
        return Resolved(source, range(len(source) + 1))
    parts: list[str] = []
    origins = array("L")
    at = 0
    for found in ESCAPE.finditer(source):
        character = found[1] or html.unescape(found[0])
        if len(character) != 1:  # not a reference, or to more than one character, which no credential contains
            continue
        parts += [source[at : found.start()], character]
        origins.extend(range(at, found.start() + 1))
        at = found.end()
    origins.extend(range(at, len(source) + 1))
    return Resolved("".join([*parts, source[at:]]), origins)
