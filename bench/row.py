"""The rows of the printed table: a ratio, its limit, and the measured values."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    value: float  # a ratio
    bound: Literal["at least", "at most", "reported"]
    required: float | None  # None: no limit
    aim: float | None
    details: str

    @property
    def is_missed(self) -> bool:
        if self.required is None or self.bound == "reported":
            return False
        return (
            self.value < self.required if self.bound == "at least" else self.value > self.required
        )


def describe_rounds(ratios: Sequence[float]) -> str:
    """Return the number of rounds and the range: "11 rounds, 0.143 to 0.171"."""
    return f"{len(ratios)} rounds, {min(ratios):.3g} to {max(ratios):.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile of a share between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text in columns."""
    lines = [("name", "ratio", "required", "aim", "", "details")]
    for row in rows:
        required = "reported" if row.required is None else f"{row.bound} {row.required:g}"
        aim = "" if row.aim is None else f"{row.aim:g}"
        lines.append(
            (
                row.name,
                f"{row.value:.3g}",
                required,
                aim,
                "MISSED" if row.is_missed else "",
                row.details,
            )
        )
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text with aligned columns."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(line, [*widths, 0], strict=True)
        ).rstrip()
        for line in lines
    )
