"""Detection of private keys in PEM and OpenPGP armour, also truncated, quoted, in one line or in numbered patches."""

from __future__ import annotations

import re
from collections.abc import Iterator

LINE_PREFIX = r"(?:[^A-Za-z\n]{0,20}|[LR][ ]{1,9}[0-9]{1,9}[ ][-+ ][ ])"  # prefix of a line in a quote, string or diff
ENCODED = r"[A-Za-z0-9+/=]"
NEWLINES = r"(?:\\{1,4}[nr]){0,4}"  # escaped, in one line of code

PRIVATE_KEY = re.compile(
    rf"""
    -----BEGIN\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----
    (?: [ \t]?{NEWLINES}{ENCODED}{{16,}}+
      | \n{LINE_PREFIX}{ENCODED}{{16,}}+(?=[^A-Za-z0-9\n]{{0,4}}(?:\n|\Z))(?:[^A-Za-z0-9\n]{{0,4}}(?=\n))?
      | \n{LINE_PREFIX}{ENCODED}{{40,}}+
      | \n{LINE_PREFIX}(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash):[^\n]{{0,200}}
      | \n[^A-Za-z\n]{{0,24}}(?=\n)
    )*
    (?: (?:\n{LINE_PREFIX}|[ \t]?{NEWLINES}){ENCODED}{{1,76}}+  # the last line may be short
        (?=[^A-Za-z0-9\n]{{0,4}}\n[^\n]{{0,24}}-----END|{NEWLINES}[ \t]?-----END) )?
    (?: (?:[^A-Za-z0-9\n]{{0,4}}\n{LINE_PREFIX}|[ \t]?{NEWLINES})
        -----END\ [A-Z0-9 ]{{0,40}}PRIVATE\ KEY(?:\ BLOCK)?-----)?
    """,
    re.VERBOSE,
)


def find_private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each key. Text between the markers that does not look like a key is not included,
    because redacting it could hide code.
    """
    return ((*found.span(), "private-key") for found in PRIVATE_KEY.finditer(text))
