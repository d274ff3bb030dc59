"""Annotates the lines of a job's log with step and weight, and folds repeated lines.

The log does not name the steps. The step of a line is found by its time, because the jobs API has
the start and end of each step in whole seconds. If two steps share a second, the later step begins
at a line such as `##[group]Run npm test` (`_opens_step`). This line opens the step named
`Run npm test`. If no step has this name, the line opens the next step. A composite action writes
such a line for each of its inner steps. In a shared second, the line of an inner step may open the
job's next step too early.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice

from hls_handler.ci.error_patterns import weigh_line
from hls_handler.ci.log_lines import (
    LogLine,
    PrivateKeyFilter,
    RawLine,
    display_text,
    parse_line,
    split_tasks,
)
from hls_handler.github.values import WorkflowStep

MAX_GROUP_LINES = 200
"""Limit on the lines of a log group, because its end may be missing."""


def opens_command(line: RawLine) -> bool:
    """Return True if a line opens the log group that shows a step's command:
    `##[group]Run npm test`.
    """
    return line.mark == "group" and line.text.startswith("Run ")


class _CommandGroup:
    """Finds the log lines in which the runner shows a step's command, inputs and environment:

        ##[group]Run npm test
        \\x1b[36;1mnpm test\\x1b[0m
        shell: /usr/bin/bash -e {0}
        env:
          CI: true
        ##[endgroup]

    Pass each line of the log to `includes` once, in order.
    """

    def __init__(self) -> None:
        self._lines_left = 0
        self._has_values = False

    def includes(self, line: RawLine) -> bool:
        if opens_command(line):
            self._lines_left = MAX_GROUP_LINES
            self._has_values = False
            return True
        if not self._lines_left:
            return False
        if line.mark == "endgroup":
            self._lines_left = 0
            return True
        # after "with:" or "env:", a value may have several lines of any form
        self._has_values = self._has_values or line.text in {"with:", "env:"}
        is_included = self._has_values or line.is_script or line.text.startswith("shell: ")
        # 0: a program printed "##[group]Run " itself
        self._lines_left = self._lines_left - 1 if is_included else 0
        return is_included


OPENING_TEXTS = {"Post ": "Post job cleanup.", "Complete job": "Cleaning up orphan processes"}
"""Steps that the runner adds: start of the name -> first line in the log. "Set up job" needs none:
it comes first.
"""


def _opens_step(line: RawLine) -> bool:
    if line.mark:
        return opens_command(line)
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

    def step_of(self, line: RawLine) -> int | None:
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


MIN_FOLDED = 3
"""Minimum number of repetitions to fold into "[the same line 3 more times]". Fewer repetitions take
no more space.
"""


@dataclass(slots=True)
class AnnotatedLine:
    line: LogLine
    step: int | None  # number of its step; None if no step was running
    weight: int
    is_command: bool  # part of the log group that shows the step's command, shell and environment
    opens_command: bool  # the first line of that group
    task: str  # the task that printed the line; "" if none is known
    is_binary: bool


def annotate_lines(lines: Iterable[str], steps: Sequence[WorkflowStep]) -> Iterator[AnnotatedLine]:
    """Yield the lines of a log in order, with repeated lines folded. Keeps few lines in memory."""
    for _, run in groupby(_annotate(lines, steps), key=_fold_key):
        first, *repeated = islice(run, MIN_FOLDED + 1)
        if len(repeated) < MIN_FOLDED:
            yield from (first, *repeated)
        else:
            first.line = replace(first.line, folded=MIN_FOLDED + sum(1 for _ in run))
            yield first


def _fold_key(annotated: AnnotatedLine) -> tuple[object, ...]:
    line = annotated.line
    if annotated.is_command:  # its lines are not folded
        return annotated.step, line.text, line.number
    return annotated.step, line.text


def _annotate(lines: Iterable[str], steps: Sequence[WorkflowStep]) -> Iterator[AnnotatedLine]:
    tracker = StepTracker(steps)
    command_group = _CommandGroup()
    key_filters: dict[str, PrivateKeyFilter] = defaultdict(PrivateKeyFilter)  # by task
    last: tuple[str, str, int] = ("", "", 0)
    for number, line in enumerate(split_tasks(map(parse_line, lines)), start=1):
        is_command = command_group.includes(line)
        if line.mark != last[0] or line.text != last[1] or line.is_binary:
            last = (line.mark, line.text, weigh_line(line))
        shown = display_text(line)
        prefix = ""
        if shown is line.text:
            prefix = shown[: len(shown) - len(line.texts[-1])]
        text = prefix + key_filters[line.task].redact_line(shown[len(prefix) :])
        weight = last[2]
        if is_command and line.mark != "error":  # the step did not print its command
            weight = 0
        yield AnnotatedLine(
            LogLine(number, text, unread=line.unread),
            tracker.step_of(line),
            weight,
            is_command,
            opens_command(line),
            line.task,
            line.is_binary,
        )
