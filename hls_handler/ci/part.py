"""Selects from a part of a log, one step's or the whole job's, the few lines that an excerpt may show."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hls_handler.ci.lines import LogLine
from hls_handler.ci.reading import AnnotatedLine
from hls_handler.ci.symptoms import ERROR_MARK

MAX_COMMAND_LINES = 12  # lines of the group that shows the command
LINES_BEFORE, LINES_AFTER = 20, 40
"""Lines around the first real error. More after it, because compilers and test runners explain below it (expected,
received, notes). The exception of a traceback comes last, right below its most important frames."""
MAX_FURTHER = 8  # limit for other lines with errors, for each weight
TAIL_LINES = 30
BINARY_SHARE = 0.5  # of the characters; a part with more is not shown


class LineSelector:
    """Collects lines in order and keeps at most about 200."""

    def __init__(self) -> None:
        self.first_line = self.last_line = 0  # line numbers; 0 without lines
        self.has_text = False
        self.error: AnnotatedLine | None = None  # the first line of the greatest weight
        self._command: list[LogLine] = []
        self._command_of_error: list[LogLine] = []
        self._before: deque[LogLine] = deque(maxlen=LINES_BEFORE)
        self._window: list[LogLine] = []
        self._lines_after_left = 0
        self._further: dict[int, dict[str, LogLine]] = {}  # by weight, then by text
        self._tail: deque[LogLine] = deque(maxlen=TAIL_LINES)
        self._characters = self._binary_characters = 0

    def add(self, annotated: AnnotatedLine) -> None:
        line = annotated.line
        self.first_line = self.first_line or line.number
        self.last_line = line.number + line.folded
        self.has_text = self.has_text or (bool(line.text) and not line.text.isspace())
        self._characters += annotated.length
        self._binary_characters += annotated.binary_length
        self._tail.append(line)
        if annotated.opens_command:
            self._command = []
        if annotated.is_command and len(self._command) < MAX_COMMAND_LINES:
            self._command.append(line)
        if annotated.weight:
            self._add_error(annotated)
        elif self._lines_after_left:
            self._window.append(line)
            self._lines_after_left -= 1
        self._before.append(line)

    def _add_error(self, annotated: AnnotatedLine) -> None:
        line = annotated.line
        if self.error is None or annotated.weight > self.error.weight:
            self.error = annotated
            self._window = [*self._before, line]
            self._lines_after_left = LINES_AFTER
            self._command_of_error = self._command
        elif self._lines_after_left:
            self._window.append(line)
            self._lines_after_left -= 1
        if annotated.weight >= ERROR_MARK:
            by_text = self._further.setdefault(annotated.weight, {})
            if len(by_text) < MAX_FURTHER:
                by_text.setdefault(line.text, line)

    @property
    def is_binary(self) -> bool:
        """True if most characters are binary: then nothing is shown. A few binary lines are replaced by remarks."""
        return self._binary_characters > BINARY_SHARE * self._characters

    def ranked_runs(self) -> Iterator[list[LogLine]]:
        """Yield runs of adjacent lines, the most important run first, each from its most important line on.

        A run goes upwards or downwards from that line; if one of its lines is left out, so are all later ones.
        """
        command = self._command_of_error if self.error is not None else self._command
        error_index = self._window.index(self.error.line) if self.error is not None else 0
        yield self._window[error_index : error_index + 8]
        yield self._window[max(error_index - 7, 0) : error_index][::-1]
        yield command[:3]
        tail = list(self._tail)[::-1]
        yield tail[:6]
        further = [line for weight in sorted(self._further, reverse=True) for line in self._further[weight].values()]
        yield from ([line] for line in further[:MAX_FURTHER])
        yield self._window[error_index + 8 :]
        yield self._window[: max(error_index - 7, 0)][::-1]
        yield tail[6:]
        yield command[3:]
