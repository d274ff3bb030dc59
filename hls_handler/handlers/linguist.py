"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file, nearly as git does.

Unlike git, it knows no classes such as `[[:digit:]]`, and no octal escapes in quoted patterns.
https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from hls_handler.settings.values import match_items

Attribute = Literal["generated", "vendored"]
States = Mapping[Attribute, bool | None]  # None: unspecified

NAMES: Mapping[str, Attribute] = {"linguist-generated": "generated", "linguist-vendored": "vendored"}
SIGNS: Mapping[str, bool | None] = {"": True, "-": False, "!": None}
MAX_RULES = 500  # lines that set one of the attributes, or a macro; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines

LINE = re.compile(r'[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?![#!])(?P<plain>[^ \t\r]+))(?P<states>.*)', re.DOTALL)
STATE = re.compile(r"(?P<sign>[-!]?)(?P<name>[A-Za-z0-9_.][-A-Za-z0-9_.]*)(?:=(?P<value>.*))?", re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
MACRO = "[attr]"
FOLDERS = "**"  # a part of a pattern that matches any number of folders


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[tuple[tuple[str, ...], States], ...] = ()  # the parts of each pattern, as `fnmatch` reads them

    def find(self, path: str) -> Mapping[Attribute, bool]:
        """Return the attributes that are set for a file to true or false."""
        parts, states = path.split("/"), dict[Attribute, bool | None]()
        for pattern, of_rule in self.rules:
            if match_items(pattern, parts, any_number=FOLDERS, item_matches=lambda part, name: fnmatchcase(name, part)):
                states.update(of_rule)
        return {attribute: value for attribute, value in states.items() if value is not None}


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes:
    """Parse the text of a `.gitattributes` of the root folder. Lines that git ignores are ignored.

    https://git-scm.com/docs/gitattributes
    """
    rules: list[tuple[tuple[str, ...], States]] = []
    macros: dict[str, States] = {}
    for line in text.removeprefix("\ufeff").split("\n"):
        found = LINE.fullmatch(line)
        if found is None or len(line.encode(errors="surrogatepass")) >= MAX_LINE_BYTES:
            continue
        states = _parse_states(found["states"], macros)
        if not states or len(rules) + len(macros) >= MAX_RULES:
            continue
        pattern = found["plain"] if found["quoted"] is None else ESCAPE.sub(r"\1", found["quoted"])
        if pattern.startswith(MACRO):
            macros[pattern.removeprefix(MACRO)] = states
        elif not pattern.endswith("/"):  # only folders, which have no attributes
            rules.append((_parse_pattern(pattern), states))
    return LinguistAttributes(tuple(rules))


def _parse_states(text: str, macros: Mapping[str, States]) -> States:
    states: dict[Attribute, bool | None] = {}
    for found in map(STATE.fullmatch, text.split()):
        if found is None:
            return {}  # git ignores the line
        if (attribute := NAMES.get(found["name"])) is not None:
            values = {"true": True, "false": False}
            is_plain = found["sign"] or found["value"] is None
            states[attribute] = SIGNS[found["sign"]] if is_plain else values.get(found["value"])
        elif not found["sign"] and found["value"] is None:
            states.update(macros.get(found["name"], {}))
    return states


def _parse_pattern(pattern: str) -> tuple[str, ...]:
    """Return the parts of a pattern: one for each folder, and the last for the name."""
    glob = ESCAPE.sub(r"[\1]", pattern).replace("[^", "[!")
    parts = glob.removeprefix("/").split("/")
    if "/" not in glob:
        return (FOLDERS, glob)
    return (*parts, "*") if parts[-1] == FOLDERS else tuple(parts)
