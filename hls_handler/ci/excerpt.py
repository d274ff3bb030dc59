"""An excerpt of a failed step's log: the lines that explain the failure, with their numbers in the job's log.

`numbered` formats it for Claude:

     12| Run npm test
    [... 340 lines left out ...]
    353| src/price.test.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
    354| waiting for the server
    [the same line 99,999 more times]

Lines have numbers and remarks have none, so that no line of the log can be mistaken for a remark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hls_handler.ci.lines import LogLine
from hls_handler.untrusted.cleaning import CodeText

State = Literal["text", "empty", "binary", "elsewhere"]
"""`elsewhere`: the step's lines could not be identified, and another excerpt shows the log of the whole job."""

TEXT_WITHOUT_LINES = {
    "empty": "[the log is empty]",
    "binary": "[the log is not text]",
    "elsewhere": "[the lines of this step could not be identified: see the log of the whole job above]",
}


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The selected lines of a step's log. Stored in checkpoints, so its fields must keep their names."""

    step: int | None  # the number of the step; None if the job failed without a failed step
    lines: tuple[LogLine, ...]  # in order; their numbers show the gaps
    error_line: int | None  # the number of the first line of the greatest weight, if it is among the lines
    first_line: int  # of the part of the log that the excerpt is from; 0 if it has no lines
    last_line: int
    state: State
    whole_job: bool  # the excerpt is from the whole job's log, because the step's lines were not identified

    @property
    def total_lines(self) -> int:
        """Number of lines in the part of the log that the excerpt is from."""
        return self.last_line - self.first_line + 1 if self.first_line else 0


def numbered(excerpt: Excerpt) -> CodeText:
    """Return the excerpt as Claude sees it, in the format of the module's docstring. Every omission is visible."""
    return CodeText("\n".join(_numbered_lines(excerpt)))


def _numbered_lines(excerpt: Excerpt) -> Iterator[str]:
    if excerpt.state != "text":
        yield TEXT_WITHOUT_LINES[excerpt.state]
        return
    width = len(str(excerpt.last_line))
    next_number = excerpt.first_line
    for line in excerpt.lines:
        if line.number > next_number:
            yield gap_remark(line.number - next_number)
        yield f"{line.number:>{width}}| {line.text}"
        if line.folded:
            yield fold_remark(line)
        next_number = line.number + line.folded + 1
    if next_number <= excerpt.last_line:
        yield gap_remark(excerpt.last_line + 1 - next_number)


def gap_remark(lines: int) -> str:
    return f"[... {lines:,} {'line' if lines == 1 else 'lines'} left out ...]"


def fold_remark(line: LogLine) -> str:
    times = f"{line.folded:,} more {'time' if line.folded == 1 else 'times'}"
    return f"[the same line {times}, with other numbers]" if line.alike else f"[the same line {times}]"
