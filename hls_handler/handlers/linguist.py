"""Reads the attributes `linguist-generated` and `linguist-vendored` of a `.gitattributes` file.

https://docs.github.com/en/repositories/working-with-files/managing-files/customizing-how-changed-files-appear-on-github
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from hls_handler.settings.values import find_glob_problem, matches

Attribute = Literal["generated", "vendored"]

PREFIX = "linguist-"
BLANKS = " \t\r"  # those of git; other blank characters belong to the pattern
MAX_RULES = 500  # that set one of the attributes; later ones are ignored
VALUES = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class LinguistAttributes:
    rules: tuple[tuple[str, Attribute, bool | None], ...] = ()  # glob, attribute, value; None: unset by `!`

    def find(self, path: str, attribute: Attribute) -> bool | None:
        """Return the value that the last matching line sets for a file; None if none does."""
        return next(
            (value for glob, name, value in reversed(self.rules) if name == attribute and matches(glob, path)), None
        )


NO_ATTRIBUTES = LinguistAttributes()


def parse_attributes(text: str) -> LinguistAttributes:
    """Parse the text of a `.gitattributes` of the root folder. Lines that cannot be parsed are ignored.

    https://git-scm.com/docs/gitattributes
    """
    found = [rule for line in text.split("\n") for rule in _parse_line(line.strip(BLANKS))]
    return LinguistAttributes(tuple(found[:MAX_RULES]))


def _parse_line(line: str) -> Iterator[tuple[str, Attribute, bool | None]]:
    is_ignored = line.startswith(("#", "!", "[attr]", '"'))
    pattern, *settings = re.split(f"[{BLANKS}]+", line, maxsplit=100)[:100] if not is_ignored else [""]
    glob = _to_glob(pattern)
    if glob is None:
        return
    for setting in settings:
        for attribute in get_args(Attribute):
            name = f"{PREFIX}{attribute}"
            if setting == name:
                yield glob, attribute, True
            elif setting == f"-{name}":
                yield glob, attribute, False
            elif setting == f"!{name}":
                yield glob, attribute, None
            elif setting.startswith(f"{name}=") and setting.partition("=")[2] in VALUES:
                yield glob, attribute, VALUES[setting.partition("=")[2]]


def _to_glob(pattern: str) -> str | None:
    """Return the glob of a whole path; None for a pattern that matches no file or that our globs lack."""
    glob = pattern.removeprefix("/")
    if find_glob_problem(glob) is not None:
        return None
    return glob if "/" in pattern else f"**/{glob}"
