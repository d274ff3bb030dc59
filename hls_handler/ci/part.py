"""A part of a log, one step's or the whole job's: of any number of lines, the few that an excerpt may show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hls_handler.ci.lines import LogLine
from hls_handler.ci.reading import Seen
from hls_handler.ci.symptoms import MARKED

COMMAND = 12  # lines of what was run
BEFORE, AFTER = 20, 40
"""Around the first real error. More after it: compilers and test runners explain below (expected, received, notes). The
exception of a traceback comes last, and the frames that matter most stand right above it."""
FURTHER = 8  # other lines with errors, of each weight
TAIL = 30
BINARY_SHARE = 0.5  # of the characters


class Part:
    """Takes lines in order, and keeps at most a hundred or two."""

    def __init__(self) -> None:
        self.first_line = self.last_line = 0  # numbers; 0 where nothing was taken
        self.has_text = False
        self.error: Seen | None = None  # the first of the greatest weight
        self._command: list[LogLine] = []
        self._command_of_error: list[LogLine] = []
        self._before: deque[LogLine] = deque(maxlen=BEFORE)
        self._window: list[LogLine] = []
        self._missing_after = 0
        self._further: dict[int, dict[str, LogLine]] = {}  # by weight, then by text
        self._tail: deque[LogLine] = deque(maxlen=TAIL)
        self._characters = self._binary_characters = 0

    def take(self, seen: Seen) -> None:
        line = seen.line
        self.first_line = self.first_line or line.number
        self.last_line = line.number + line.folded
        self.has_text = self.has_text or (bool(line.text) and not line.text.isspace())
        self._characters += seen.length
        self._binary_characters += seen.binary_length
        self._tail.append(line)
        if seen.opens_command:
            self._command = []
        if seen.is_command and len(self._command) < COMMAND:
            self._command.append(line)
        if seen.weight:
            self._note(seen)
        elif self._missing_after:
            self._window.append(line)
            self._missing_after -= 1
        self._before.append(line)

    def _note(self, seen: Seen) -> None:
        line = seen.line
        if self.error is None or seen.weight > self.error.weight:
            self.error = seen
            self._window = [*self._before, line]
            self._missing_after = AFTER
            self._command_of_error = self._command
        elif self._missing_after:
            self._window.append(line)
            self._missing_after -= 1
        if seen.weight >= MARKED:
            alike = self._further.setdefault(seen.weight, {})
            if len(alike) < FURTHER:
                alike.setdefault(line.text, line)

    @property
    def is_binary(self) -> bool:
        """Where a few lines are binary, each is a remark; where most is, there is nothing to show."""
        return self._binary_characters > BINARY_SHARE * self._characters

    def runs(self) -> Iterator[list[LogLine]]:
        """What is worth showing, the most important first; each run from its most important line on.

        The lines of a run follow each other, upwards or downwards, so that where one is left out, so are those behind.
        """
        command = self._command_of_error if self.error is not None else self._command
        at = self._window.index(self.error.line) if self.error is not None else 0
        yield self._window[at : at + 8]
        yield self._window[max(at - 7, 0) : at][::-1]
        yield command[:3]
        tail = list(self._tail)[::-1]
        yield tail[:6]
        further = [line for weight in sorted(self._further, reverse=True) for line in self._further[weight].values()]
        yield from ([line] for line in further[:FURTHER])
        yield self._window[at + 8 :]
        yield self._window[: max(at - 7, 0)][::-1]
        yield tail[6:]
        yield command[3:]
