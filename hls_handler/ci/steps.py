"""Finds the step that printed each line of a job's log.

The log does not name the steps. The step of a line is found by its time, because the jobs API has
the start and end of each step in whole seconds. If two steps share a second, the later step begins
at a line such as `##[group]Run npm test` (`_opens_step`). This line opens the step named
`Run npm test`. If no step has this name, the line opens the next step. A composite action writes
such a line for each of its inner steps. In a shared second, the line of an inner step may open the
job's next step too early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from hls_handler.ci.log_lines import LogLine
from hls_handler.github.values import WorkflowStep

OPENING_TEXTS = {"Post ": "Post job cleanup.", "Complete job": "Cleaning up orphan processes"}
"""Steps that the runner adds: start of the name -> first line in the log. "Set up job" needs none:
it comes first.
"""


def _opens_step(line: LogLine) -> bool:
    if line.mark:
        return line.mark == "group" and line.text.startswith("Run ")
    return line.text.startswith(tuple(OPENING_TEXTS.values()))


class StepTracker:
    """Finds the step that printed each line of a log. Pass each line to `step_of` once, in
    order.
    """

    def __init__(self, steps: Iterable[WorkflowStep]) -> None:
        ran = [step for step in steps if step.conclusion != "skipped"]
        ran.sort(key=lambda step: step.number)
        self._numbers = [step.number for step in ran]
        self._names = [_normalize(step.name) for step in ran]
        self._starts = [_format_second(step.started_at) for step in ran]
        # "9" sorts after all times
        self._ends = [_format_second(step.completed_at) or "9" for step in ran]
        self._latest_ends = [_format_second(step.completed_at, later_s=1) or "9" for step in ran]
        self._index = 0  # index of the current step, or of the first step that may come next
        self._is_inside = False

    def step_of(self, line: LogLine) -> int | None:
        """Return the number of the line's step; None if no step is running at its time."""
        if not self._numbers:
            return None
        opening = line.text if _opens_step(line) else ""
        is_over = not self._is_inside or line.second > self._ends[self._index]
        if line.second and (opening or is_over):
            self._move_to(line.second, opening)
        elif opening:
            self._enter(self._find(range(self._index, len(self._names)), opening, _has_name))
        if not self._is_inside:
            return None
        return self._numbers[self._index]

    def _move_to(self, second: str, opening: str) -> None:
        possible = [
            index
            for index in range(self._index, len(self._numbers))
            if self._starts[index] <= second <= self._ends[index]
        ]
        with_times = [index for index in possible if self._starts[index]]
        if opening:
            found = self._find(possible, opening, _has_name)
            if found is None:
                found = self._find(with_times, opening, _may_begin)
            self._enter(found)
        if self._is_inside and self._index in possible:
            return
        if with_times:
            self._enter(with_times[0])
        elif self._is_inside and second > self._latest_ends[self._index]:
            self._is_inside = False

    def _find(
        self, possible: Iterable[int], opening: str, fits: Callable[[str, str], bool]
    ) -> int | None:
        for index in possible:
            is_begun = self._is_inside and index == self._index
            if not is_begun and fits(self._names[index], opening):
                return index
        return None

    def _enter(self, index: int | None) -> None:
        if index is not None:
            self._index = index
            self._is_inside = True


def _has_name(name: str, opening: str) -> bool:
    return name == _normalize(opening)


def _may_begin(name: str, opening: str) -> bool:
    expected = next(
        (text for start, text in OPENING_TEXTS.items() if name.startswith(start)), "Run "
    )
    return opening.startswith(expected) and name != "Set up job"


def _normalize(name: str) -> str:
    return " ".join(name.split())


def _format_second(time: datetime | None, *, later_s: int = 0) -> str:
    if time is None:
        return ""
    # as in the log
    return (time + timedelta(seconds=later_s)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
