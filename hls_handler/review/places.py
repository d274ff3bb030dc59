"""Finds the place of a finding whose line changed, by the lines that were around it."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.review.blocks import token
from hls_handler.review.patches import Line
from hls_handler.review.positions import letters_of
from hls_handler.review.record import LedgerEntry

MIN_LETTERS = 3  # of a line that shows a place


def find_place(entry: LedgerEntry, lines: Sequence[Line], *, reach: int) -> Line | None:
    """Return the line in the place of an entry, by the lines around it in its last block, at most
    `reach` away.

    Of equal lines, the one that is nearest to the earlier place counts.
    """
    block = entry.blocks[-1]
    own = 0
    if entry.token in block.lines:
        own = block.lines.index(entry.token)
    around = [*reversed(block.above), *block.lines, *block.below]
    at = len(block.above) + own
    places: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        if line.side == "RIGHT" and len(letters_of(line.text)) >= MIN_LETTERS:
            places.setdefault(token(" ", line.text)[1:], []).append(index)
    for distance in range(min(reach, len(around)) + 1):
        for offset in (-distance, distance):
            if not 0 <= at + offset < len(around):
                continue
            beside = around[at + offset]
            place = places.get(beside[1:])
            if place:
                expected = entry.block_line + own + offset
                index = min(place, key=lambda index: abs(lines[index].number - expected))
                if beside[0] != "-":  # a removed line that is back is itself in the place
                    index -= offset
                return lines[min(max(index, 0), len(lines) - 1)]
    return None
