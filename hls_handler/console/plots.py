"""Plots of values over time, which `console.js` draws with uPlot, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from hls_handler.console.pages import NOTHING, format_duration, format_sum_usd
from hls_handler.untrusted.cleaning import escape_unprintable

Series = Mapping[str, Sequence[float | None]]
"""Name of each series -> its values; None leaves a gap. `console.js` has the colours of names."""

Unit = Literal["count", "seconds", "usd"]

Rows = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Rows of a table: label, the address of the deliveries that it counts or "", and the other
cells.
"""


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    unit: Unit
    times: tuple[float, ...]  # seconds since 1970
    values: Mapping[str, tuple[float | None, ...]]  # of each series
    texts: Mapping[str, tuple[str, ...]]  # the same, formatted
    rows: Rows  # of the table

    def columns(self) -> tuple[str, ...]:
        return tuple(self.values)

    def drawing(self) -> Mapping[str, object]:
        """Return what `console.js` needs, as JSON has it."""
        series = [
            {"name": escape_unprintable(name), "values": values, "texts": self.texts[name]}
            for name, values in self.values.items()
        ]
        return {"unit": self.unit, "times": self.times, "series": series}


def format_count(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}"


_FORMATS: Mapping[Unit, Callable[[float | None], str]] = {
    "count": format_count,
    "seconds": format_duration,
    "usd": format_sum_usd,
}


def make_plot(
    title: str,
    starts: Sequence[datetime],
    addresses: Sequence[str],
    series: Series,
    unit: Unit = "count",
) -> Plot:
    """Return the plot of the values from each of `starts` on. `addresses` lead to what a row
    counts.
    """
    texts = {name: tuple(map(_FORMATS[unit], values)) for name, values in series.items()}
    labels = format_starts(starts)
    return Plot(
        title,
        unit,
        tuple(at.timestamp() for at in starts),
        {name: tuple(values) for name, values in series.items()},
        texts,
        tuple(zip(labels, addresses, zip(*texts.values(), strict=True), strict=True)),
    )


def format_starts(starts: Sequence[datetime]) -> list[str]:
    """Return "11-23 10:00" for each, or "11-23" if they are days."""
    layout = "%m-%d %H:%M"
    if len(starts) > 1 and starts[1] - starts[0] >= timedelta(days=1):
        layout = "%m-%d"
    return [f"{at:{layout}}" for at in starts]
