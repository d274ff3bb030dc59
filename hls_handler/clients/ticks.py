"""Boxes that a person ticked, carried over from a text of ours to the one that replaces it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hls_handler.clients.clamp import fence_behind

_ITEM = re.compile(r"(?P<before>[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[)(?P<box>[ xX])(?P<after>\][ \t]+(?P<text>\S.*))")
"""One line, such as "- [ ] Run the migration". Not in a quote: what is quoted is somebody else's list."""


def keep_ticks(older: str, newer: str) -> str:
    """The newer text, in which items that stood ticked in the older one are ticked too.

    Items are the same if their text is, white space folded. Of several with the same text as many are ticked as were,
    if possible those at the same place among them: so a text that differs from the older one in ticks alone becomes the
    older one again. Boxes inside of code are left alone. We cannot tell who ticked: what we wrote ticked stays so too.
    """
    lines = newer.split("\n")
    boxes_before = _boxes(older)
    for text, boxes in _boxes(newer).items():
        before = [box for _, box in boxes_before.get(text, ())]
        missing = _ticked(before) - _ticked([box for _, box in boxes])
        same_place = {at: was for (at, box), was in zip(boxes, before, strict=False) if box == " " != was}
        elsewhere = {at: "x" for at, box in boxes if box == " " and at not in same_place}
        for at, box in [*same_place.items(), *elsewhere.items()][: max(missing, 0)]:
            lines[at] = _ITEM.sub(rf"\g<before>{box}\g<after>", lines[at], count=1)
    return "\n".join(lines)


def _ticked(boxes: Sequence[str]) -> int:
    return sum(box != " " for box in boxes)


def _boxes(text: str) -> Mapping[str, list[tuple[int, str]]]:
    """For each item's text its boxes in order: the number of the line, and " ", "x" or "X"."""
    found = defaultdict[str, list[tuple[int, str]]](list)
    fence: str | None = None
    for at, line in enumerate(text.split("\n")):
        was_in_code, fence = fence is not None, fence_behind(line, fence)
        item = None if was_in_code else _ITEM.match(line)
        if item is not None:
            found[" ".join(item["text"].split())].append((at, item["box"]))
    return found
