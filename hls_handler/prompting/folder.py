"""Reading of a prompt folder: its template files, split into front matter and template, and their problems.

`issues/analyze.j2` is a prompt, and `issues/analyze.comment.md.j2` is the template of its comment on GitHub. Other
templates are parts, which prompts include: files in the top folder (`base.j2`) and files whose name begins with `_`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from hls_handler.errors import PromptError

MAX_LISTED_NAMES = 20
"""Names that one message lists at most."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str  # path for messages: "prompts/issues/analyze.j2"
    line: int  # from 1
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def prompt_error(problems: Iterable[Problem]) -> PromptError:
    """Return one error for all problems, sorted by file and line, without duplicates."""
    return PromptError([str(problem) for problem in sorted(set(problems))])


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'title'?" for the most similar name, or "known: body, title" if none is similar."""
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return f"known: {', '.join(names[:MAX_LISTED_NAMES]) or 'none'}{more}"


class BrokenTemplateError(PromptError):
    """A template could not be rendered; `problem` has the file, the line and the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__([str(problem)])
        self.problem = problem


SUFFIX = ".j2"
COMMENT_SUFFIX = ".comment.md.j2"
BASE = "base.j2"
SHARED_COMMENT = "generic.comment.md.j2"
SHARED_COMMENT_REPLY = "generic_analysis"
"""Prompts with this reply type use the shared comment template if they have none of their own."""
FENCE = "---"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One template file of a library."""

    name: str  # relative path, as used in include and extends: "issues/analyze.j2"
    file: str  # path for messages: "prompts/issues/analyze.j2"
    text: str  # the whole file
    front: str | None  # the YAML between the fences, which begins at line 2; None if the file has none
    template: str  # the rest, padded so that line numbers are those of the file

    @property
    def is_comment(self) -> bool:
        return self.name.endswith(COMMENT_SUFFIX)

    @property
    def is_prompt(self) -> bool:
        folder, _, file = self.name.rpartition("/")
        return bool(folder) and not file.startswith("_") and not self.is_comment

    @property
    def is_unclosed(self) -> bool:
        """True if the file begins front matter but does not end it."""
        return self.front is None and self.text.startswith(f"{FENCE}\n")

    @property
    def prompt(self) -> str:
        """Name of the prompt, "issues/analyze", for the prompt itself and for its comment template."""
        return self.name.removesuffix(COMMENT_SUFFIX).removesuffix(SUFFIX)


def find_files(directory: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """Yield the paths of all files below a folder, sorted within each folder, without hidden files and folders.

    Paths are strings, not `Path` objects, because this runs for every delivery. `on_error` is called for each folder
    that cannot be read.
    """
    for folder, below, names in os.walk(directory, onerror=on_error):
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (f"{folder}{os.sep}{name}" for name in sorted(names) if not name.startswith("."))


def read_folder(directory: Path) -> tuple[Mapping[str, SourceFile], list[Problem]]:
    """Read all templates below `directory`; return them by name, and the problems of unreadable files."""
    sources: dict[str, SourceFile] = {}
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


def _split(name: str, file: str, text: str) -> SourceFile:
    lines = text.split("\n")
    if lines[0] != FENCE or FENCE not in lines[1:]:
        return SourceFile(name, file, text, front=None, template=text)
    end = lines.index(FENCE, 1)
    blank = "{#" + "\n" * (end + 1) + "-#}"  # a Jinja comment with as many lines as the front matter
    return SourceFile(name, file, text, front="\n".join(lines[1:end]), template=blank + "\n".join(lines[end + 1 :]))
