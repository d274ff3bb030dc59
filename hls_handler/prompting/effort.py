"""The effort of a rendering: what will be made is estimated, what was made is measured, and all of it is counted.

Jinja's sandbox bounds nothing: a template of one line can ask for a gigabyte, or run until tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import TypeVar

from jinja2 import TemplateError

MAX_CHARACTERS = 4_000_000
"""Of one rendering, before and after the strangers' texts are put in. The largest budget of patches fits."""

WIDEST = 100_000
"""The largest number that may stand for a width, a count or a repetition; of whole numbers the bits."""

MAX_EFFORT = 100_000_000
"""Of one rendering: the characters and elements of all that is made on the way, and what `STEP` and `CALL` say."""

STEP = 100
"""What a step of a loop counts."""

CALL = 1_000
"""What a call counts."""

T = TypeVar("T")

_effort: ContextVar[_Effort | None] = ContextVar("hls_effort", default=None)


class TooLongError(TemplateError):
    """A template made, or was about to make, more than the cap."""


class _Effort:
    __slots__ = ("spent",)

    def __init__(self) -> None:
        self.spent = 0


@contextmanager
def counted() -> Iterator[None]:
    """Count the effort of all that is made inside, from nothing."""
    token = _effort.set(_Effort())
    try:
        yield
    finally:
        _effort.reset(token)


def spend(amount: int) -> None:
    effort = _effort.get()
    if effort is None:  # outside of a rendering: a condition, or a constant that is folded
        return
    effort.spent += amount
    if effort.spent > MAX_EFFORT:
        raise TooLongError(f"the loops, the calls or what they make are too many; at most {MAX_EFFORT // STEP:,} steps")


def steps(elements: Iterable[T]) -> Iterator[T]:
    """The same elements, each of which counts."""
    for element in elements:
        spend(STEP)
        yield element


def measured(made: T) -> T:
    """What was made; a text or a list counts its length, which has a cap."""
    if isinstance(made, str | list | tuple | dict):
        check_size(len(made))
        spend(len(made))
    return made


def check_size(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise TooLongError(f"a text or a list is too long; at most {MAX_CHARACTERS:,}")


def check_number(number: object) -> None:
    if isinstance(number, int) and number > WIDEST:
        raise TooLongError(f"{number} is too many; at most {WIDEST}")


def check_growth(value: object, others: Sequence[object], *, numbers: bool) -> None:
    """What may write one of `others` once for each character or element of a value. `numbers` may be widths."""
    length, *lengths = sizes = [size(value), *map(size, others)]
    check_size(max(sizes))
    widths = [abs(other) for other in others if isinstance(other, int)] if numbers else []
    if length * max([*lengths, *widths], default=1) > MAX_EFFORT:
        raise TooLongError(f"what this would write is too long; at most {MAX_EFFORT:,}")


def size(value: object) -> int:
    """Characters that a value has as text, about, or a number over the cap: it ends there."""
    total = 0
    waiting: list[object] = [value]
    while waiting and total <= MAX_CHARACTERS:
        part = waiting.pop()
        if isinstance(part, str | range):
            total += len(part)
        elif isinstance(part, list | tuple | set | frozenset | ValuesView):
            total += len(part)
            waiting.extend(part)
        elif isinstance(part, dict):
            total += len(part)
            waiting.extend(chain.from_iterable(part.items()))
        else:
            total += 1
    return total
