"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file.

https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.settings.values import ANY_FOLDERS, match_parts

Attribute = Literal["generated", "vendored"]

STATES: Mapping[str, tuple[Attribute, bool | None]] = {
    state: (name, value)
    for name in get_args(Attribute)
    for state, value in (
        (f"linguist-{name}", True),
        (f"linguist-{name}=true", True),
        (f"-linguist-{name}", False),
        (f"linguist-{name}=false", False),
        (f"!linguist-{name}", None),  # as if no line had set it
    )
}
MAX_RULES = 500  # lines that set one of the attributes; later ones are ignored
MAX_LINE_BYTES = 2048  # git ignores longer lines
UNREAD = ("[", "\\", '"', "!")  # sets and macros, escapes, quoted names; ! before a pattern, which git ignores


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
        pattern, *words = line.split() or [""]
        states = dict(STATES[word] for word in words if word in STATES)
        if not states or pattern.startswith("#") or len(line.encode(errors="surrogatepass")) >= MAX_LINE_BYTES:
            continue
        if any(mark in pattern for mark in UNREAD):
            return None
        rules.append(Rule(_parse_pattern(pattern), states))
    return LinguistAttributes(tuple(rules[:MAX_RULES]))


def _parse_pattern(pattern: str) -> Sequence[str]:
    parts = pattern.removeprefix("/").split("/") if "/" in pattern else [ANY_FOLDERS, pattern]
    return [*parts, "*"] if parts[-1] == ANY_FOLDERS else parts
