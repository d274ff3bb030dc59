"""Plots of values over time, which `console.js` draws with uPlot, and their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from hls_handler.console.delivery_search import find_list
from hls_handler.console.pages import NOTHING, format_duration, format_sum_usd
from hls_handler.store.figures import Period
from hls_handler.untrusted.cleaning import escape_unprintable

Unit = Literal["count", "seconds", "usd"]


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    drawing: Mapping[str, object]  # what `console.js` needs, as JSON has it
    columns: tuple[str, ...]  # of the table
    # label, address of the deliveries that it counts, and the other cells
    rows: Sequence[tuple[str, str, Sequence[str]]]


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
    period: Period,
    title: str,
    series: Mapping[str, Sequence[float | None]],
    unit: Unit = "count",
) -> Plot:
    """Return the plot of values for each part of a period, by name of the series; None leaves a
    gap. `console.js` has the colours of names.
    """
    texts = {name: [*map(_FORMATS[unit], values)] for name, values in series.items()}
    drawing = {
        "unit": unit,
        "times": [at.timestamp() for at in period.starts],
        "series": [
            {"name": escape_unprintable(name), "values": values, "texts": texts[name]}
            for name, values in series.items()
        ],
    }
    layout = "%m-%d %H:%M"
    if period.step >= timedelta(days=1):
        layout = "%m-%d"
    rows = []
    for at, *cells in zip(period.starts, *texts.values(), strict=True):
        rows.append((f"{at:{layout}}", find_list(since=at, until=at + period.step), cells))
    return Plot(title, drawing, tuple(series), rows)
