"""Excerpts of a job's log, one for each failed step: the lines that explain the failure, with their
line numbers.

`numbered` formats an excerpt for Claude:

     12| Run npm test
    [... 340 lines left out ...]
    353| src/price.test.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
    354| waiting for the server
    [the same line 99,999 more times]

Every line of the log has a number. A remark of HLS has none, so no line of the log can be mistaken
for a remark.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from hls_handler.ci.error_patterns import ERROR_MARK, ERROR_WORD, FAILED_NAME, KILLED
from hls_handler.ci.log_lines import PREFIXES, LogLine, truncate_line
from hls_handler.ci.steps import AnnotatedLine, annotate_lines
from hls_handler.github.values import WorkflowStep
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import inflect

State = Literal["text", "expired", "empty", "binary", "elsewhere"]
"""Kind of an excerpt. "expired": GitHub no longer has the log. "elsewhere": another excerpt has the
lines. Either the lines of the step were not identified, and that of another failed step is from the
whole job's log, or an earlier step has the same error.
"""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The selected lines of a step's log."""

    step: int | None  # the number of the failed step; None if the job has none
    lines: tuple[LogLine, ...]  # in order; their numbers show the gaps
    # number of the line that explains the failure best; None if it is not in `lines`
    error_line: int | None
    # number of the first line of the step's log, or of the whole log; 0 if that is empty
    first_line: int
    last_line: int  # number of the last line of the same log
    state: State
    # the excerpt is from the whole job's log, because the step's lines were not identified
    whole_job: bool
    errors: tuple[str, ...] = ()  # lines that name an error, the best first; () without one
    was_killed: bool = False  # the log ends with errors that say what killed the job: a time limit

    @property
    def total_lines(self) -> int:
        if not self.first_line:
            return 0
        return self.last_line - self.first_line + 1


def numbered(excerpt: Excerpt) -> CodeText:
    """Format the excerpt for Claude, with line numbers: "12| Run npm test". Return "" unless its
    `state` is "text".
    """
    if excerpt.state != "text":
        return CodeText("")
    parts: list[str] = []
    width = len(str(excerpt.last_line))
    next_number = excerpt.first_line
    for line in excerpt.lines:
        if line.number > next_number:
            parts.append(_gap_remark(line.number - next_number))
        parts.append(f"{line.number:>{width}}| {line.text}")
        if line.folded:
            parts.append(_fold_remark(line.folded))
        next_number = line.number + line.folded + 1
    if next_number <= excerpt.last_line:
        parts.append(_gap_remark(excerpt.last_line + 1 - next_number))
    return CodeText("\n".join(parts))


def _gap_remark(lines: int) -> str:
    return f"[... {lines:,} {inflect(lines, 'line')} left out ...]"


def _fold_remark(repetitions: int) -> str:
    return f"[the same line {repetitions:,} more {inflect(repetitions, 'time')}]"


MAX_COMMAND_LINES = 12  # lines shown of the log group with the step's command
LINES_BEFORE = 20
LINES_AFTER = 40
"""Number of lines shown before and after the line that explains the failure best. Compilers and
test runners explain an error below its first line, so more lines are shown after it. Of a
traceback, the last frames are the most useful.
"""
MAX_FURTHER = 8  # limit on other lines with errors, for each weight
TAIL_LINES = 30  # number of lines shown from the end of the log
# a failed step with fewer lines may be a gate for the result of an earlier step
MAX_GATE_LINES = 15
BINARY_SHARE = 0.5  # a log with a larger share of binary lines is not shown


