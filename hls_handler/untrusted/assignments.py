r"""Secrets that follow a name: `password=...`, `"api_key": "..."`, `--token ...`,
`**Password:** ...`.

The value is hidden whatever it looks like, unless it is a placeholder such as `${TOKEN}` or
`your-token`. Without quotes, it ends at a blank. Such a value is prose if a word is followed by
another one ("token: it expires"), but not after `=` or `:=`. This is for text that is not code: in
code, most of these values are calls and other names.

Every pattern takes linear time (`redaction.py`), and a value that is not hidden is at most
`MAX_PLACEHOLDER` long or ends at a quote, so it is not read again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSWORDS = (
    r"pass(?:word|wd|phrase|code)|pwd|(?<=[A-Za-z0-9][_-])pass"
    # a test's "pass: 12" is none
    r"""|(?<![A-Za-z0-9_-])pass(?=["'`]?[ \t]{0,8}[:=]>?[ \t]{0,8}["'])"""
)
KEYS = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[ _-]?key"
    r"|secret(?:[ _-]?access[ _-]?key)?|token"
)
PARTS_OF_NAMES = ("pass", "pwd", "key", "secret", "token")
"""Each name contains one of these. To look for them is much faster than to search for an
assignment.
"""

NAME = rf"(?:{PASSWORDS}|{KEYS})[0-9]{{0,3}}"

BEFORE_VALUE = re.compile(
    rf"""
    (?P<name>{NAME}) \\{{0,3}}(?:["'`]\]?)?(?:[*_]{{1,3}}|</[a-z]{{1,10}}>)? [ \t]{{0,8}}
      (?P<sign>=>|:=|={{1,3}}|:(?!:)) (?:[*_]{{1,3}}(?=\s)|</[a-z]{{1,10}}>)?
  | --(?:[a-z]{{1,20}}-){{0,3}}(?P<option>{NAME})(?=[ ]{{1,8}}[^ -])
  | ^[ \t>+-]{{0,20}}(?-i:ENV|setx)[ ]{{1,4}}
      [A-Z0-9_]{{0,60}}?(?P<variable>{NAME})(?=[ ]{{1,4}}[^ =])
  # | password | value |
  | \|[ \t*_`]{{0,20}}[\w-]{{0,40}}?(?P<cell>{NAME})[ \t*_`]{{0,20}}\|(?!\|)
  | <(?P<tag>{NAME})>
  # name: PASSWORD, then value:
  | \bname["']?[ \t]{{0,4}}:[ \t]{{0,4}}["']?[\w.-]{{0,60}}?(?P<entry>{NAME})["']?
      (?:,?[ \t]{{0,8}}\n[ \t>+-]{{0,80}}|,[ \t]{{0,8}})["']?value["']?[ \t]{{0,4}}:
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
NAMES = ("name", "option", "variable", "cell", "tag", "entry")
QUOTED = re.compile(
    r"""[ \t]{0,8}(?:[bfru]{1,2}(?=["']))?
    (?: (?P<quote>(?P<mark>["'`])(?:(?P=mark){2})?)
        (?P<value>(?: \\[^\n] | (?!(?P=quote))[^\\\n] )*)
      | (?P<escape>\\{1,3}["'`]) (?P<escaped>(?: (?!(?P=escape))[^\n] )*) )""",
    re.VERBOSE | re.IGNORECASE,
)
ELEMENT = re.compile(r"[^<\n]{1,300}(?=</)")
MAX_PLACEHOLDER = 200
# not the "&" of "token=x&user=y"
UNIT = r"""(?:\[redacted:[ ][a-z-]{1,30}\]|(?![&;][\w.-]{1,40}=)[^\s"'`<>])"""
BARE = re.compile(rf"[ \t]{{0,8}}(?P<value>{UNIT}{{1,{MAX_PLACEHOLDER}}})")
REST_OF_BARE = re.compile(rf"{UNIT}*")
WORD_BEFORE_WORD = re.compile(r"[ \t]{0,8}[^\W\d_]{1,40}[.,:;!?)]{0,3}[ \t]{1,8}[\w(]")
END_PUNCTUATION = ".,:;!?)}|"

PLACEHOLDER = re.compile(
    rf"""[\W_]* | [x*.…•_-]+ | \$\w* | (?:\$[({{]|\{{|%[({{]|<|&[#\w]+;).*
      | %[sdv] | %\w+% | \[redacted.* | \[[a-z _-]*\]?
      | (?:change[_-]?me|placeholder|redacted|dummy|hidden|masked|filtered|removed)[\W_]*
      | (?:your|insert|replace|example)[\W_].* | your[a-z]* | example
      | null|nil|none|true|false|undefined|empty|unset|str|string|bytes|text|varchar|char|bool
      | boolean|int|integer|number|object|any|unknown|never|void|optional|required|invalid|expired
      | missing|inherit|secretstr
      | pass|{PASSWORDS}|{KEYS}""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_placeholder(value: str) -> bool:
    """Return True for "${TOKEN}", "your-token", "xxx", "null", "string" or "password", which are no
    secrets.
    """
    start = value[: MAX_PLACEHOLDER + 1]
    return (
        PLACEHOLDER.fullmatch(start) is not None
        or PLACEHOLDER.fullmatch(start.rstrip(END_PUNCTUATION)) is not None
    )


def find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of each secret that follows a name. For "token=ab12cd34ef", yield
    (6, 16, "token").
    """
    folded = text.casefold()
    if not any(part in folded for part in PARTS_OF_NAMES):
        return
    at = 0
    while (match := BEFORE_VALUE.search(text, at)) is not None:
        at = match.end()
        value = _find_value(match)
        if value is not None and not is_placeholder(text[slice(*value)]):
            yield *value, _kind(match)
            at = value[1]


def _find_value(match: re.Match[str]) -> tuple[int, int] | None:
    text = match.string
    at = match.end()
    if match["tag"]:
        element = ELEMENT.match(text, at)
        return element.span() if element is not None else None
    quoted = QUOTED.match(text, at)
    if quoted is not None:
        group = "value" if quoted["quote"] else "escaped"
        return quoted.span(group)
    bare = BARE.match(text, at)
    if bare is None or (match["sign"] not in ("=", ":=") and WORD_BEFORE_WORD.match(text, at)):
        return None
    start, end = bare.span("value")
    if not is_placeholder(bare["value"]):
        rest = REST_OF_BARE.match(text, end)
        assert rest is not None  # it may be empty
        end = rest.end()
    return start, start + len(text[start:end].rstrip(END_PUNCTUATION))


def _kind(match: re.Match[str]) -> str:
    name = next(match[group] for group in NAMES if match[group]).casefold().rstrip("0123456789")
    if name.startswith("pass") or name == "pwd":
        return "password"
    return name.replace("_", "-").replace(" ", "-")
