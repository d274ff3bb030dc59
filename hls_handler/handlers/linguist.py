"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file.

https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.settings.values import ANY_FOLDERS, match_parts

Attribute = Literal["generated", "vendored"]

NAMES: Mapping[str, Attribute] = {f"linguist-{name}": name for name in get_args(Attribute)}
SIGNS: Mapping[str, bool | None] = {"-": False, "!": None}  # None: as if no line had set it
VALUES: Mapping[str | None, bool] = {None: True, "true": True, "false": False}
STATE = re.compile(r"([-!]?)([A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(.*))?")
BLANKS = re.compile(r"[ \t\r]+")
MAX_RULES = 500  # lines that set one of the attributes; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines
UNREAD = ("[", "\\", '"', "!", "?")  # sets and macros, escapes, quoted names; git ignores !, and ? is one byte for it


@dataclass(frozen=True, slots=True)
class Rule:
    parts: Sequence[str]  # of the pattern, one for each folder and the last for the name
    states: Mapping[Attribute, bool | None]


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[Rule, ...] = ()

    def find(self, path: str) -> Mapping[Attribute, bool]:
        """Return the attributes that are set for a file to true or false."""
        parts, values = path.split("/"), dict[Attribute, bool | None]()
        for rule in self.rules:
            if match_parts(rule.parts, parts):
                values.update(rule.states)
        return {attribute: value for attribute, value in values.items() if value is not None}


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes | None:
    """Parse the text of a `.gitattributes` of the root folder; None if one of its lines has a pattern of `UNREAD`.

    https://git-scm.com/docs/gitattributes
    """
    rules: list[Rule] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        pattern, *words = BLANKS.split(line.strip(" \t\r"))
        is_long = len(line.encode(errors="surrogatepass")) >= MAX_LINE_BYTES
        if pattern.startswith("#") or is_long or not any(name in line for name in NAMES):
            continue
        if any(mark in pattern for mark in UNREAD):
            return None
        found = [STATE.fullmatch(word) for word in words]
        if None not in found:  # else git ignores the line, such as one with a comment at its end
            states = {NAMES[one[2]]: SIGNS.get(one[1], VALUES.get(one[3])) for one in found if one and one[2] in NAMES}
            rules.append(Rule(_parse_pattern(pattern), states))
    return LinguistAttributes(tuple(rules[:MAX_RULES]))


def _parse_pattern(pattern: str) -> Sequence[str]:
    parts = pattern.removeprefix("/").split("/") if "/" in pattern else [ANY_FOLDERS, pattern]
    return [*parts, "*"] if parts[-1] == ANY_FOLDERS else parts
