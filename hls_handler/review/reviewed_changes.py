"""The changes that a review reads, beside the record of the reviews before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hls_handler.analysis import Severity
from hls_handler.review.blocks import PlacedLine, match_blocks, token
from hls_handler.review.patches import Line, Side
from hls_handler.review.positions import Located, code_of
from hls_handler.review.present_files import PresentFiles
from hls_handler.review.present_lines import find_place
from hls_handler.review.record import LedgerEntry, ReviewRecord


@dataclass(frozen=True, slots=True)
class ReviewedChanges:
    """The changes that a review reads, and the earlier findings, to compare a reply with."""

    record: ReviewRecord  # with the entries of `follow`
    files: PresentFiles
    # indexes of the blocks of each path that were not reviewed before
    new: Mapping[str, frozenset[int]]
    commit: str  # SHA of the head
    fail_on: Severity | None
    asked: frozenset[int]  # numbers of the findings that Claude was asked about
    has_new: bool  # False: all blocks were reviewed before
    agreed: frozenset[str]  # keys of the entries about which the second look agreed with the claim
    removed_from: frozenset[str] = frozenset()  # paths of files that lost lines since
    unchanged: frozenset[int] = frozenset()  # numbers of the entries whose lines are as in the base

    def is_new_line(self, path: str, line: Line, since: int) -> bool:
        """Return True if a line is in a changed block, and its file's changed blocks have more of
        it than at a review.

        If the file had no block then, it may be renamed: the blocks of files that are not changed
        any more count.
        """
        name = self.files.name(path)
        block = self.files.find_block(path, line.side, line.number)
        before = self.record.blocks_at(since)
        by_file = self.files.by_file
        old = [*before.get(name, ())]
        if not old:
            for other, of_file in before.items():
                if other not in by_file:
                    old += of_file
        same = match_blocks(old, by_file[name])
        new = [placed for index, placed in enumerate(by_file[name]) if index not in same]
        gone = [placed for index, placed in enumerate(old) if index not in same.values()]
        text = token("+", line.text)
        added = sum(placed.block.lines.count(text) for placed in new)
        removed = sum(placed.lines.count(text) for placed in gone)
        return line.mark == "+" and block in new and added > removed

    def is_elsewhere(self, entry: LedgerEntry, path: str, line: Line) -> bool:
        """Return True if the block of an entry is there, and a line is not of it."""
        if entry.line is None or not entry.blocks:
            return False
        block = self.files.find_block(entry.path, entry.side, entry.line)
        return self.files.find_block(path, line.side, line.number) != block

    def find_new_beside(self, entry: LedgerEntry) -> PlacedLine | None:
        """Return a line of the hunk of an entry that was added since it was raised; None if there
        is none.

        If the hunk is not known, it is any such line of the file.
        """
        if entry.number in self.unchanged:
            return None
        paths = [path for path in self.files.patches if self.files.name(path) == entry.file]
        for path in paths:
            patch = self.files.patches[path]
            beside: Sequence[Line] = patch.lines
            if entry.blocks:
                place = find_place(entry, beside, reach=len(beside))
                beside = next((hunk.lines for hunk in patch.hunks if place in hunk.lines), beside)
            for line in beside:
                if line.text.strip() and self.is_new_line(path, line, entry.raised):
                    return PlacedLine(path, line)
        return None

    def shows(self, path: str, side: Side, number: int) -> bool:
        """Return True if a hunk with a new block has a line."""
        blocks = self.files.blocks.get(path, ())
        hunks = {blocks[index].hunk for index in self.new.get(path, ())}
        for hunk in hunks:
            lines = self.files.patches[path].hunks[hunk].lines
            if any((line.side, line.number) == (side, number) for line in lines):
                return True
        return False

    def spells(self, entry: LedgerEntry, path: str, line: Line) -> bool:
        """Return True if a line, alone or with changed lines around it, is exactly the code of an
        entry.
        """
        code = code_of(entry.quote)
        block = self.files.find_block(path, line.side, line.number)
        if block is None or line not in block.lines or code_of(line.text) not in code:
            return False
        texts = [code_of(block_line.text) for block_line in block.lines]
        at = block.lines.index(line)
        offsets = [0, *accumulate(map(len, texts))]
        joined = "".join(texts)
        ends = {*offsets[at + 1 :]}
        return any(
            joined.startswith(code, start) and start + len(code) in ends
            for start in offsets[: at + 1]
        )

    def is_timely(self, located: Located) -> bool:
        """Return True if this review may raise the finding: it is in a new block, or beside one if
        it is unchanged.
        """
        path = located.finding.path
        line = located.line
        new = [self.files.blocks[path][index] for index in self.new.get(path, ())]
        if line is None:
            return bool(new) or path in self.removed_from
        own = self.files.find_block(path, line.side, line.number)
        if own is None:
            return bool(new)
        is_beside = line.mark == " " and own.hunk in {placed.hunk for placed in new}
        return own in new or is_beside
