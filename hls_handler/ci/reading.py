"""A job's log as it is read: lines that know their step and their weight, runs of equal ones folded to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hls_handler.ci.command import Command, opens_command
from hls_handler.ci.keys import Keys
from hls_handler.ci.lines import LogLine, parse_line, readable
from hls_handler.ci.steps import Course, Step
from hls_handler.ci.symptoms import weigh

SHORTEST_RUN = 3
"""Lines that are folded, beside the first; fewer are as short as the remark in their place."""

CHANGING = "0123456789.,:%/ =>#-━╸╺█▓▒░"
"""What changes in a line that is written again and again, beside its words."""

WORDS_ONLY = str.maketrans("", "", CHANGING)


@dataclass(slots=True)
class Seen:
    line: LogLine
    step: int | None
    weight: int
    is_command: bool  # of the group that shows what is run, with its script, shell and environment
    opens_command: bool
    length: int  # characters as they came, those of folded lines too
    binary_length: int


def read(lines: Iterable[str], steps: Sequence[Step]) -> Iterator[Seen]:
    """Each line once, in order. One pass over any number of lines, and a handful of them in memory."""
    run: list[Seen] = []  # the first line, and as many as are shown if the run stays short
    for seen in _seen(lines, steps):
        if run and _is_same(run[0], seen):
            _add(run, seen)
        else:
            yield from _end(run)
            run = [seen]
    yield from _end(run)


def _seen(lines: Iterable[str], steps: Sequence[Step]) -> Iterator[Seen]:
    course, keys, command = Course(steps), Keys(), Command()
    last: tuple[str, str, int] = ("", "", 0)
    for number, raw in enumerate(lines, start=1):
        line = parse_line(raw)
        is_command = command.takes(line)
        if line.mark != last[0] or line.text != last[1] or line.is_binary:
            last = (line.mark, line.text, weigh(line))
        yield Seen(
            LogLine(number, keys.hide(readable(line)), unread=line.unread),
            course.step_of(line),
            0 if is_command and line.mark != "error" else last[2],
            is_command,
            opens_command(line),
            line.length,
            line.length if line.is_binary else 0,
        )


def _is_same(first: Seen, other: Seen) -> bool:
    if first.step != other.step or other.is_command or first.is_command:
        return False
    text, other_text = first.line.text, other.line.text
    if text == other_text:
        return True
    if first.weight or other.weight or abs(len(text) - len(other_text)) > MOST_GROWN:
        return False
    if text[:1] != other_text[:1] and not (text[:1] in CHANGING and other_text[:1] in CHANGING):
        return False  # most lines: the rest takes longer
    words = text.translate(WORDS_ONLY)
    return bool(words) and words == other_text.translate(WORDS_ONLY)


MOST_GROWN = 120  # characters, of a progress bar


def _add(run: list[Seen], seen: Seen) -> None:
    """The first line counts and the last one is kept; those between are kept while they are few."""
    first = run[0]
    alike = first.line.alike or seen.line.text != first.line.text
    first.line = replace(first.line, folded=first.line.folded + 1, alike=alike)
    first.length, seen.length = first.length + seen.length, 0
    first.binary_length, seen.binary_length = first.binary_length + seen.binary_length, 0
    if len(run) > SHORTEST_RUN:
        run[-1] = seen
    else:
        run.append(seen)


def _end(run: list[Seen]) -> Iterator[Seen]:
    """A long run is its first line and, where they differ, its last: how far it came."""
    if len(run) <= 1:
        yield from run
        return
    first = run[0]
    if first.line.folded < SHORTEST_RUN:
        first.line = replace(first.line, folded=0, alike=False)
        yield from run
    elif first.line.alike:
        first.line = replace(first.line, folded=first.line.folded - 1)
        yield first
        yield run[-1]
    else:
        yield first
