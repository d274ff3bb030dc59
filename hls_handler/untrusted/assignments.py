"""Secrets that are known by the name they are given: `password=...`, `"api_key": "..."`, `--token ...`.

Code that only speaks of passwords must stay readable, or a review would report our own markers: a call, a type, another
name and a placeholder are no secrets. Where it cannot be told, the decision falls for a secret if the value could only
have been made up (a digit, a symbol), and against it if it is a plain word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MADE_BY_PEOPLE = r"pass(?:word|wd|phrase|code)|pwd|(?<=[_-])pass"
MADE_BY_MACHINES = (
    r"(?:api|access|account|private|secret|encryption|signing|master|shared|auth)[_-]?key"
    r"|secret(?:[_-]?access[_-]?key)?|token"
)

ASSIGNMENT = re.compile(
    rf"""
    (?: (?P<name>{MADE_BY_PEOPLE}|{MADE_BY_MACHINES}) [0-9]{{0,3}} \\{{0,3}}["'`]?\]?
        (?P<before>[ \t]{{0,8}}) (?P<sign> => | := | ={{1,3}}(?!>) | :(?!:) ) (?P<after>[ \t]{{0,8}})
      | --(?:[a-z]{{1,20}}-){{0,3}} (?P<flag>{MADE_BY_PEOPLE}|{MADE_BY_MACHINES}) [ ]{{1,4}}(?!-)
      | <(?P<tag>{MADE_BY_PEOPLE}|{MADE_BY_MACHINES})>(?=[^<\n]{{1,300}}</)
    )
    (?P<value>
        (?:[bfru]{{1,2}}(?=["']))?
        (?P<quote>["'`]) (?P<quoted>(?: \\[^\n] | (?!(?P=quote))[^\\\n] )*) (?P<closed>(?P=quote))?
      | (?P<escaped_quote>\\{{1,3}}["'`])
        (?P<escaped>(?: (?!(?P=escaped_quote))[^\n] )*) (?P<escaped_closed>(?P=escaped_quote))?
      | (?P<bare>[^\s"'`<>]{{1,300}}+  # enough to judge by, and little enough to refuse and read again
          (?:(?<=\[redacted:)[ ][^\s"'`<>]{{1,300}}+){{0,4}})
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)

PLACEHOLDER = re.compile(
    r"""[*x.…•_-]{2,} | [<$%{#!&] .* | .*(?: \$\{ | \{\w*\} | \{\{ | %\(\w+\)s | %s ).* | \[redacted.*
      | (?:your|example|changeme|change_me|change-me|placeholder|redacted|dummy|insert|replace).*
      | null | nil | none | true | false | undefined | str | string | bytes | text | varchar | char | bool | boolean
      | int | integer | number | object | any | unknown | never | void | optional | required | inherit | hidden
      | secretstr""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
ELSEWHERE = re.compile(r"https?://|\.{0,2}/|~/|[A-Za-z]:\\")  # an address or a path, where a secret may be found
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+")
CODE_MARK = re.compile(r"[()\[\]{},;&|]")
REST_OF_BARE = re.compile(r"[^\s\"'`<>()\[\]{},;&|]*+")
REST_OF_ENVIRONMENT_LINE = re.compile(r"[^\s\"'`<>]*+")
REST_OF_LINE_IS_BLANK = re.compile(r"[ \t]{0,80}(?:\n|\Z)")
NAMES_ITSELF = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
PASSPHRASE = re.compile(r"[a-z]{3,9}(?: [a-z]{3,9}){3,9}")
OUR_MARK = re.compile(r"\[redacted: [a-z-]{0,30}\Z")  # the name of a kind is no name of a value

SHORTEST_KEY = 8
SHORTEST_WORD_AS_KEY = 16  # without a digit or a symbol


def find_assignments(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each value starts and ends, without its quotes, and its kind."""
    at = 0
    while (found := ASSIGNMENT.search(text, at)) is not None:
        group = next(name for name in ("quoted", "escaped", "bare") if found[name] is not None)
        at = found.start(group)  # a value that is no secret may hold an assignment itself
        if text.startswith("]", found.end("name")) and OUR_MARK.search(text, max(found.start() - 40, 0), found.start()):
            continue
        length = _secret_quoted(found, found[group]) if group != "bare" else _secret_bare(found, found[group])
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


def _secret_quoted(found: re.Match[str], value: str) -> int:
    """How many characters of a quoted value are a secret: all or none."""
    closed = (found["closed"] or found["escaped_closed"]) is not None
    if PLACEHOLDER.fullmatch(value) or ELSEWHERE.match(value):
        return 0
    if any(character.isspace() for character in value):
        return len(value) if closed and _is_password(found) and PASSPHRASE.fullmatch(value) else 0
    if _is_password(found):
        is_secret = len(value) >= 3 and (_made_up(value) or not re.search("passw|pwd", value, re.IGNORECASE))
    else:
        is_secret = _is_key(value) or (_name(found).lower() == "secret" and len(value) >= 6 and _is_word(value))
    return len(value) if is_secret else 0


def _secret_bare(found: re.Match[str], value: str) -> int:
    """How many characters of an unquoted value are a secret, from its beginning."""
    is_environment_line = _is_environment_line(found)
    cut = None if is_environment_line else CODE_MARK.search(value)
    core, mark = (value[: cut.start()], cut[0]) if cut else (value, "")
    core = core.rstrip(".:!?")
    if not core or mark in {"(", "[", "{"} or PLACEHOLDER.fullmatch(core) or ELSEWHERE.match(core):
        return 0
    names_a_variable = mark and core.isidentifier() and not _is_key(core) and not _is_listed(found, mark)
    if names_a_variable or DOTTED_NAME.fullmatch(core):
        return 0
    if _is_password(found):
        is_secret = len(core) >= 4 if core.isdigit() else _made_up(core) or _is_plain_setting(found, core)
    else:
        is_secret = _is_key(core) or (is_environment_line and len(core) >= SHORTEST_KEY and _is_word(core))
    if not is_secret:
        return 0
    rest = (REST_OF_ENVIRONMENT_LINE if is_environment_line else REST_OF_BARE).match(found.string, found.end())
    return rest.end() - found.start("bare") if rest and rest[0] and not cut else len(core)


def _is_key(value: str) -> bool:
    """Whether it looks as keys and tokens do: long, and not made of words or of a number alone."""
    if len(value) < SHORTEST_KEY or value.isdigit():
        return False
    return _made_up(value) or (len(value) >= SHORTEST_WORD_AS_KEY and _is_word(value))


def _made_up(value: str) -> bool:
    """Whether a digit or a symbol is in it that names do not have."""
    return any(character.isdigit() or not (character.isalnum() or character in "_-.:") for character in value)


def _is_word(value: str) -> bool:
    """Letters only, and not the name of a secret."""
    return value.isalpha() and not NAMES_ITSELF.search(value)


def _is_environment_line(found: re.Match[str]) -> bool:
    """DB_PASSWORD=..."""
    return found["sign"] == "=" and not found["before"] and not found["after"] and found["name"].isupper()


def _is_listed(found: re.Match[str], mark: str) -> bool:
    """user=x;password=y;  and  ?user=x&password=y&"""
    return mark in ";&" and found["sign"] == "=" and not found["before"] and not found["after"]


def _is_plain_setting(found: re.Match[str], value: str) -> bool:
    """A line that says `password=word` or `password: word` and nothing else, or an environment's."""
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