class _LineSelector:
    def __init__(self) -> None:
        # Every list is limited, because a log may have half a million lines.
        # line numbers; 0 without lines
        self.first_line = 0
        self.last_line = 0
        self.has_text = False
        self.error: AnnotatedLine | None = None  # the first line of the greatest weight
        self._weight = 0  # of that line
        self._task = ""
        self._command: list[LogLine] = []
        self._command_of_error: list[LogLine] = []
        self._before: dict[str, deque[LogLine]] = {}  # by task
        self._window: list[LogLine] = []
        self._lines_after_left = 0
        self._further: dict[int, dict[str, LogLine]] = {}  # by weight, then by text
        self._tail: deque[AnnotatedLine] = deque(maxlen=TAIL_LINES)
        self._binary_lines = 0
        self.was_killed = False  # at the last error of the runner
        # the last lines are errors that begin with one of the weight `KILLED`
        self._is_killing = False

    def add(self, annotated: AnnotatedLine) -> None:
        line = annotated.line
        self.first_line = self.first_line or line.number
        self.last_line = line.number + line.folded
        self.has_text = self.has_text or (bool(line.text) and not line.text.isspace())
        if annotated.is_binary:
            self._binary_lines += 1 + line.folded
        self._tail.append(annotated)
        self._is_killing = annotated.weight == KILLED or (self._is_killing and annotated.weight > 0)
        if line.text.startswith(PREFIXES["error"]):
            self.was_killed = self._is_killing
        if annotated.opens_command:
            self._command = []
        if annotated.is_command and len(self._command) < MAX_COMMAND_LINES:
            self._command.append(line)
        if annotated.weight > self._weight:
            self.error = annotated
            self._weight = annotated.weight
            self._task = annotated.task
            self._window = [*self._lines_before(annotated.task), line]
            self._lines_after_left = LINES_AFTER
            self._command_of_error = self._command
        elif self._lines_after_left and _is_shown_with(annotated.task, self._task):
            self._window.append(line)
            self._lines_after_left -= 1
        if annotated.weight >= ERROR_MARK:
            by_text = self._further.setdefault(annotated.weight, {})
            if len(by_text) < MAX_FURTHER:
                by_text.setdefault(line.text, line)
        self._before.setdefault(annotated.task, deque(maxlen=LINES_BEFORE)).append(line)

    def _lines_before(self, task: str) -> list[LogLine]:
        chosen = [lines for name, lines in self._before.items() if _is_shown_with(name, task)]
        return sorted(chain.from_iterable(chosen), key=lambda line: line.number)[-LINES_BEFORE:]

    @property
    def ended_with_error(self) -> bool:
        """True if the last line is an error of the runner or of an action, as of a step with
        `continue-on-error`.
        """
        return bool(self._tail) and self._tail[-1].line.text.startswith(PREFIXES["error"])

    @property
    def explains_failure(self) -> bool:
        """False for a gate, which only reports that an earlier step failed."""
        is_long = self.last_line - self.first_line >= MAX_GATE_LINES
        return is_long and self._weight >= FAILED_NAME

    @property
    def errors(self) -> tuple[str, ...]:
        """Return lines that name an error, at most `MAX_FURTHER` of each weight, the best first."""
        weights = sorted(self._further, reverse=True)
        naming = [weight for weight in weights if weight >= FAILED_NAME]
        if not naming and ERROR_WORD in weights:  # a line of a logger may stand in each log
            naming = [weight for weight in weights if weight >= ERROR_WORD]
        found: list[str] = []
        for weight in naming:
            found += self._further[weight]
        return tuple(found)

    @property
    def is_binary(self) -> bool:
        return self._binary_lines > BINARY_SHARE * (self.last_line - self.first_line + 1)

    def ranked_runs(self) -> Iterator[list[LogLine]]:
        """Yield the selected lines in runs of adjacent lines, the most important run first.

        A run begins at its most important line and goes down or up the log; the lines 7, 6, 5 go
        up. A line may be in several runs.
        """
        command = self._command
        error_index = 0
        if self.error is not None:
            command = self._command_of_error
            error_index = self._window.index(self.error.line)
        yield self._window[error_index : error_index + 8]
        yield self._window[max(error_index - 7, 0) : error_index][::-1]
        yield command[:3]
        tail = list(self._tail)[::-1]
        yield [one.line for one in tail[:6]]
        further: list[LogLine] = []
        for weight in sorted(self._further, reverse=True):
            further += self._further[weight].values()
        for line in further[:MAX_FURTHER]:
            yield [line]
        yield self._window[error_index + 8 :]
        yield self._window[: max(error_index - 7, 0)][::-1]
        yield [one.line for one in tail[6:] if _is_shown_with(one.task, self._task)]
        yield command[3:]


def _is_shown_with(task: str, task_of_error: str) -> bool:
    """Return False for lines of different tasks with interleaved output. "" is a line of no
    task.
    """
    # "12 " contains "12 web:build "
    return task.startswith(task_of_error) or task_of_error.startswith(task)


