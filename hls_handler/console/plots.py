"""Plots as SVG, drawn by pygal. Their colours are classes of the style sheet, such as `.color-0`.

pygal adds styles, a script and the date, which the policy of the pages blocks or which would change each response. A
filter removes them. A plot takes about 5 ms of one core, so pages draw in a thread and keep the result.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement

from markupsafe import Markup

from hls_handler.untrusted.cleaning import escape_unprintable

Series = Mapping[str, Sequence[float | None]]
"""Name of each series -> its values; None leaves a gap."""

_STATES = {"done": "done", "ignored": "ignored", "dead": "dead", "dead deliveries": "dead"}
"""Names of series that have the colour of a state, such as `.color-dead`; others have those of the plot."""

_STEPS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 18_000, 43_200, 86_400)
"""Seconds between two ticks of durations."""

Steps = Literal["any", "whole", "seconds"]

_FOR_SCRIPT = frozenset(("tooltip", "text-overlay"))
"""Classes of elements that only pygal's script would fill."""


def draw(
    kind: Literal["lines", "bars"],
    title: str,
    labels: Sequence[str],
    series: Series,
    *,
    unit: Callable[[float], str],
    shown_labels: Sequence[str],
    steps: Steps = "any",
) -> Markup:
    """Return an `svg` element. Bars of several series are stacked. The axis has only the labels `shown_labels`.

    `unit` formats a value, such as "1.5 s". All texts are escaped, and unprintable characters of names,
    too. `title` is for screen readers. `steps` are the distances between ticks: fractions only for "any".
    """
    pygal = _import_pygal()
    chart = (pygal.Line if kind == "lines" else pygal.StackedBar)(
        css=(),
        js=(),
        width=440,  # larger, and the text would be too small on a phone
        height=200,
        margin=8,
        margin_right=28,  # half of the last label
        disable_xml_declaration=True,
        no_prefix=True,
        classes=("plot",),
        show_dots=kind == "lines",
        dots_size=3,
        allow_interruptions=True,
        include_x_axis=True,
        min_scale=2,
        max_scale=5,
        x_labels_major=list(shown_labels),
        show_minor_x_labels=False,
        truncate_label=-1,
        truncate_legend=-1,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(series),
        value_formatter=unit,
        no_data_text="",
    )
    chart.x_labels = labels
    parts = [[value or 0 for value in values] for values in series.values()]
    tops = map(sum, zip(*parts, strict=True)) if kind == "bars" else map(max, parts)
    chart.y_labels = [
        {"value": tick, "label": re.sub(r"\.0+(?!\d)", "", unit(tick))}
        for tick in find_ticks(max(tops, default=0), steps)
    ]
    for name, values in series.items():
        chart.add(escape_unprintable(name), list(values))
    names = [escape_unprintable(name) for name in series]
    chart.add_xml_filter(lambda root: _make_static(root, escape_unprintable(title), names))
    return Markup(chart.render())  # noqa: S704 (pygal builds it as an XML tree, which escapes all texts)


def find_ticks(most: float, steps: Steps) -> list[float]:
    """Return at most six ticks from 0 to a value above `most`, so that the plot has headroom: [0, 2, 4, 6] for 5."""
    whole = list(_STEPS) if steps == "seconds" else []
    exponent = math.floor(math.log10(most)) - 1 if most > 0 else 0
    powers = [factor * 10.0**power for power in range(exponent, exponent + 4) for factor in (1, 2, 5)]
    possible = whole + [one for one in powers if steps == "any" or one > max(whole, default=0.9)]
    step = next(one for one in possible if one * 5 > most * 1.05)
    return [round(step * index, 12) for index in range(math.floor(most * 1.05 / step) + 2)]


@cache
def _import_pygal() -> Any:
    """Import pygal at the first plot, because it takes 65 ms and 2 MB.

    It adds a finder for modules of maps to `sys.meta_path`, whose interface is too old: Python warns of it at each
    later import that fails.
    """
    import pygal  # type: ignore[import-untyped]

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]
    return pygal


def _make_static(root: Element, title: str, names: Sequence[str]) -> Element:
    """Remove what the policy blocks; make each value a `title`, which browsers show without a script."""
    root.attrib |= {"role": "img", "aria-label": title}
    series = ""
    for parent in list(root.iter()):
        classes = parent.get("class", "").split()
        for index, name in enumerate(names):
            if f"serie-{index}" in classes:
                series = name
            if f"color-{index}" in classes and name in _STATES:
                parent.set("class", " ".join(classes).replace(f"color-{index}", f"color-{_STATES[name]}"))
        parent.attrib.pop("id", None)  # a page has several plots
        for child in list(parent):
            is_of_page = parent is root and child.tag == "title"
            is_comment = not isinstance(child.tag, str)
            if is_comment or is_of_page or child.tag == "defs" or _FOR_SCRIPT & set(child.get("class", "").split()):
                parent.remove(child)
            elif child.tag == "desc":
                parent.remove(child)
                if child.get("class") == "value":
                    label = next((one.text for one in parent if one.get("class") == "x_label"), None)
                    SubElement(parent, "title").text = ", ".join(filter(None, (series, label))) + f": {child.text}"
    return root
