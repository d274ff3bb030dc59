"""Assigns the lines of a job's log to the steps of the job.

The log does not name the steps. The jobs API has the start and end of each step in whole seconds, lines have times,
and both increase. In a second that two steps share, lines belong to the earlier step until a line opens the next one:
the runner begins each step with one of three texts (`opens_step`). Such a line opens the step with the same name
(`Run npm test` is the default name of a step), else the next one. A composite action writes such a line for each of
its own steps, so in a shared second its last lines may be assigned to the next step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hls_handler.ci.command import opens_command
from hls_handler.ci.lines import RawLine

FAILED = frozenset({"failure", "cancelled", "timed_out"})
"""Conclusions of failed steps. A step that exceeded the job's time limit is "cancelled"."""

OPENING_TEXTS = {"Post ": "Post job cleanup.", "Complete job": "Cleaning up orphan processes"}
"""Start of the log by start of the name, for steps that the runner adds. The log begins with "Set up job"."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step as in the jobs API; times in whole seconds, aware UTC."""

    number: int
    name: str
    conclusion: str | None
    started_at: datetime | None
    completed_at: datetime | None

    @property
    def failed(self) -> bool:
        return self.conclusion in FAILED


def opens_step(line: RawLine) -> bool:
    """Return True if the runner writes such a line at the beginning of a step."""
    if line.mark:
        return opens_command(line)
    return line.text.startswith(("Post job cleanup.", "Cleaning up orphan processes"))


class StepTracker:
    """Tracks the current step line by line; pass each line of the log once, in order."""

    def __init__(self, steps: Iterable[Step]) -> None:
        ran = sorted((step for step in steps if step.conclusion != "skipped"), key=lambda step: step.number)
        self._numbers = [step.number for step in ran]
        self._names = [_normalize(step.name) for step in ran]
        self._starts = [_format_second(step.started_at) for step in ran]
        self._ends = [_format_second(step.completed_at) or "9" for step in ran]  # "9" sorts after all times
        self._latest_ends = [_format_second(step.completed_at, later_s=1) or "9" for step in ran]
        self._index = 0  # index of the current step, or of the first step that may come next
        self._is_inside = False

    def step_of(self, line: RawLine) -> int | None:
        """Return the number of the line's step; None if no step is running at its time."""
        if not self._numbers:
            return None
        opening = opens_step(line)
        if line.second and (opening or not self._is_inside or line.second > self._ends[self._index]):
            self._move_to(line.second, line.text if opening else "")
        elif opening:
            self._enter(self._find_by_name(range(self._index, len(self._names)), line.text))
        return self._numbers[self._index] if self._is_inside else None

    def _move_to(self, second: str, opening: str) -> None:
        possible = [
            index
            for index in range(self._index, len(self._numbers))
            if self._starts[index] <= second <= self._ends[index]
        ]
        with_times = [index for index in possible if self._starts[index]]
        if opening:
            found = self._find_by_name(possible, opening)
            self._enter(self._find_by_opening(with_times, opening) if found is None else found)
        if self._is_inside and self._index in possible:
            return
        if with_times:
            self._enter(with_times[0])
        elif self._is_inside and second > self._latest_ends[self._index]:
            self._is_inside = False

    def _find_by_name(self, possible: Iterable[int], opening: str) -> int | None:
        name = _normalize(opening)
        return next((index for index in possible if self._names[index] == name and not self._has_begun(index)), None)

    def _find_by_opening(self, possible: Iterable[int], opening: str) -> int | None:
        """Return the index of the first step whose log may begin with this text."""
        return next(
            (index for index in possible if not self._has_begun(index) and _may_begin(self._names[index], opening)),
            None,
        )

    def _has_begun(self, index: int) -> bool:
        """Return True if the step already has lines, so that a line that opens a step does not open this one."""
        return index == self._index and self._is_inside

    def _enter(self, index: int | None) -> None:
        if index is not None:
            self._index, self._is_inside = index, True


def _may_begin(name: str, opening: str) -> bool:
    expected = next((text for start, text in OPENING_TEXTS.items() if name.startswith(start)), "Run ")
    return opening.startswith(expected) and name != "Set up job"


def _normalize(name: str) -> str:
    return " ".join(name.split())


def _format_second(time: datetime | None, *, later_s: int = 0) -> str:
    """Return the time in the format of the log, or ""."""
    if time is None:
        return ""
    return (time + timedelta(seconds=later_s)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
