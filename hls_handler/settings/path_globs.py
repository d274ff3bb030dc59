"""Globs of paths: why one can match nothing, and which paths it matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ANY_FOLDERS = "**"
"""Part of a path glob that matches any number of folders. `*` and `?` match inside one name; the
rest is literal.
"""

SET = re.compile(
    r"[\w*?]\[[^][/]+\]|\[[^][/]+\][\w*?]"  # py[co], [Dd]ocs, [0-9]*
    r"|\[(?:[!^]|(?:\w-\w)+\])"  # [!a], [a-z]
    r"|\.\[[^][/]+\](?=/|$)"  # *.[ch]
    r"|\[\[:\w+:\]\]"  # [[:alpha:]]
)
"""Matches a set of characters, and not names of routes: `[id]/page.tsx`, `users-[id].vue`."""

ALTERNATIVES = {
    "braces": re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}"),
    "parentheses": re.compile(r"\([^()]*\|[^()]*\)|[+@!?]\([^()]+\)"),
}
ONE_FOR_EACH = ", which are not supported; write one glob for each"


def find_glob_problem(glob: str) -> str | None:
    """Return why a path glob can match no file; None for "docs/**"."""
    parts = glob.split("/")
    if glob != glob.strip() or "\\" in glob or any(part in ("", ".", "..") for part in parts):
        return "matches no file; write a path as GitHub shows it, such as docs/** or **/*.snap"
    if "|" in glob:
        return f"has alternatives with |{ONE_FOR_EACH}"
    if any(ANY_FOLDERS in part and part != ANY_FOLDERS for part in parts):
        return "has ** inside a name; write it alone between slashes, such as **/*.snap"
    if SET.search(glob):
        return (
            "has a set in brackets, which is not supported; write one glob for each, such as "
            "Docs/** and docs/**, or ? for a bracket that is in the name"
        )
    return find_unsupported_syntax(glob)


def find_unsupported_syntax(glob: str) -> str | None:
    """Return why a glob of paths or labels is not supported."""
    if glob.startswith("!"):
        return "begins with !; exceptions are not supported, so name only what is to match"
    for where, pattern in ALTERNATIVES.items():
        if pattern.search(glob):
            return f"has alternatives in {where}{ONE_FOR_EACH}"
    return None


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Globs of files that are not shown to Claude."""

    globs: tuple[str, ...] = ()
    where: str = ""  # "config/settings.yaml:14 (repositories[0].paths.ignore)"

    def excludes(self, path: str) -> bool:
        return any(matches(glob, path) for glob in self.globs)


EMPTY_PATH_FILTER = PathFilter()


def matches(glob: str, path: str) -> bool:
    """Return True if a glob matches a path or a folder above it: `docs` and `docs/**` match all
    files below docs.
    """
    parts = glob.split("/")
    names = path.split("/")
    if parts[-1] == ANY_FOLDERS:
        parts.pop()
    elif match_parts(parts, names):
        return True
    elif "*" in parts[-1] or "?" in parts[-1]:  # only a literal name can also be that of a folder
        return False
    return match_parts([*parts, ANY_FOLDERS, "*"], names)


def match_parts(pattern: Sequence[str], names: Sequence[str]) -> bool:
    """Return True if the parts of a glob, one for each folder and one for the name, match those of
    a path.
    """
    return _match_items(pattern, names, any_number=ANY_FOLDERS, item_matches=_match_name)


def _match_name(pattern: str, name: str) -> bool:
    return _match_items(
        pattern, name, any_number="*", item_matches=lambda sign, character: sign in ("?", character)
    )


def _match_items(
    pattern: Sequence[str],
    items: Sequence[str],
    *,
    any_number: str,
    item_matches: Callable[[str, str], bool],
) -> bool:
    """Return True if the pattern matches all items; `any_number` in it matches any number of
    them.
    """
    pattern_at = 0
    item_at = 0
    star = -1
    taken = 0
    while item_at < len(items):
        if pattern_at < len(pattern) and pattern[pattern_at] == any_number:
            star = pattern_at
            taken = item_at
            pattern_at += 1
        elif pattern_at < len(pattern) and item_matches(pattern[pattern_at], items[item_at]):
            pattern_at = pattern_at + 1
            item_at = item_at + 1
        # only the last star is tried again, so the time is at most len(pattern) * len(items)
        elif star >= 0:
            taken += 1
            pattern_at = star + 1
            item_at = taken
        else:
            return False
    return all(part == any_number for part in pattern[pattern_at:])
