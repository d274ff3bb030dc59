"""Extracts one excerpt per failed step from a job's log in one pass, within one limit of characters for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hls_handler.ci.excerpt import Excerpt, fold_remark, gap_remark
from hls_handler.ci.lines import LogLine, truncate_line
from hls_handler.ci.part import LineSelector
from hls_handler.ci.reading import annotate_lines
from hls_handler.ci.steps import Step


def cut(lines: Iterable[str], steps: Sequence[Step], *, characters: int) -> tuple[Excerpt, ...]:
    """Return an excerpt for each failed step, in their order, or one for the whole job if no step failed.

    `lines` are the lines of the raw log, with or without line ends, split at "\\n" only and decoded with
    `errors="replace"`; they may be a stream of any length. `steps` must have all steps of the job, because one step
    ends where the next begins. `characters` limits the total length of `numbered` for all excerpts that have lines; an
    excerpt whose share is too small for a line has none. No content of the log raises an error. Credentials are not
    redacted here, but they are not cut in two.
    """
    failed = sorted((step for step in steps if step.failed), key=lambda step: step.number)
    job = LineSelector()
    parts = {step.number: LineSelector() for step in failed}
    for line in annotate_lines(lines, steps):
        job.add(line)
        if line.step is not None and line.step in parts:
            parts[line.step].add(line)
    if not failed or not job.has_text:
        numbers: list[int | None] = [step.number for step in failed] or [None]
        return tuple(_excerpt(number, job, characters // len(numbers), whole_job=True) for number in numbers)
    missing = [number for number, part in parts.items() if not part.first_line]
    shown = {number: part for number, part in parts.items() if number not in missing} | dict.fromkeys(missing[:1], job)
    shown_numbers = sorted(shown)
    budgets = dict(
        zip(shown_numbers, divide_budget([_needed_chars(shown[n]) for n in shown_numbers], characters), strict=True)
    )
    return tuple(
        _excerpt(n, shown[n], budgets[n], whole_job=n in missing) if n in shown else _elsewhere(n) for n in parts
    )


def divide_budget(needs: Sequence[int], total: int) -> list[int]:
    """Divide `total` fairly: no share exceeds its need, and what one need leaves goes to the others."""
    result = [0] * len(needs)
    left = max(total, 0)
    for remaining, index in zip(
        range(len(needs), 0, -1), sorted(range(len(needs)), key=needs.__getitem__), strict=True
    ):
        result[index] = min(needs[index], left // remaining)
        left -= result[index]
    return result


def _excerpt(step: int | None, part: LineSelector, characters: int, *, whole_job: bool) -> Excerpt:
    if not part.has_text:
        return Excerpt(step, (), None, part.first_line, part.last_line, "empty", whole_job)
    if part.is_binary:
        return Excerpt(step, (), None, part.first_line, part.last_line, "binary", whole_job)
    lines = tuple(_choose_lines(part, characters))
    error = part.error.line.number if part.error is not None else None
    is_shown = any(line.number == error for line in lines)
    return Excerpt(step, lines, error if is_shown else None, part.first_line, part.last_line, "text", whole_job)


def _elsewhere(step: int) -> Excerpt:
    return Excerpt(step, (), None, 0, 0, "elsewhere", whole_job=False)


def _choose_lines(part: LineSelector, characters: int) -> list[LogLine]:
    """Return the most important lines that fit, in the order of the log."""
    gap = _gap_cost(part)
    left = characters - gap  # there may be one more gap than blocks of lines
    chosen: dict[int, LogLine] = {}
    ends: set[int] = set()  # the line number after each chosen line
    for run in part.ranked_runs():
        for full in run:
            if full.number in chosen:
                continue
            line = truncate_line(full)
            after = line.number + line.folded + 1
            is_alone = line.number not in ends and after not in chosen
            cost = _cost(line, part) + (gap if is_alone else 0)
            if cost > left:
                break
            left -= cost
            chosen[line.number] = line
            ends.add(after)
    return [chosen[number] for number in sorted(chosen)]


def _cost(line: LogLine, part: LineSelector) -> int:
    """Return the length of the line in the output, with its remark."""
    return len(f"{part.last_line}| {line.text}\n") + (len(fold_remark(line)) + 1 if line.folded else 0)


def _gap_cost(part: LineSelector) -> int:
    """Return the maximum length of a remark about omitted lines."""
    return len(gap_remark(max(part.last_line, 2))) + 1


def _needed_chars(part: LineSelector) -> int:
    """Return a length that is enough for all selected lines of a part."""
    lines = {line.number: line for run in part.ranked_runs() for line in run}
    gap = _gap_cost(part)
    return gap + sum(_cost(truncate_line(line), part) + gap for line in lines.values())
