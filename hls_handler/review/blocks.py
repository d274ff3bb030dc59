"""Blocks: changed lines of a patch that follow each other. A blank or unchanged line ends a block.

A review reads blocks, and a finding belongs to one. Line numbers are not compared, so a rebase
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from hls_handler.review.patches import Line, Mark, Patch

CONTEXT_LINES = 3  # non-blank lines above and below a block that show its place
EDGE = "^"  # in the place of a line: the hunk begins or ends
DIGEST_CHARACTERS = 16
"""Shorter digests would let an author replace a reviewed line by another one with the same
digest.
"""


@dataclass(frozen=True, slots=True)
class Block:
    """The digests of a block, as they are stored. A token is the mark of a line and the digest of
    its text.
    """

    lines: tuple[str, ...]  # tokens
    above: tuple[str, ...]  # tokens of the nearest lines that are not blank, nearest first
    below: tuple[str, ...]
    round: int = field(default=0, compare=False)  # the first review that read it
    # the last review that had it; 0: it is still there
    until: int = field(default=0, compare=False)

    def is_same(self, other: Block) -> bool:
        """Return True if the author changed neither the block nor a line directly beside it.

        The base may have changed the lines on one side.
        """
        if self.lines != other.lines:
            return False
        sides = ((self.above, other.above), (self.below, other.below))
        if any(
            line[0] != other_line[0] and (line[0][0] in "+-" or other_line[0][0] in "+-")
            for line, other_line in sides
        ):
            return False
        return any(line == other_line for line, other_line in sides)

    def was_at(self, number: int) -> bool:
        """Return True if the block was there at a review."""
        return self.round <= number and not 0 < self.until < number

    def windows(self) -> Iterator[tuple[str, ...]]:
        """Yield for each line three tokens: of the line above it in the block, its own, and of the
        line below it.
        """
        tokens = (EDGE, *self.lines, EDGE)
        return (tokens[index : index + 3] for index in range(len(self.lines)))


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block of a present patch."""

    path: str
    hunk: int  # index
    first: int  # indexes of its lines in the hunk
    last: int
    lines: tuple[Line, ...]
    block: Block


@dataclass(frozen=True, slots=True)
class PlacedLine:
    path: str
    line: Line


def find_blocks(path: str, patch: Patch) -> tuple[PlacedBlock, ...]:
    blocks: list[PlacedBlock] = []
    for index, hunk in enumerate(patch.hunks):
        blocks += _find_in_hunk(path, index, hunk.lines)
    return tuple(blocks)


def _find_in_hunk(path: str, hunk: int, lines: Sequence[Line]) -> Iterator[PlacedBlock]:
    tokens = [
        (index, token(line.mark, line.text))
        for index, line in enumerate(lines)
        if line.text.strip()
    ]
    start = 0
    while start < len(tokens):
        end = start + 1
        if tokens[start][1][0] != " ":
            while (
                end < len(tokens)
                and tokens[end][1][0] != " "
                and tokens[end][0] == tokens[end - 1][0] + 1
            ):
                end += 1
            first = tokens[start][0]
            last = tokens[end - 1][0]
            above = tuple(text for _, text in tokens[max(start - CONTEXT_LINES, 0) : start][::-1])
            below = tuple(text for _, text in tokens[end : end + CONTEXT_LINES])
            block = Block(
                tuple(text for _, text in tokens[start:end]), above or (EDGE,), below or (EDGE,)
            )
            yield PlacedBlock(path, hunk, first, last, tuple(lines[first : last + 1]), block)
        start = end


def token(mark: Mark, text: str) -> str:
    digest = sha256(text.rstrip().encode("utf-8", "surrogatepass")).hexdigest()
    return mark + digest[:DIGEST_CHARACTERS]


def match_blocks(blocks: Sequence[Block], present: Sequence[PlacedBlock]) -> Mapping[int, int]:
    """Return the index of the known block that each present one is the same as. Equal blocks are
    counted.
    """
    indexes: dict[tuple[str, ...], list[int]] = {}
    for index, block in enumerate(blocks):
        indexes.setdefault(block.lines, []).append(index)
    matches: dict[int, int] = {}
    for is_exact in (True, False):
        for index, placed in enumerate(present):
            block = placed.block
            candidates = indexes.get(block.lines, [])
            if is_exact:
                same = [candidate for candidate in candidates if blocks[candidate] == block]
            else:
                same = [candidate for candidate in candidates if blocks[candidate].is_same(block)]
            if index not in matches and same:
                matches[index] = same[0]
                candidates.remove(same[0])
    return matches
