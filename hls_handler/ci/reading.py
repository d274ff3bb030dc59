"""Annotates the lines of a job's log with step and weight, and folds runs of equal lines into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hls_handler.ci.command import CommandGroup, opens_command
from hls_handler.ci.keys import PrivateKeyFilter
from hls_handler.ci.lines import LogLine, display_text, parse_line
from hls_handler.ci.steps import Step, StepTracker
from hls_handler.ci.symptoms import weigh_line

MIN_FOLDED = 3
"""Minimum number of equal lines after the first to be folded; fewer are as short as the remark in their place."""

CHANGING_CHARS = "0123456789.,:%/ =>#-━╸╺█▓▒░"
"""Characters that change in repeated lines, such as counters and progress bars."""

REMOVE_CHANGING_CHARS = str.maketrans("", "", CHANGING_CHARS)


@dataclass(slots=True)
class AnnotatedLine:
    line: LogLine
    step: int | None
    weight: int
    is_command: bool  # part of the group that shows the command, its shell and environment
    opens_command: bool
    length: int  # characters of the raw line and of the lines folded into it
    binary_length: int


def annotate_lines(lines: Iterable[str], steps: Sequence[Step]) -> Iterator[AnnotatedLine]:
    """Yield the lines in order, in one pass and with only a few of them in memory."""
    run: list[AnnotatedLine] = []  # the first line and those that are shown if the run is too short to fold
    for annotated in _annotate(lines, steps):
        if run and _is_repeated(run[0], annotated):
            _extend(run, annotated)
        else:
            yield from _fold(run)
            run = [annotated]
    yield from _fold(run)


def _annotate(lines: Iterable[str], steps: Sequence[Step]) -> Iterator[AnnotatedLine]:
    tracker, key_filter, command_group = StepTracker(steps), PrivateKeyFilter(), CommandGroup()
    last: tuple[str, str, int] = ("", "", 0)
    for number, raw in enumerate(lines, start=1):
        line = parse_line(raw)
        is_command = command_group.includes(line)
        if line.mark != last[0] or line.text != last[1] or line.is_binary:
            last = (line.mark, line.text, weigh_line(line))
        yield AnnotatedLine(
            LogLine(number, key_filter.redact_line(display_text(line)), unread=line.unread),
            tracker.step_of(line),
            0 if is_command and line.mark != "error" else last[2],
            is_command,
            opens_command(line),
            line.length,
            line.length if line.is_binary else 0,
        )


def _is_repeated(first: AnnotatedLine, other: AnnotatedLine) -> bool:
    if first.step != other.step or other.is_command or first.is_command:
        return False
    text, other_text = first.line.text, other.line.text
    if text == other_text:
        return True
    if first.weight or other.weight or abs(len(text) - len(other_text)) > MAX_GROWTH:
        return False
    if text[:1] != other_text[:1] and not (text[:1] in CHANGING_CHARS and other_text[:1] in CHANGING_CHARS):
        return False  # decides for most lines; the comparison below is slower
    words = text.translate(REMOVE_CHANGING_CHARS)
    return bool(words) and words == other_text.translate(REMOVE_CHANGING_CHARS)


MAX_GROWTH = 120  # characters by which a progress bar may grow


def _extend(run: list[AnnotatedLine], new: AnnotatedLine) -> None:
    """Count the new line in the first one of the run. The last line is kept, others only while they are few."""
    first = run[0]
    alike = first.line.alike or new.line.text != first.line.text
    first.line = replace(first.line, folded=first.line.folded + 1, alike=alike)
    first.length, new.length = first.length + new.length, 0
    first.binary_length, new.binary_length = first.binary_length + new.binary_length, 0
    if len(run) > MIN_FOLDED:
        run[-1] = new
    else:
        run.append(new)


def _fold(run: list[AnnotatedLine]) -> Iterator[AnnotatedLine]:
    """Yield the run: if it is long, only its first line and, if lines differ, its last one."""
    if len(run) <= 1:
        yield from run
        return
    first = run[0]
    if first.line.folded < MIN_FOLDED:
        first.line = replace(first.line, folded=0, alike=False)
        yield from run
    elif first.line.alike:
        first.line = replace(first.line, folded=first.line.folded - 1)
        yield first
        yield run[-1]
    else:
        yield first
