"""Lines of a file at a commit, as prompts show them beside the patches: what is shown, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from hls_handler.analysis import estimate_tokens
from hls_handler.review.patches import Hunk, Line, Patch, hide_line, number_line, numbered

MAX_CHARS = 1_000  # of an excerpt that is one line
TOKENS_PER_PLACE = 25  # of lines in addition to them: path, name, delimiters

T = TypeVar("T")

PlaceKind = Literal["definition", "call", "use", "gone"]
"""Why lines of the repository are beside a change: what they do with a name. The change took the
name away that is `gone`.
"""
LinesKind = Literal[PlaceKind, "removed", "present", "as in the base", "the file is gone"]
"""Lines that a push removed; the present lines of an earlier finding, and what is certain of
them.
"""


@dataclass(frozen=True, slots=True)
class CodeLines:
    path: str
    kind: LinesKind = "present"
    text: str = ""  # numbered and redacted: "R   11   return side ** 2"
    name: str = ""  # of a place
    line: int = 0  # that has the name
    sources: tuple[str, ...] = ()  # paths of the changed files with the name


def count_tokens(lines: CodeLines) -> int:
    return TOKENS_PER_PLACE + estimate_tokens(f"{lines.path}{lines.name}\n{lines.text}")


def number_lines(lines: Iterable[Line]) -> str:
    return "\n".join(number_line(hide_line(line)) for line in lines)


def cut_around(
    lines: Sequence[Line], index: int, sizes: Sequence[int], tokens: int, header: str = ""
) -> str:
    """Return line number `index` as numbered text, with as many lines above and below as fit: the
    first of `sizes`.
    """
    for size in sizes:
        around = tuple(lines[max(index - size, 0) : index + size + 1])
        text = number_lines(around)
        if header:
            text = numbered(Patch((Hunk(header, around),)))
        if estimate_tokens(text) <= tokens:
            return text
    return number_line(lines[index])[: min(MAX_CHARS, 3 * tokens)]


class Budget:
    """The tokens that are left for what a prompt shows."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def take(self, items: Iterable[T], count: Callable[[T], int]) -> list[T]:
        """Return the items that fit, in their order, and use their tokens. `count` returns those of
        one.
        """
        fitting: list[T] = []
        for item in items:
            needed = count(item)
            if needed <= self.tokens:
                self.tokens -= needed
                fitting.append(item)
        return fitting
