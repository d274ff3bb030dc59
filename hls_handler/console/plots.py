"""Plots as SVG. Their colours are classes of the style sheet, such as `.color-0`, and they need no
script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from markupsafe import Markup

from hls_handler.untrusted.cleaning import escape_unprintable

Series = Mapping[str, Sequence[float | None]]
"""Name of each series -> its values; None leaves a gap."""

_STATES = {"done": "done", "ignored": "ignored", "dead": "dead", "dead deliveries": "dead"}
"""Names of series that have the colour of a state, such as `.color-dead`; others have those of the
plot.
"""

_STEPS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 18_000, 43_200, 86_400)
"""Seconds between two values on the axis of durations."""

Steps = Literal["any", "whole", "seconds"]

_TOP = 10
_RIGHT = 436
_BASE = 145
_LABELS = 163
_LEGEND = 192
"""Edges of the area with the values, and the lines of the labels and of the legend, in a drawing of
440 x 200.

A larger one would have too small a text on a phone.
"""


def draw(
    title: str,
    labels: Sequence[str],
    series: Series,
    *,
    unit: Callable[[float], str],
    steps: Steps = "any",
) -> Markup:
    """Return an `svg` element with a line for each series. The axis has at most six of the labels.

    `unit` formats a value, such as "1.5 s". All texts are escaped, and unprintable characters of
    names, too. `title` is for screen readers. `steps` are the distances between the values on the
    axis: fractions only for "any".
    """
    labels = [*map(escape_unprintable, labels)]
    most = max((value or 0 for values in series.values() for value in values), default=0)
    heights = {one: re.sub(r"\.0+(?!\d)", "", unit(one)) for one in axis_values(most, steps)}
    left = 12 + 6 * max(map(len, heights.values()))
    slot = (_RIGHT - left) / max(len(labels), 1)
    scale = (_BASE - _TOP) / max(heights)

    def x(index: int) -> str:
        return f"{left + (index + 0.5) * slot:.1f}"

    def y(value: float) -> str:
        return f"{_BASE - value * scale:.1f}"

    drawn = [
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 440 200" role="img" '
        )
    ]
    drawn.append(Markup('aria-label="{}">').format(escape_unprintable(title)))
    for height, text in heights.items():
        drawn.append(Markup('<path class="guide" d="M{} {}H{}"/>').format(left, y(height), _RIGHT))
        drawn.append(
            Markup('<text class="height" x="{}" y="{}" dy="4">{}</text>').format(
                left - 5, y(height), text
            )
        )
    for index, label in enumerate(labels):
        if index % (len(labels) // 6 + 1) == 0:
            # a character has at most 7 units
            middle = min(left + (index + 0.5) * slot, 440 - 3.5 * len(label))
            drawn.append(
                Markup('<text class="label" x="{:.1f}" y="{}">{}</text>').format(
                    middle, _LABELS, label
                )
            )
    for number, (name, values) in enumerate(series.items()):
        shown = escape_unprintable(name)
        at = 12 + number * 420 / len(series)
        drawn.append(Markup('<g class="color-{}">').format(_STATES.get(name, number)))
        drawn.append(
            Markup('<rect x="{:.1f}" y="{}" width="12" height="12"/>').format(at, _LEGEND - 10)
        )
        drawn.append(
            Markup('<text class="legend" x="{:.1f}" y="{}">{}</text>').format(
                at + 17, _LEGEND, shown
            )
        )
        points = [(index, value) for index, value in enumerate(values) if value is not None]
        gaps = {index + 1 for index, value in enumerate(values) if value is None} | {0}
        path = " ".join(
            f"{'M' if index in gaps else 'L'}{x(index)} {y(value)}" for index, value in points
        )
        drawn.append(Markup('<path class="line" d="{}"/>').format(path))
        for index, value in points:
            hint = Markup("<title>{}, {}: {}</title>").format(shown, labels[index], unit(value))
            drawn.append(
                Markup('<circle cx="{}" cy="{}" r="3">{}</circle>').format(x(index), y(value), hint)
            )
        drawn.append(Markup("</g>"))
    return Markup("").join([*drawn, Markup("</svg>")])


def axis_values(most: float, steps: Steps) -> list[float]:
    """Return at most six values from 0 to a value above `most`, so that the plot has headroom: [0,
    2, 4, 6] for 5.
    """
    whole: list[float] = []
    if steps == "seconds":
        whole += _STEPS
    exponent = 0
    if most > 0:
        exponent = math.floor(math.log10(most)) - 1
    powers = [
        factor * 10.0**power for power in range(exponent, exponent + 4) for factor in (1, 2, 5)
    ]
    possible = whole + [one for one in powers if steps == "any" or one > max(whole, default=0.9)]
    step = next(one for one in possible if one * 5 > most * 1.05)
    return [round(step * index, 12) for index in range(math.floor(most * 1.05 / step) + 2)]
