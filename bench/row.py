"""A row of the table that is printed: one ratio, what is required of it, and how it was got."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    value: float  # a ratio, but for what is only reported
    bound: Literal["at least", "at most", "reported"]
    required: float | None  # None: nothing is required
    aim: float | None
    how: str

    @property
    def is_missed(self) -> bool:
        if self.required is None or self.bound == "reported":
            return False
        return self.value < self.required if self.bound == "at least" else self.value > self.required


def spread(ratios: Sequence[float]) -> str:
    """How far the rounds lie apart: "11 rounds, 0.143 to 0.171"."""
    return f"{len(ratios)} rounds, {min(ratios):.3g} to {max(ratios):.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def table(rows: Sequence[Row]) -> str:
    """The rows as text, in columns."""
    lines = [("what", "ratio", "required", "aim", "", "how")]
    for row in rows:
        required = "reported" if row.required is None else f"{row.bound} {row.required:g}"
        aim = "" if row.aim is None else f"{row.aim:g}"
        lines.append((row.what, f"{row.value:.3g}", required, aim, "MISSED" if row.is_missed else "", row.how))
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as text, each column as wide as it must be."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)).rstrip() for line in lines
    )
