"""The steps of a job, and which of them a line of its log is of.

The log does not say. The jobs API gives the whole seconds in which each step began and ended, lines have times, and
both run in one direction. In a second that two steps share, a line stays with the one before, until a line opens a
step: the runner begins each with one of three texts (`opens`). It opens the step that is named like it (`Run npm test`
is also the name of a step that was given none), else the next one. An action made of several steps writes it for each,
so that in such a second its last lines can be taken for the next step's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hls_handler.ci.command import opens_command
from hls_handler.ci.lines import RawLine

FAILED = frozenset({"failure", "cancelled", "timed_out"})
"""Conclusions. A step that exceeded the job's time is "cancelled"."""

OPENING_OF = {"Post ": "Post job cleanup.", "Complete job": "Cleaning up orphan processes"}
"""Steps that the runner adds, by how their names begin, and how their logs do. That of "Set up job" is the first."""


@dataclass(frozen=True, slots=True)
class Step:
    """As the jobs API gives it; times in whole seconds, aware UTC."""

    number: int
    name: str
    conclusion: str | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def failed(self) -> bool:
        return self.conclusion in FAILED


def opens(line: RawLine) -> bool:
    """Whether the runner writes such a line at the beginning of a step."""
    if line.mark:
        return opens_command(line)
    return line.text.startswith(("Post job cleanup.", "Cleaning up orphan processes"))


class Course:
    """Goes along with a log, line by line."""

    def __init__(self, steps: Iterable[Step]) -> None:
        ran = sorted((step for step in steps if step.conclusion != "skipped"), key=lambda step: step.number)
        self._numbers = [step.number for step in ran]
        self._names = [_plain(step.name) for step in ran]
        self._starts = [_second(step.started_at) for step in ran]
        self._ends = [_second(step.completed_at) or "9" for step in ran]  # "9" is later than all times
        self._leaves = [_second(step.completed_at, later_s=1) or "9" for step in ran]
        self._at = 0  # the step that the last line was of, or the first that the next may be of
        self._is_inside = False

    def step_of(self, line: RawLine) -> int | None:
        """The number of the line's step; None where no step is known to have run."""
        if not self._numbers:
            return None
        opening = opens(line)
        if line.second and (opening or not self._is_inside or line.second > self._ends[self._at]):
            self._move(line.second, line.text if opening else "")
        elif opening:
            self._enter(self._named(range(self._at, len(self._names)), line.text))
        return self._numbers[self._at] if self._is_inside else None

    def _move(self, second: str, opening: str) -> None:
        possible = [k for k in range(self._at, len(self._numbers)) if self._starts[k] <= second <= self._ends[k]]
        timed = [k for k in possible if self._starts[k]]
        if opening:
            found = self._named(possible, opening)
            self._enter(self._unnamed(timed, opening) if found is None else found)
        if self._is_inside and self._at in possible:
            return
        if timed:
            self._enter(timed[0])
        elif self._is_inside and second > self._leaves[self._at]:
            self._is_inside = False

    def _named(self, possible: Iterable[int], opening: str) -> int | None:
        name = _plain(opening)
        return next((k for k in possible if self._names[k] == name and not self._has_begun(k)), None)

    def _unnamed(self, possible: Iterable[int], opening: str) -> int | None:
        """The first step whose log may well begin so."""
        return next((k for k in possible if not self._has_begun(k) and _may_begin(self._names[k], opening)), None)

    def _has_begun(self, k: int) -> bool:
        """Whether it has lines already, so that it is not the one that is opened: that is the first line of a step."""
        return k == self._at and self._is_inside

    def _enter(self, k: int | None) -> None:
        if k is not None:
            self._at, self._is_inside = k, True


def _may_begin(name: str, opening: str) -> bool:
    own = next((text for start, text in OPENING_OF.items() if name.startswith(start)), "Run ")
    return opening.startswith(own) and name != "Set up job"


def _plain(name: str) -> str:
    return " ".join(name.split())


def _second(time: datetime | None, *, later_s: int = 0) -> str:
    """As the log has it; "" where there is none."""
    if time is None:
        return ""
    return (time + timedelta(seconds=later_s)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
