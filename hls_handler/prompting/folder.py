"""The files of a prompt library: read once, split into front matter and template, and told apart by their names.

A prompt is `issues/analyze.j2`; beside it, `issues/analyze.comment.md.j2` is what GitHub shows. Other templates are
parts: those at the top (`base.j2`) and those whose name begins with `_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hls_handler.prompting.problems import Problem

SUFFIX = ".j2"
COMMENT_SUFFIX = ".comment.md.j2"
BASE = "base.j2"
SHARED_COMMENT = "generic.comment.md.j2"
SHARED_BY = "generic_analysis"
"""The reply whose prompts may do without a comment of their own: they share one."""
FENCE = "---"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the library."""

    name: str  # as templates name it: "issues/analyze.j2"
    file: str  # as the operator knows it: "prompts/issues/analyze.j2"
    text: str  # all of it
    front: str | None  # the YAML between the fences; it begins at line 2
    template: str  # the rest, with the line numbers of the whole file

    @property
    def is_comment(self) -> bool:
        return self.name.endswith(COMMENT_SUFFIX)

    @property
    def is_prompt(self) -> bool:
        folder, _, file = self.name.rpartition("/")
        return bool(folder) and not file.startswith("_") and not self.is_comment

    @property
    def is_unclosed(self) -> bool:
        """Whether front matter begins and does not end."""
        return self.front is None and self.text.startswith(f"{FENCE}\n")

    @property
    def prompt(self) -> str:
        """ "issues/analyze" for the prompt and for its comment template."""
        return self.name.removesuffix(COMMENT_SUFFIX).removesuffix(SUFFIX)


def find_files(directory: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Every file below a folder, in order, whatever its ending; hidden files and folders are no part of a library.

    Paths as they are written, since each delivery looks at them. `on_error` is told of each folder that cannot be read.
    """
    for folder, below, names in os.walk(directory, onerror=on_error):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (f"{folder}{os.sep}{name}" for name in sorted(names) if not name.startswith("."))


def read_folder(directory: Path) -> tuple[Mapping[str, Source], list[Problem]]:
    """All templates below `directory`, by name, and what could not be read."""
    sources: dict[str, Source] = {}
    problems: list[Problem] = []

    def unreadable(exc: OSError) -> None:
        problems.append(Problem(Path(exc.filename).as_posix(), 1, f"this folder cannot be read: {exc.strerror}"))

    for path in map(Path, find_files(directory, unreadable)):
        if not path.name.endswith(SUFFIX) or path.is_dir():
            continue
        file = path.as_posix()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            problems.append(Problem(file, 1, "is not UTF-8; save it as UTF-8"))
            continue
        except OSError as exc:
            problems.append(Problem(file, 1, f"cannot be read: {exc.strerror}"))
            continue
        name = path.relative_to(directory).as_posix()
        sources[name] = _split(name, file, text)
    return sources, problems


def _split(name: str, file: str, text: str) -> Source:
    lines = text.split("\n")
    if lines[0] != FENCE or FENCE not in lines[1:]:
        return Source(name, file, text, front=None, template=text)
    end = lines.index(FENCE, 1)
    blank = "{#" + "\n" * (end + 1) + "-#}"  # a Jinja comment as long as the front matter
    return Source(name, file, text, front="\n".join(lines[1:end]), template=blank + "\n".join(lines[end + 1 :]))
