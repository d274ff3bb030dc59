"""An excerpt of a failed step's log: the lines that explain the failure, with their numbers in the job's log.

Claude sees it as `numbered` writes it:

     12| Run npm test
    [... 340 lines left out ...]
    353| src/price.test.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
    354| waiting for the server
    [the same line 99,999 more times]

Lines have numbers and remarks have none, so that no line can pass for a remark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hls_handler.ci.lines import LogLine
from hls_handler.untrusted.cleaning import Code

State = Literal["text", "empty", "binary", "elsewhere"]
"""`elsewhere`: the step's lines could not be told from the others', and another excerpt shows the whole job's log."""

WITHOUT_LINES = {
    "empty": "[the log is empty]",
    "binary": "[the log is no text]",
    "elsewhere": "[not told from the other steps: see the whole job's log above]",
}


@dataclass(frozen=True, slots=True)
class Excerpt:
    step: int | None  # its number; None where the job failed and none of its steps
    lines: tuple[LogLine, ...]  # in order; gaps show by their numbers
    error_line: int | None  # the number of the first real error, if it is among the lines
    first_line: int  # of the part that this is an excerpt of; 0 where it has no lines
    last_line: int
    state: State
    whole_job: bool  # the step's part was not found by times or names, and this is the whole job's log

    @property
    def total_lines(self) -> int:
        """Of the part."""
        return self.last_line - self.first_line + 1 if self.first_line else 0


def numbered(excerpt: Excerpt) -> Code:
    """The excerpt as Claude sees it; the module's docstring gives the form. Whatever is left out shows."""
    return Code("\n".join(_numbered(excerpt)))


def _numbered(excerpt: Excerpt) -> Iterator[str]:
    if excerpt.state != "text":
        yield WITHOUT_LINES[excerpt.state]
        return
    width = len(str(excerpt.last_line))
    expected = excerpt.first_line
    for line in excerpt.lines:
        if line.number > expected:
            yield gap_remark(line.number - expected)
        yield f"{line.number:>{width}}| {line.text}"
        if line.folded:
            yield fold_remark(line)
        expected = line.number + line.folded + 1
    if expected <= excerpt.last_line:
        yield gap_remark(excerpt.last_line + 1 - expected)


def gap_remark(lines: int) -> str:
    return f"[... {lines:,} {'line' if lines == 1 else 'lines'} left out ...]"


def fold_remark(line: LogLine) -> str:
    times = f"{line.folded:,} more {'time' if line.folded == 1 else 'times'}"
    return f"[the same line {times}, with other numbers]" if line.alike else f"[the same line {times}]"
