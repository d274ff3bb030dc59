"""The cut: one pass over a job's log gives an excerpt for each failed step, all within one number of characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hls_handler.ci.excerpt import Excerpt, fold_remark, gap_remark
from hls_handler.ci.lines import LogLine, shortened
from hls_handler.ci.part import Part
from hls_handler.ci.reading import read
from hls_handler.ci.steps import Step


def cut(lines: Iterable[str], steps: Sequence[Step], *, characters: int) -> tuple[Excerpt, ...]:
    """Cut a job's log to its failed steps, in their order; to the whole job where no step failed.

    `lines` are those of the raw log, with or without their ends, split at "\\n" only and decoded with
    `errors="replace"`; they may be a stream of any length. `steps` are all of the job's, since one step ends where the
    next begins. `characters` bounds what `numbered` makes of all excerpts that have lines; one that gets too little for
    a line has none. Never raises over what is in the log. Credentials are not redacted here, but are not cut in two.
    """
    failed = sorted((step for step in steps if step.failed), key=lambda step: step.number)
    job = Part()
    parts = {step.number: Part() for step in failed}
    for seen in read(lines, steps):
        job.take(seen)
        if seen.step is not None and seen.step in parts:
            parts[seen.step].take(seen)
    if not failed or not job.has_text:
        numbers: list[int | None] = [step.number for step in failed] or [None]
        return tuple(_excerpt(number, job, characters // len(numbers), whole_job=True) for number in numbers)
    lost = [number for number, part in parts.items() if not part.first_line]
    shown = {number: part for number, part in parts.items() if number not in lost} | dict.fromkeys(lost[:1], job)
    numbers_shown = sorted(shown)
    budgets = dict(zip(numbers_shown, shares([_need(shown[n]) for n in numbers_shown], characters), strict=True))
    return tuple(_excerpt(n, shown[n], budgets[n], whole_job=n in lost) if n in shown else _elsewhere(n) for n in parts)


def shares(needs: Sequence[int], total: int) -> list[int]:
    """Divide fairly: nobody gets more than needed, and what one leaves is for the others."""
    given = [0] * len(needs)
    left = max(total, 0)
    for waiting, i in zip(range(len(needs), 0, -1), sorted(range(len(needs)), key=needs.__getitem__), strict=True):
        given[i] = min(needs[i], left // waiting)
        left -= given[i]
    return given


def _excerpt(step: int | None, part: Part, characters: int, *, whole_job: bool) -> Excerpt:
    if not part.has_text:
        return Excerpt(step, (), None, part.first_line, part.last_line, "empty", whole_job)
    if part.is_binary:
        return Excerpt(step, (), None, part.first_line, part.last_line, "binary", whole_job)
    lines = tuple(_chosen(part, characters))
    error = part.error.line.number if part.error is not None else None
    is_shown = any(line.number == error for line in lines)
    return Excerpt(step, lines, error if is_shown else None, part.first_line, part.last_line, "text", whole_job)


def _elsewhere(step: int) -> Excerpt:
    return Excerpt(step, (), None, 0, 0, "elsewhere", whole_job=False)


def _chosen(part: Part, characters: int) -> list[LogLine]:
    """The most important lines that fit, in order."""
    gap = _gap_cost(part)
    left = characters - gap  # there is one gap more than there are blocks of lines
    chosen: dict[int, LogLine] = {}
    ends: set[int] = set()  # the numbers right behind a chosen line
    for run in part.runs():
        for whole in run:
            if whole.number in chosen:
                continue
            line = shortened(whole)
            after = line.number + line.folded + 1
            is_alone = line.number not in ends and after not in chosen
            cost = _cost(line, part) + (gap if is_alone else 0)
            if cost > left:
                break
            left -= cost
            chosen[line.number] = line
            ends.add(after)
    return [chosen[number] for number in sorted(chosen)]


def _cost(line: LogLine, part: Part) -> int:
    """Characters that it takes as it is shown."""
    return len(f"{part.last_line}| {line.text}\n") + (len(fold_remark(line)) + 1 if line.folded else 0)


def _gap_cost(part: Part) -> int:
    """Characters of a remark on lines that are left out, at most."""
    return len(gap_remark(max(part.last_line, 2))) + 1


def _need(part: Part) -> int:
    """Characters that are enough for all that is worth showing of a part."""
    lines = {line.number: line for run in part.runs() for line in run}
    gap = _gap_cost(part)
    return gap + sum(_cost(shortened(line), part) + gap for line in lines.values())
