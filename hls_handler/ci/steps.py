"""Finds the step that printed each line of a job's log.

The log does not name the steps. The step of a line is found by its time, because the jobs API has
the start and end of each step in whole seconds. If two steps share a second, the later step begins
at a line such as `##[group]Run npm test` (`_opens_step`). This line opens the step named
`Run npm test`. If no step has this name, the line opens the next step. A composite action writes
such a line for each of its inner steps. In a shared second, the line of an inner step may open the
job's next step too early.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hls_handler.ci.log_lines import JobLogLine
from hls_handler.github.values import WorkflowStep

OPENING_TEXTS = {"Post ": "Post job cleanup.", "Complete job": "Cleaning up orphan processes"}
"""Steps that the runner adds: start of the name -> first line in the log. "Set up job" needs none:
it comes first.
"""


@dataclass(frozen=True, slots=True)
class _Step:
    number: int
    name: str
    start: str  # second, as in the log
    end: str


def assign_steps(
    lines: Iterable[JobLogLine], steps: Iterable[WorkflowStep]
) -> Iterator[JobLogLine]:
    """Yield the lines with the numbers of the steps that printed them; None before all steps."""
    ran = [
        # "9" sorts after all times
        _Step(step.number, step.name, _second(step.started_at), _second(step.completed_at) or "9")
        for step in sorted(steps, key=lambda step: step.number)
        if step.started_at and step.conclusion != "skipped"
    ]
    current = -1
    for line in lines:
        is_over = current < 0 or line.second > ran[current].end
        if line.second and (is_over or _opens_step(line)):
            current = _find_step(line, current, ran)
        if current >= 0:
            line.step = ran[current].number
        yield line


def _second(time: datetime | None) -> str:
    if time is None:
        return ""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _opens_step(line: JobLogLine) -> bool:
    if line.mark:
        return line.mark == "group" and line.text.startswith("Run ")
    return line.text.startswith(tuple(OPENING_TEXTS.values()))


def _find_step(line: JobLogLine, current: int, steps: Sequence[_Step]) -> int:
    """Return the index of the line's step: the current one, unless another runs at its time."""
    running = [
        index
        for index in range(max(current, 0), len(steps))
        if steps[index].start <= line.second <= steps[index].end
    ]
    named: list[int] = []
    possible: list[int] = []
    if _opens_step(line):
        later = [index for index in running if index > current]
        named = [index for index in later if steps[index].name == line.text]
        possible = [index for index in later if _may_begin(steps[index].name, line.text)]
    return [*named, *possible, *running, current][0]


def _may_begin(name: str, opening: str) -> bool:
    expected = next(
        (text for start, text in OPENING_TEXTS.items() if name.startswith(start)), "Run "
    )
    return opening.startswith(expected)
