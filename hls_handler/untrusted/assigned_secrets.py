"""Detection of secrets by the name they are assigned to: `password=...`, `"api_key": "..."`, `--token ...`.

Code that mentions passwords must stay readable, or reviews would report our redaction markers: calls, types, other
names and dummy values are not secrets. In doubtful cases a value counts as a secret if it contains a digit or a symbol,
and not if it is a plain word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PASSWORD_NAMES = r"pass(?:word|wd|phrase|code)|pwd|(?<=[_-])pass"  # noqa: S105 (a pattern)
KEY_NAMES = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[_-]?key"
    r"|secret(?:[_-]?access[_-]?key)?|token"
)

ASSIGNMENT = re.compile(
    rf"""
    (?: (?P<name>{PASSWORD_NAMES}|{KEY_NAMES}) [0-9]{{0,3}} \\{{0,3}}["'`]?\]?
        (?P<before>[ \t]{{0,8}}) (?P<sign> => | := | ={{1,3}}(?!>) | :(?!:) ) (?P<after>[ \t]{{0,8}})
      | --(?:[a-z]{{1,20}}-){{0,3}} (?P<flag>{PASSWORD_NAMES}|{KEY_NAMES}) [ ]{{1,4}}(?!-)
      | <(?P<tag>{PASSWORD_NAMES}|{KEY_NAMES})>(?=[^<\n]{{1,300}}</)
    )
    (?P<value>
        (?:[bfru]{{1,2}}(?=["']))?
        (?P<quote>["'`]) (?P<quoted>(?: \\[^\n] | (?!(?P=quote))[^\\\n] )*) (?P<closed>(?P=quote))?
      | (?P<escaped_quote>\\{{1,3}}["'`])
        (?P<escaped>(?: (?!(?P=escaped_quote))[^\n] )*) (?P<escaped_closed>(?P=escaped_quote))?
      | (?P<bare>[^\s"'`<>]{{1,300}}+  # enough to classify, and short enough to scan again if it is rejected
          (?:(?<=\[redacted:)[ ][^\s"'`<>]{{1,300}}+){{0,4}})
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

DUMMY_VALUE = re.compile(
    r"""[*x.…•_-]{2,} | [<$%{#!&] .* | .*(?: \$\{ | \{\w*\} | \{\{ | %\(\w+\)s | %s ).* | \[redacted.*
      | (?:your|example|changeme|change_me|change-me|placeholder|redacted|dummy|insert|replace).*
      | null | nil | none | true | false | undefined | str | string | bytes | text | varchar | char | bool | boolean
      | int | integer | number | object | any | unknown | never | void | optional | required | inherit | hidden
      | secretstr""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
URL_OR_PATH = re.compile(r"https?://|\.{0,2}/|~/|[A-Za-z]:\\")  # a URL or path, which may lead to a secret
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+")
CODE_PUNCTUATION = re.compile(r"[()\[\]{},;&|]")
REST_OF_BARE = re.compile(r"[^\s\"'`<>()\[\]{},;&|]*+")
REST_OF_ENVIRONMENT_LINE = re.compile(r"[^\s\"'`<>]*+")
REST_OF_LINE_IS_BLANK = re.compile(r"[ \t]{0,80}(?:\n|\Z)")
SECRET_WORD = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
PASSPHRASE = re.compile(r"[a-z]{3,9}(?: [a-z]{3,9}){3,9}")
OPEN_REDACTION_MARKER = re.compile(r"\[redacted: [a-z-]{0,30}\Z")  # its kind is not the name of a value

MIN_KEY_CHARS = 8
MIN_WORD_KEY_CHARS = 16  # without a digit or a symbol


def find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end of each value, without its quotes, and its kind."""
    at = 0
    while (found := ASSIGNMENT.search(text, at)) is not None:
        group = next(name for name in ("quoted", "escaped", "bare") if found[name] is not None)
        at = found.start(group)  # a value that is not a secret may contain an assignment
        if text.startswith("]", found.end("name")) and OPEN_REDACTION_MARKER.search(
            text, max(found.start() - 40, 0), found.start()
        ):
            continue
        length = (
            _count_quoted_secret(found, found[group]) if group != "bare" else _count_bare_secret(found, found[group])
        )
        if length:
            yield at, at + length, _kind(found)
            at += length


def _kind(found: re.Match[str]) -> str:
    name = _name(found).lower().replace("_", "-")
    return "password" if _is_password(found) else name


def _name(found: re.Match[str]) -> str:
    return found["name"] or found["flag"] or found["tag"]


def _is_password(found: re.Match[str]) -> bool:
    return re.fullmatch(r"pass.*|pwd", _name(found), re.IGNORECASE) is not None


def _count_quoted_secret(found: re.Match[str], value: str) -> int:
    """Number of characters of a quoted value that are secret: all or none."""
    closed = (found["closed"] or found["escaped_closed"]) is not None
    if DUMMY_VALUE.fullmatch(value) or URL_OR_PATH.match(value):
        return 0
    if any(character.isspace() for character in value):
        return len(value) if closed and _is_password(found) and PASSPHRASE.fullmatch(value) else 0
    if _is_password(found):
        is_secret = len(value) >= 3 and (
            _has_digit_or_symbol(value) or not re.search("passw|pwd", value, re.IGNORECASE)
        )
    else:
        is_secret = _is_key(value) or (_name(found).lower() == "secret" and len(value) >= 6 and _is_word(value))
    return len(value) if is_secret else 0


def _count_bare_secret(found: re.Match[str], value: str) -> int:
    """Number of characters at the start of an unquoted value that are secret."""
    is_environment_line = _is_environment_line(found)
    cut = None if is_environment_line else CODE_PUNCTUATION.search(value)
    core, mark = (value[: cut.start()], cut[0]) if cut else (value, "")
    core = core.rstrip(".:!?")
    if not core or mark in {"(", "[", "{"} or DUMMY_VALUE.fullmatch(core) or URL_OR_PATH.match(core):
        return 0
    names_a_variable = mark and core.isidentifier() and not _is_key(core) and not _is_listed(found, mark)
    if names_a_variable or DOTTED_NAME.fullmatch(core):
        return 0
    if _is_password(found):
        is_secret = len(core) >= 4 if core.isdigit() else _has_digit_or_symbol(core) or _is_plain_setting(found, core)
    else:
        is_secret = _is_key(core) or (is_environment_line and len(core) >= MIN_KEY_CHARS and _is_word(core))
    if not is_secret:
        return 0
    rest = (REST_OF_ENVIRONMENT_LINE if is_environment_line else REST_OF_BARE).match(found.string, found.end())
    return rest.end() - found.start("bare") if rest and rest[0] and not cut else len(core)


def _is_key(value: str) -> bool:
    """Return True if the value looks like a key or token: long, and neither a number nor made of words."""
    if len(value) < MIN_KEY_CHARS or value.isdigit():
        return False
    return _has_digit_or_symbol(value) or (len(value) >= MIN_WORD_KEY_CHARS and _is_word(value))


def _has_digit_or_symbol(value: str) -> bool:
    """Return True if the value contains a digit, or a symbol that names do not contain."""
    return any(character.isdigit() or not (character.isalnum() or character in "_-.:") for character in value)


def _is_word(value: str) -> bool:
    """Return True if the value consists of letters and is not the name of a secret."""
    return value.isalpha() and not SECRET_WORD.search(value)


def _is_environment_line(found: re.Match[str]) -> bool:
    """Return True for a line such as DB_PASSWORD=..."""
    return found["sign"] == "=" and not found["before"] and not found["after"] and found["name"].isupper()


def _is_listed(found: re.Match[str], mark: str) -> bool:
    """Return True inside lists such as user=x;password=y; and ?user=x&password=y&"""
    return mark in ";&" and found["sign"] == "=" and not found["before"] and not found["after"]


def _is_plain_setting(found: re.Match[str], value: str) -> bool:
    """Return True for a line with only `password=word` or `password: word`, or an environment line."""
    if not _is_word(value):
        return False
    if _is_environment_line(found):
        return True
    if not REST_OF_LINE_IS_BLANK.match(found.string, found.end()):
        return False
    before = found.string[max(found.start() - 80, 0) : found.start()].rpartition("\n")[2]
    if found["sign"] == "=":
        return not before and not found["before"] and not found["after"]
    return found["sign"] == ":" and value.islower() and re.fullmatch(r"[\s\w-]*", before) is not None
