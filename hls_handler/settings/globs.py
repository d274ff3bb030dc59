"""Globs over the paths of files in a repository: `*` and `?` stay inside of one folder, `**` stands for any folders.

A glob fits a whole path from the root of the repository, in the same case; no other character means anything but
itself. Matched step by step and not as a regular expression: strangers choose the paths, and no pair of path and glob
may take long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

ANY_FOLDERS = "**"


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Which files settings leave out of what Claude is shown, and which line says so."""

    globs: tuple[str, ...] = ()
    where: str = ""  # "config/settings.yaml:14 (repositories[0].paths.ignore)"

    def leaves_out(self, path: str) -> bool:
        return any(fits(glob, path) for glob in self.globs)


NOTHING_LEFT_OUT = PathFilter()


def fits(glob: str, path: str) -> bool:
    """Whether a glob fits the path of a file: `docs/**` all files below docs, `**/*.lock` wherever they are."""
    parts = glob.split("/")
    if parts[-1] == ANY_FOLDERS:
        parts.append("*")  # there is a file at the end
    return _fits(parts, path.split("/"), any_number=ANY_FOLDERS, one_fits=_one_step)


def flaw_of(glob: str) -> str | None:
    """What is wrong with a glob, as half a sentence; None if it can be used."""
    parts = glob.split("/")
    if not glob.strip():
        return "is empty; name files, such as docs/**"
    if "\\" in glob:
        return "holds a backslash; folders are parted by /"
    if glob.startswith("/") or parts[0] in (".", ".."):
        return "begins outside of the repository; write it from the root on, such as docs/**"
    if parts[-1] == "":
        return f"ends with /, and fits no file; write {glob}**"
    if any(ANY_FOLDERS in part and part != ANY_FOLDERS for part in parts):
        return "has ** inside of a name; it stands alone between slashes, such as **/*.snap"
    return None


def _one_step(pattern: str, name: str) -> bool:
    return _fits(pattern, name, any_number="*", one_fits=lambda wanted, found: wanted in ("?", found))


def _fits(pattern: Sequence[T], found: Sequence[T], *, any_number: T, one_fits: Callable[[T, T], bool]) -> bool:
    """Whether `found` is what `pattern` says, where `any_number` stands for any number of items, none too.

    What the last `any_number` took is tried again one item longer, which is all that ever needs to be tried.
    """
    at, position = 0, 0
    star, taken = -1, 0
    while position < len(found):
        if at < len(pattern) and pattern[at] == any_number:
            star, taken = at, position
            at += 1
        elif at < len(pattern) and one_fits(pattern[at], found[position]):
            at, position = at + 1, position + 1
        elif star >= 0:
            taken += 1
            at, position = star + 1, taken
        else:
            return False
    return all(item == any_number for item in pattern[at:])
