"""Problems of prompt files: values with file, line and message, and the errors that contain
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Generic, TypeVar

from hls_handler.errors import PromptError
from hls_handler.settings.problems import Kind, Sentence

_Value = TypeVar("_Value")

MAX_LISTED_NAMES = 20
"""Limit on the number of names that one message lists."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str  # path for messages: "prompts/issues/analyze.j2"
    line: int  # from 1
    message: str
    kind: Kind = field(default=Kind.TEMPLATE, compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Checked(Generic[_Value]):
    """A value that was made from a prompt's files, and the problems that were found."""

    value: _Value
    problems: Sequence[Problem] = ()


def prompt_error(problems: Iterable[Problem]) -> PromptError:
    """Return one error that lists all problems, with absolute paths, sorted by file and line,
    without duplicates.
    """
    return PromptError([with_absolute_path(problem) for problem in sorted(set(problems))])


def with_absolute_path(problem: Problem) -> Sentence:
    absolute = replace(problem, file=str(Path(problem.file).absolute()))
    return Sentence(str(absolute), problem.kind)


def suggest_name(name: str, existing: Iterable[str]) -> str:
    """Return "did you mean 'title'?" for the most similar name, or "known: body, title" if none is
    similar.
    """
    names = sorted(existing)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    listing = ", ".join(names[:MAX_LISTED_NAMES]) or "none"
    if len(names) > MAX_LISTED_NAMES:
        listing += f" and {len(names) - MAX_LISTED_NAMES} more"
    return f"known: {listing}"


class BrokenTemplateError(PromptError):
    """A template cannot be rendered; `problem` has the file, the line and the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__([with_absolute_path(problem)])
        self.problem = problem
