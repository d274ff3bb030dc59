"""Globs for the paths of files in a repository: `*` and `?` match inside one folder, `**` any number of folders.

A glob matches a whole path from the root of the repository and is case-sensitive; all other characters are literal.
Matching does not use regular expressions, because paths are untrusted and no pair of path and glob may take long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Globs of files that settings exclude from prompts, and the location of the setting."""

    globs: tuple[str, ...] = ()
    where: str = ""  # "config/settings.yaml:14 (repositories[0].paths.ignore)"

    def excludes(self, path: str) -> bool:
        return any(matches(glob, path) for glob in self.globs)


EMPTY_PATH_FILTER = PathFilter()


def matches(glob: str, path: str) -> bool:
    """Return True if a glob matches a file: `docs/**` matches all files below docs, `**/*.lock` in any folder."""
    parts = glob.split("/")
    if parts[-1] == ANY_FOLDERS:
        parts.append("*")  # the last part must match the file name
    return _match(parts, path.split("/"), any_number=ANY_FOLDERS, item_matches=_match_name)


def find_glob_problem(glob: str) -> str | None:
    """Return what is wrong with a glob, to follow its key in a message; None if it is valid."""
    parts = glob.split("/")
    if not glob.strip():
        return "is empty; name files, such as docs/**"
    if "\\" in glob:
        return "contains a backslash; separate folders by /"
    if glob.startswith("/") or parts[0] in (".", ".."):
        return "begins with /, ./ or ../; write the path from the root of the repository, such as docs/**"
    if parts[-1] == "":
        return f"ends with /, so it matches no file; write {glob}**"
    if any(ANY_FOLDERS in part and part != ANY_FOLDERS for part in parts):
        return "has ** inside a name; write it alone between slashes, such as **/*.snap"
    return None


def _match_name(pattern: str, name: str) -> bool:
    return _match(pattern, name, any_number="*", item_matches=lambda wanted, found: wanted in ("?", found))


def _match(pattern: Sequence[T], found: Sequence[T], *, any_number: T, item_matches: Callable[[T, T], bool]) -> bool:
    """Return True if `found` matches `pattern`, in which `any_number` stands for zero or more items.

    Backtracks only to the last `any_number`, with one more item, which is sufficient.
    """
    pattern_at, found_at = 0, 0
    star, taken = -1, 0
    while found_at < len(found):
        if pattern_at < len(pattern) and pattern[pattern_at] == any_number:
            star, taken = pattern_at, found_at
            pattern_at += 1
        elif pattern_at < len(pattern) and item_matches(pattern[pattern_at], found[found_at]):
            pattern_at, found_at = pattern_at + 1, found_at + 1
        elif star >= 0:
            taken += 1
            pattern_at, found_at = star + 1, taken
        else:
            return False
    return all(item == any_number for item in pattern[pattern_at:])
