"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file.

https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.settings.path_globs import ANY_FOLDERS, match_parts

Attribute = Literal["generated", "vendored"]

NAMES: Mapping[str, Attribute] = {f"linguist-{name}": name for name in get_args(Attribute)}
SIGNS: Mapping[str, bool | None] = {"-": False, "!": None}  # None: as if no line had set it
VALUES: Mapping[str | None, bool] = {None: True, "true": True, "false": False}
STATE = re.compile(r"([-!]?)([A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(.*))?")
BLANKS = re.compile(r"[ \t\r]+")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t\r]*(.*)')
STARS = re.compile(r"(?<![^/])\*{2,}(?![^/])")  # for git, `***` matches any folders as `**` does
MACRO = "[attr]"
MAX_RULES = 500  # lines that set one of the attributes; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines

UNREAD = re.compile(r'[][\\"?]')
"""Matches a pattern that HLS does not read as git does: sets, escapes, and `?` for one byte."""

WIDENED = re.compile(r"\[[^]]+\]|\\(?:[0-7]{3}|.)|\?")
"""Matches parts of such a pattern for which a star also matches what they match."""


@dataclass(frozen=True, slots=True)
class AttributeRule:
    parts: Sequence[str]  # of the pattern, one for each folder and the last for the name
    states: Mapping[Attribute, bool | None]


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[AttributeRule, ...] = ()

    def find(self, path: str) -> Mapping[Attribute, bool]:
        """Return the attributes that are set for a file to true or false."""
        parts = path.split("/")
        values = dict[Attribute, bool | None]()
        for rule in self.rules:
            if match_parts(rule.parts, parts):
                values.update(rule.states)
        return {attribute: value for attribute, value in values.items() if value is not None}


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes:
    """Parse the text of a `.gitattributes` of the root folder.

    A line with a pattern of `UNREAD` that sets an attribute is skipped, as is a macro that does. If
    it unsets one, it counts for all files that it may match: at worst, more files are read.
    https://git-scm.com/docs/gitattributes
    """
    lines = [_parse_line(line) for line in text.removeprefix("\ufeff").split("\n")]
    macros: dict[str, dict[Attribute, bool | None]] = {}
    for line in lines:
        if line.pattern.startswith(MACRO):
            unset = _find_unset(_parse_states(line.words))
            macros.setdefault(line.pattern.removeprefix(MACRO), {}).update(unset)
    rules: list[AttributeRule] = []
    for line in lines:
        if line.pattern.startswith((MACRO, "#", "!")):  # git ignores patterns that begin with !
            continue
        states = dict(_parse_states(line.words))
        for word in line.words:
            states |= macros.get(word, {})
        if UNREAD.search(line.pattern):
            states = _find_unset(states)
        if states:
            rules.append(
                AttributeRule([_widen(part) for part in _parse_pattern(line.pattern)], states)
            )
    return LinguistAttributes(tuple(rules[:MAX_RULES]))


@dataclass(frozen=True, slots=True)
class _Line:
    pattern: str
    words: Sequence[str]  # states of attributes, and names of macros


def _parse_line(line: str) -> _Line:
    if len(line.encode(errors="surrogatepass")) >= MAX_LINE_BYTES:
        return _Line("", ())
    line = line.strip(" \t\r")
    quoted = QUOTED.fullmatch(line)
    if quoted is not None:
        return _Line(quoted[1], BLANKS.split(quoted[2]))
    pattern, *words = BLANKS.split(line)
    return _Line(pattern, words)


def _parse_states(words: Sequence[str]) -> Mapping[Attribute, bool | None]:
    matches = [STATE.fullmatch(word) for word in words]
    if None in matches:  # then git ignores the line, such as one with a comment at its end
        return {}
    states = [match for match in matches if match and match[2] in NAMES]
    return {NAMES[match[2]]: SIGNS.get(match[1], VALUES.get(match[3])) for match in states}


def _find_unset(states: Mapping[Attribute, bool | None]) -> dict[Attribute, bool | None]:
    return {attribute: False for attribute, is_set in states.items() if not is_set}


def _widen(part: str) -> str:
    """Return a part of a pattern that matches at least the names that it matches for git."""
    wider = WIDENED.sub("*", part)
    return "*" if UNREAD.search(wider) else wider


def _parse_pattern(pattern: str) -> Sequence[str]:
    parts = [ANY_FOLDERS, pattern]
    if "/" in pattern:
        parts = STARS.sub(ANY_FOLDERS, pattern.removeprefix("/")).split("/")
    if parts[-1] == ANY_FOLDERS:
        parts.append("*")
    return parts
