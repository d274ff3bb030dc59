"""Copies the checkboxes that a person checked from a text to the one that replaces it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from hls_handler.clients.clamp import next_open_fence

_ITEM = re.compile(r"(?P<before>[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[)(?P<box>[ xX])(?P<after>\][ \t]+(?P<text>\S.*))")
"""Matches a line such as "- [ ] Run the migration". Quoted lines do not match: they are somebody else's list."""


def copy_checked_boxes(older: str, newer: str) -> str:
    """Return `newer` with the boxes checked that are checked in `older`.

    Items are equal if their texts are, apart from white space. Of several equal items as many are checked as in
    `older`, if possible those at the same positions: a text that differs from `older` only in checked boxes becomes
    `older` again. Boxes in code blocks are ignored. Boxes that HLS itself wrote as checked stay checked too, because
    the text does not show who checked them.
    """
    lines = newer.split("\n")
    older_boxes = _find_boxes(older)
    for text, boxes in _find_boxes(newer).items():
        before = [box for _, box in older_boxes.get(text, ())]
        missing = _count_checked(before) - _count_checked([box for _, box in boxes])
        same_position = {
            index: old_box for (index, box), old_box in zip(boxes, before, strict=False) if box == " " != old_box
        }
        elsewhere = {index: "x" for index, box in boxes if box == " " and index not in same_position}
        for index, box in [*same_position.items(), *elsewhere.items()][: max(missing, 0)]:
            lines[index] = _ITEM.sub(rf"\g<before>{box}\g<after>", lines[index], count=1)
    return "\n".join(lines)


def _count_checked(boxes: Sequence[str]) -> int:
    return sum(box != " " for box in boxes)


def _find_boxes(text: str) -> Mapping[str, list[tuple[int, str]]]:
    """Map each item's text to its boxes in order: the index of the line, and " ", "x" or "X"."""
    found = defaultdict[str, list[tuple[int, str]]](list)
    fence: str | None = None
    for index, line in enumerate(text.split("\n")):
        was_in_code, fence = fence is not None, next_open_fence(line, fence)
        item = None if was_in_code else _ITEM.match(line)
        if item is not None:
            found[" ".join(item["text"].split())].append((index, item["box"]))
    return found
