"""Excerpts of a job's log, one for each failed step, with line numbers.

A log that fits is shown whole, else its end, the regions around its marked lines, and its
beginning. An excerpt:

     12| Run npm test
    [... 340 lines left out ...]
    353| src/price.test.ts(3,7): error TS2322: Type 'string' is not assignable to type 'number'.
    354| waiting for the server
    [99,999 more such lines]

Every line of the log has a number. A remark of HLS has none, so no line of the log can be mistaken
for a remark.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby, islice, takewhile
from typing import Literal

from hls_handler.ci.log_lines import KILLED, JobLogLine, read_lines, remove_prefixes
from hls_handler.github.values import WorkflowStep
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import inflect

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


LogState = Literal["text", "expired", "empty", "elsewhere"]
"""Kind of a log. "expired": GitHub no longer has it. "elsewhere": another excerpt has the lines.
Either the lines of the step were not identified, and that of another failed step is from the whole
job's log, or an earlier step has the same error.
"""

MAX_ERRORS = 50
LINES_BEFORE = 10  # of a region, before its first marked line
REGION_LINES = 40
MAX_GATE_LINES = 15
SHAPE_CHARS = 60
MAX_SHAPES = 1_000
WORD = re.compile(r"[^\W\d]+")


@dataclass(frozen=True, slots=True)
class Excerpt:
    text: str  # redacted, each line with its number: "12| Run npm test"; "" if there is no text
    lines: int  # of the log
    shown_lines: int


LogBlock = list[JobLogLine]


class _Ends:
    """The first and the last blocks of a log of any length, each up to a number of characters."""

    def __init__(self, characters: int) -> None:
        self._characters = characters
        self._first: list[LogBlock] = []
        self._last: deque[LogBlock] = deque()
        self._last_cost = 0
        self.cost = 0  # of all blocks that were added

    def add(self, block: LogBlock) -> None:
        cost = sum(map(_cost, block))
        self.cost += cost
        if self.cost <= self._characters:
            self._first.append(block)
            return
        self._last.append(block)
        self._last_cost += cost
        while self._last_cost > self._characters:
            self._last_cost -= sum(map(_cost, self._last.popleft()))

    @property
    def blocks(self) -> list[LogBlock]:
        return [*self._first, *self._last]


class StepLog:
    """The log of a step, or of a job: the parts that may be in an excerpt of `characters`."""

    def __init__(
        self, step: WorkflowStep | None, characters: int, state: LogState = "empty"
    ) -> None:
        self.step = step
        # the log is that of the whole job: no step failed, or its lines were not identified
        self.whole_job = step is None
        self.state = state
        self.first_line = 0  # 0 without lines
        self.was_killed = False  # an error of the runner says so: a time limit
        self.ended_with_error = False  # of the runner, as of a step with `continue-on-error`
        self.errors: dict[str, None] = {}  # the first marked lines
        self._last_line = 0
        self._lines = _Ends(characters)
        self._regions = _Ends(characters)
        self._new_regions = _Ends(characters)  # those with a marked line of a new shape
        self._shapes: set[str] = set()  # of marked lines
        self._is_new = False  # the present region
        self._region: LogBlock = []
        self._region_end = 0  # number of the last line of the region before
        self._context: LogBlock = []  # lines before the region
        self._before: deque[JobLogLine] = deque(maxlen=LINES_BEFORE)

    def add(self, line: JobLogLine) -> None:
        self.first_line = self.first_line or line.number
        self._last_line = line.number + line.folded
        if line.text.strip():
            self.state = "text"
        self.ended_with_error = line.mark == "error"
        if self.ended_with_error and KILLED.search(line.text):
            self.was_killed = True
        self._lines.add([line])
        self._add_to_region(line)
        if line.is_marked and len(self.errors) < MAX_ERRORS:
            self.errors[line.text] = None

    def _add_to_region(self, line: JobLogLine) -> None:
        """A region has the lines up to the blank ones around it. An error that was printed before
        begins none.
        """
        is_full = len(self._region) + len(self._context) == REGION_LINES
        if self._region and (is_full or _begins_block(self._before[-1], line)):
            self._close_region()
        if self._region:
            self._region.append(line)
        elif line.is_marked and line.text not in self.errors:
            self._region.append(line)
            self._context = self._find_context()
        if self._region and line.is_marked:
            self._note_shape(line.text)
        self._before.append(line)

    def _note_shape(self, text: str) -> None:
        """Note whether a marked line is like none before it: expected errors are often alike."""
        shape = WORD.sub("a", NUMBER.sub("0", text))[:SHAPE_CHARS]
        if shape not in self._shapes and len(self._shapes) < MAX_SHAPES:
            self._shapes.add(shape)
            self._is_new = True

    def _find_context(self) -> LogBlock:
        """Return the lines before a region: up to a blank one, or all since the last region if it
        is near.
        """
        since = [line for line in self._before if line.number > self._region_end]
        if self._region_end and len(since) < LINES_BEFORE:
            return since
        return [*takewhile(_has_text, reversed(self._before))]

    def _close_region(self) -> None:
        if self._region:
            # the context last, because there may be no room for all lines
            block = [*self._region, *self._context]
            self._regions.add(block)
            if self._is_new:
                self._new_regions.add(block)
            self._region_end = self._region[-1].number
            self._region = []
            self._is_new = False

    @property
    def may_be_gate(self) -> bool:
        """True for a short log: perhaps the step only reports that an earlier one failed."""
        return self._last_line - self.first_line < MAX_GATE_LINES

    @property
    def cost(self) -> int:
        """Number of characters of an excerpt with all lines."""
        return self._lines.cost

    def cut(self, characters: int) -> Excerpt:
        if self.state != "text":
            return Excerpt("", 0, 0)
        lines = self._choose(characters)
        text = redact(clean(self._number(lines)))
        return Excerpt(text, self._last_line - self.first_line + 1, len(lines))

    def _choose(self, characters: int) -> list[JobLogLine]:
        """Return all lines, or those of the end (a third), the beginning and the regions."""
        self._close_region()
        blocks = self._lines.blocks
        chosen: dict[int, JobLogLine] = {}
        if self.cost <= characters:
            _take(chosen, blocks, characters)
        else:
            room = characters - 2 * GAP_COST
            _take(chosen, reversed(blocks), room // 3)
            _take(chosen, blocks, room // 6)
            rest = _take(chosen, _go_inwards(self._new_regions.blocks), room // 2, gap=GAP_COST)
            rest = _take(chosen, _go_inwards(self._regions.blocks), rest, gap=GAP_COST)
            _take(chosen, blocks, rest)
        return [line for _, line in sorted(chosen.items())]

    def _number(self, lines: Iterable[JobLogLine]) -> CodeText:
        parts: list[str] = []
        width = len(str(self._last_line))
        next_number = self.first_line
        for line in lines:
            if line.number > next_number:
                parts.append(_gap_remark(line.number - next_number))
            parts.append(f"{line.number:>{width}}| {line.text}")
            if line.folded:
                parts.append(_fold_remark(line.folded))
            next_number = line.number + line.folded + 1
        if next_number <= self._last_line:
            parts.append(_gap_remark(self._last_line + 1 - next_number))
        return CodeText("\n".join(parts))


def _gap_remark(lines: int) -> str:
    return f"[... {lines:,} {inflect(lines, 'line')} left out ...]"


GAP_COST = len(_gap_remark(99_999_999)) + 1


def _fold_remark(lines: int) -> str:
    return f"[{lines:,} more such {inflect(lines, 'line')}]"


def _cost(line: JobLogLine) -> int:
    cost = len(f"{line.number}| {line.text}\n") + 3  # shorter numbers are padded
    if line.folded:
        cost += len(_fold_remark(line.folded)) + 1
    return cost


def _has_text(line: JobLogLine) -> bool:
    return remove_prefixes(line.text) != ""


def _begins_block(before: JobLogLine, line: JobLogLine) -> bool:
    """Return True for a line without indentation below a blank one."""
    text = remove_prefixes(line.text)
    is_indented = line.text[:1].isspace() or text[:1].isspace()
    return text != "" and not is_indented and not _has_text(before)


def _take(
    chosen: dict[int, JobLogLine], blocks: Iterable[LogBlock], characters: int, gap: int = 0
) -> int:
    """Choose lines up to the first one without room, and return the number of characters left.

    `gap` is the cost of the remark about the lines between two blocks.
    """
    for block in blocks:
        remark = gap
        for line in block:
            if line.number in chosen:
                continue
            cost = remark + _cost(line)
            if cost > characters:
                return characters
            characters -= cost
            chosen[line.number] = line
            remark = 0
    return characters


def _go_inwards(blocks: Sequence[LogBlock]) -> Iterator[LogBlock]:
    """Yield the first block, the last, the second, ...; then the same blocks again."""
    return chain.from_iterable(zip(blocks, reversed(blocks), strict=True))


def read_logs(
    lines: Iterable[str], steps: Sequence[WorkflowStep], *, characters: int
) -> list[StepLog]:
    """Return the redacted log of each failed step, by step number; that of the whole job if no step
    failed.

    A step that failed with `continue-on-error` has the conclusion "success". Its log is returned,
    too, if a later step failed with few lines: "2 tests were flaky".

    `lines` is the raw log, split at "\\n" only and decoded with `errors="replace"`; it may be a
    stream of any length. `steps` must have all steps of the job, because one step ends where the
    next begins. No excerpt of a log may have more than `characters`. No content of the log raises
    an error.
    """
    job = StepLog(None, characters)
    parts = {step.number: StepLog(step, characters) for step in steps}
    for line in _fold(assign_steps(read_lines(lines), steps)):
        job.add(line)
        if line.step is not None:
            parts[line.step].add(line)
    logs = _choose_logs(parts, [step.number for step in steps if step.failed])
    for index, log in enumerate(logs):
        if log.first_line:
            continue
        log.state = "elsewhere"
        if job.step is None:
            job.step = log.step
            logs[index] = job
    return logs or [job]


def _choose_logs(parts: dict[int, StepLog], failed: Sequence[int]) -> list[StepLog]:
    last_gate = max((number for number in failed if parts[number].may_be_gate), default=0)
    return [
        part
        for number, part in sorted(parts.items())
        if number in failed or (number < last_gate and part.ended_with_error)
    ]


MIN_FOLDED = 3
"""Minimum number of alike lines after a line to fold. Fewer lines take no more space."""

VARYING = re.compile(r"[0-9] ?%|^\W?[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2}:[0-9]{2}")
"""In lines of progress or with a time. They are alike if only numbers differ."""
NUMBER = re.compile(r"[0-9]+")


def _fold(lines: Iterable[JobLogLine]) -> Iterator[JobLogLine]:
    """Yield the first of many alike lines for all."""
    for _, run in groupby(lines, key=_fold_key):
        first, *repeated = islice(run, MIN_FOLDED + 1)
        if len(repeated) == MIN_FOLDED:
            first.folded = MIN_FOLDED + sum(1 for _ in run)
            repeated = []
        yield first
        yield from repeated


def _fold_key(line: JobLogLine) -> tuple[int | None, str]:
    if VARYING.search(line.text) and not line.is_marked:
        return line.step, NUMBER.sub("", line.text)
    return line.step, line.text


MIN_PARTIAL_CHARS = 12
"""Minimum length, without white space, of a quote that may be part of a line. A shorter quote must
be a whole line.
"""

NUMBERED_ROW = re.compile(r" {0,12}([0-9]{1,9})\| (.*)", re.DOTALL)
LINE_NUMBER = re.compile(r"\s{0,12}[0-9]{1,9}\| ?")
QUOTATION_MARKS = "`\"'“”‘’… "


def locate(text: str, quote: str) -> JobLogLine | None:
    """Return the line that Claude quotes; None if the numbered excerpt does not contain the quote.

    If the quote has several lines, the excerpt must contain them in order; the first line is
    returned. Claude may quote a part of a line, and add line numbers and quotation marks. White
    space, case and invisible characters are ignored. A line that equals the quote is preferred to a
    line that contains it.
    """
    rows = map(NUMBERED_ROW.fullmatch, text.split("\n"))
    lines = [JobLogLine(int(row[1]), row[2]) for row in rows if row is not None]
    quoted = [line for line in map(_normalize, quote.split("\n")) if line]
    texts = [_normalize(line.text) for line in lines]
    starts = [index for index in range(len(texts)) if quoted and _begins(texts[index:], quoted)]
    if not starts:
        return None
    equal = [index for index in starts if texts[index] == quoted[0]]
    return lines[(equal or starts)[0]]


def _begins(texts: Sequence[str], quoted: Sequence[str]) -> bool:
    following = iter(texts)
    return _contains(next(following), quoted[0]) and all(
        any(_contains(text, line) for text in following) for line in quoted[1:]
    )


def _contains(text: str, quoted: str) -> bool:
    return text == quoted or (len(quoted) >= MIN_PARTIAL_CHARS and quoted in text)


def _normalize(text: str) -> str:
    cleaned = redact(clean(CodeText(text)))  # as for Claude
    unnumbered = LINE_NUMBER.sub("", cleaned.strip(QUOTATION_MARKS), count=1)
    return "".join(unnumbered.strip(QUOTATION_MARKS).split()).casefold()
