"""What is wrong with a prompt library: one sentence each, with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from hls_handler.errors import PromptError

MOST_NAMES = 20
"""Names listed in one message."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    file: str  # as the operator knows it: "prompts/issues/analyze.j2"
    line: int  # from 1
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


def prompt_error(problems: Iterable[Problem]) -> PromptError:
    """One error for all of them, in the order of files and lines, each said once."""
    return PromptError([str(problem) for problem in sorted(set(problems))])


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean 'title'?", or "known: body, title" where nothing is near."""
    names = sorted(known)
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"known: {', '.join(names[:MOST_NAMES]) or 'none'}{more}"


class BrokenTemplateError(PromptError):
    """One template could not be rendered; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__([str(problem)])
        self.problem = problem
