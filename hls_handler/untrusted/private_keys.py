"""Private keys in PEM and OpenPGP armour: whole, cut off, quoted, in one line, or in a numbered patch."""

from __future__ import annotations

import re
from collections.abc import Iterator

MARK = r"(?:[^A-Za-z\n]{0,20}|[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])"  # of a quote, a string, a diff: whatever is no text
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # spelled, in one line of code

PRIVATE_KEY = re.compile(
    rf"""
    -----BEGIN\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----
    (?: [ \t]?{NEWLINES}{ENCODED}{{16,}}+
      | \n{MARK}{ENCODED}{{16,}}+(?=[^A-Za-z0-9\n]{{0,4}}(?:\n|\Z))(?:[^A-Za-z0-9\n]{{0,4}}(?=\n))?
      | \n{MARK}{ENCODED}{{40,}}+
      | \n{MARK}(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n]{{0,200}}
      | \n[^A-Za-z\n]{{0,24}}(?=\n)
    )*
    (?: (?:\n{MARK}|[ \t]?{NEWLINES}){ENCODED}{{1,76}}+  # the last line may be short
        (?=[^A-Za-z0-9\n]{{0,4}}\n[^\n]{{0,24}}-----END|{NEWLINES}[ \t]?-----END) )?
    (?: (?:[^A-Za-z0-9\n]{{0,4}}\n{MARK}|[ \t]?{NEWLINES})
        -----END\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----)?
    """,
    re.VERBOSE,
)


def find_private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    """What stands between the marks and does not look like a key stays: it must not be a place to hide code in."""
    return ((*found.span(), "private-key") for found in PRIVATE_KEY.finditer(text))