def cut(
    lines: Iterable[str], steps: Sequence[WorkflowStep], *, characters: int
) -> tuple[Excerpt, ...]:
    """Return an excerpt for each failed step, by step number; one for the whole job if no step
    failed.

    A step that failed with `continue-on-error` has the conclusion "success". It has an excerpt,
    too, if a later step failed and does not explain the failure: "2 tests were flaky".

    `lines` is the raw log, split at "\\n" only and decoded with `errors="replace"`; it may be a
    stream of any length. `steps` must have all steps of the job, because one step ends where the
    next begins. `characters` limits the total length of the excerpts as `numbered` returns them. An
    excerpt whose share is too small for one line has no lines. No content of the log raises an
    error. Redacts private keys that span several lines, and secrets in lines that it truncates. The
    caller must redact all other secrets.
    """
    failed = sorted(step.number for step in steps if step.failed)
    job = _LineSelector()
    last_failed = max(failed, default=0)
    every_part = {
        step.number: _LineSelector() for step in steps if step.failed or step.number < last_failed
    }
    for line in annotate_lines(lines, steps):
        job.add(line)
        if line.step is not None and line.step in every_part:
            every_part[line.step].add(line)
    if not failed or not job.has_text:
        numbers: list[int | None] = [*failed] or [None]
        share = characters // len(numbers)
        return tuple(_excerpt(number, job, share, whole_job=True) for number in numbers)
    for part in every_part.values():  # the runner's last errors may follow the end of the step
        part.was_killed = part.was_killed or job.was_killed
    parts = _choose_parts(every_part, failed)
    left = max(characters, 0)
    without_lines = [number for number, part in parts.items() if not part.first_line]
    to_show = len(parts) - len(without_lines[1:])
    excerpts: list[Excerpt] = []
    for number, part in parts.items():
        if number in without_lines[1:]:  # the first one has the whole job's log
            excerpts.append(Excerpt(number, (), None, 0, 0, "elsewhere", whole_job=False))
            continue
        whole_job = number in without_lines
        shown = job if whole_job else part
        excerpt = _excerpt(number, shown, left // to_show, whole_job=whole_job)
        left -= len(numbered(excerpt))
        to_show -= 1
        excerpts.append(excerpt)
    return tuple(excerpts)


def _choose_parts(
    parts: dict[int, _LineSelector], failed: Sequence[int]
) -> dict[int, _LineSelector]:
    last_unexplained = max(
        (number for number in failed if not parts[number].explains_failure), default=0
    )
    return {
        number: part
        for number, part in sorted(parts.items())
        if number in failed or (number < last_unexplained and part.ended_with_error)
    }


def _excerpt(step: int | None, part: _LineSelector, characters: int, *, whole_job: bool) -> Excerpt:
    state: State = "text"
    lines: list[LogLine] = []
    if not part.has_text:
        state = "empty"
    elif part.is_binary:
        state = "binary"
    else:
        lines = _choose_lines(part, characters)
    error_line = None
    if part.error is not None and part.error.line.number in {line.number for line in lines}:
        error_line = part.error.line.number
    return Excerpt(
        step,
        tuple(lines),
        error_line,
        part.first_line,
        part.last_line,
        state,
        whole_job,
        part.errors,
        part.was_killed,
    )


def _choose_lines(part: _LineSelector, characters: int) -> list[LogLine]:
    gap = _gap_cost(part)
    left = characters - gap  # there may be one more gap than blocks of chosen lines
    chosen: dict[int, LogLine] = {}
    ends: set[int] = set()  # the line number after each chosen line
    for run in part.ranked_runs():
        for full in run:
            if full.number in chosen:
                continue
            line = truncate_line(full)
            after = line.number + line.folded + 1
            cost = _cost(line, part)
            if line.number not in ends and after not in chosen:
                cost += gap
            if cost > left:
                break  # shorter lines further along the run would leave a hole in it
            left -= cost
            chosen[line.number] = line
            ends.add(after)
    return [chosen[number] for number in sorted(chosen)]


def _cost(line: LogLine, part: _LineSelector) -> int:
    shown = f"{part.last_line}| {line.text}\n"
    if line.folded:
        shown += f"{_fold_remark(line.folded)}\n"
    return len(shown)


def _gap_cost(part: _LineSelector) -> int:
    return len(_gap_remark(max(part.last_line, 2))) + 1  # of the longest remark, with its newline


MIN_PARTIAL_CHARS = 12
"""Minimum length, without white space, of a quote that may be part of a line. A shorter quote must
be a whole line.
"""

NUMBERED_ROW = re.compile(r" {0,12}([0-9]{1,9})\| (.*)", re.DOTALL)
LINE_NUMBER = re.compile(r"\s{0,12}[0-9]{1,9}\| ?")
QUOTATION_MARKS = "`\"'“”‘’… "


def locate(text: str, quote: str) -> LogLine | None:
    """Return the line that Claude quotes; None if the numbered excerpt does not contain the quote.

    If the quote has several lines, the excerpt must contain them in order; the first line is
    returned. Claude may quote a part of a line, and add line numbers and quotation marks. White
    space, case and invisible characters are ignored. A line that equals the quote is preferred to a
    line that contains it.
    """
    rows = map(NUMBERED_ROW.fullmatch, text.split("\n"))
    lines = [LogLine(int(row[1]), row[2]) for row in rows if row is not None]
    wanted = [line for line in map(_normalize, quote.split("\n")) if line]
    texts = [_normalize(line.text) for line in lines]
    found = [index for index in range(len(texts)) if wanted and _begins(texts[index:], wanted)]
    if not found:
        return None
    equal = [index for index in found if texts[index] == wanted[0]]
    return lines[(equal or found)[0]]


def _begins(texts: Sequence[str], wanted: Sequence[str]) -> bool:
    following = iter(texts)
    return _contains(next(following), wanted[0]) and all(
        any(_contains(text, line) for text in following) for line in wanted[1:]
    )


def _contains(text: str, wanted: str) -> bool:
    return text == wanted or (len(wanted) >= MIN_PARTIAL_CHARS and wanted in text)


def _normalize(text: str) -> str:
    shown = redact(clean(CodeText(text)))  # as for Claude
    unnumbered = LINE_NUMBER.sub("", shown.strip(QUOTATION_MARKS), count=1)
    return "".join(unnumbered.strip(QUOTATION_MARKS).split()).casefold()
