"""The part of a pull request that HLS has reviewed, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType

from hls_handler.review.blocks import Block, PlacedBlock, match_blocks
from hls_handler.review.changed_files import PatchedFile, Selection
from hls_handler.untrusted.cleaning import show_name
from hls_handler.wording import count


@dataclass(frozen=True, slots=True)
class FileCoverage:
    path: str
    lines: int  # removed and added ones; 0 if GitHub returned no patch
    # those of them that Claude was shown, for this commit or unchanged for an earlier one
    reviewed: int
    reason: str | None  # why it was not reviewed, or only partly; None if it was
    needs_review: bool  # False for lock files, generated files and the like
    data: int = 0  # characters of long data in changed lines, which needs no review

    @property
    def is_complete(self) -> bool:
        return self.reason is None or not self.needs_review

    @property
    def extent(self) -> str:
        """The reviewed part: "3 of 10 changed lines"."""
        return f"{self.reviewed} of {count(self.lines, 'changed line')}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The coverage of a review: an entry for each changed file, as many as GitHub reports."""

    files: tuple[FileCoverage, ...]  # those with a patch first, most important first
    unlisted: int = 0  # changed files that GitHub does not list

    @property
    def is_complete(self) -> bool:
        """True if every file that needs a review was reviewed."""
        return not self.unlisted and all(file.is_complete for file in self.files)

    @property
    def reviewed(self) -> int:
        """The number of files that were reviewed as a whole."""
        return sum(file.is_complete for file in self.needing_review)

    @property
    def needed(self) -> int:
        """The number of files that need a review."""
        return len(self.needing_review) + self.unlisted

    @property
    def needing_review(self) -> Sequence[FileCoverage]:
        return [file for file in self.files if file.needs_review]


def count_reasons(reasons: Iterable[str]) -> str:
    """Return the number of files for each reason: "2 binary or empty, 1 lock file"."""
    parts: list[str] = []
    for reason, number in Counter(reasons).items():
        if reason == "lock file":
            parts.append(count(number, reason))
        else:
            parts.append(f"{number} {reason}")
    return ", ".join(parts)


def leave_out(selection: Selection, unshown: Mapping[int, Collection[int]]) -> Selection:
    """Return the selection without the parts that prompts did not show. `unshown` are their indexes
    in each call.
    """
    calls = tuple(
        tuple(part for index, part in enumerate(call) if index not in unshown.get(number, ()))
        for number, call in enumerate(selection.calls)
    )
    files: set[int] = set()
    for number, indexes in unshown.items():
        files |= {selection.calls[number][index].file for index in indexes}
    return replace(selection, calls=calls, unshown=tuple(sorted(files)))


def cover(
    selection: Selection,
    unanswered: Mapping[int, str],
    *,
    unlisted: int,
    known_blocks: Mapping[str, Sequence[Block]] = MappingProxyType({}),
) -> Coverage:
    """Return what was reviewed of each file. `unanswered` are the calls without a reply, with the
    reason of each.

    `known` are the reviewed blocks of each file, if this review reads everything again: they stay
    reviewed.
    """
    reasons = dict.fromkeys(selection.unshown, "the prompt shows only a part of it")
    for number, why in unanswered.items():
        for part in selection.calls[number]:
            reasons[part.file] = why
    unread: Counter[str] = Counter()
    for block, lines in find_unread(selection, unanswered, known_blocks):
        unread[block.path] += lines
    files: list[FileCoverage] = []
    for index, file in enumerate(selection.files):
        reason = None
        if unread[file.path]:
            reason = reasons.get(index, selection.limit)
        elif file.cut:
            reason = "shown only in part"
        elif show_name(file.path) != file.path or "\n" in file.path:
            reason = "Claude was not shown its name as it is"  # and another file may look the same
        files.append(_cover_file(selection, file, unread[file.path], reason))
    files += [
        FileCoverage(file.path, 0, 0, file.reason, file.needs_review) for file in selection.skipped
    ]
    return Coverage(tuple(files), unlisted)


def _cover_file(
    selection: Selection, file: PatchedFile, unread: int, reason: str | None
) -> FileCoverage:
    patch = selection.patches[file.path]
    changed_lines = patch.changed_lines
    lines = changed_lines
    if file.cut:
        lines = file.additions + file.deletions
    reviewed = changed_lines - unread
    in_blocks = sum(block.last - block.first + 1 for block in selection.blocks[file.path])
    if 0 < unread == in_blocks:  # blank lines are in no block
        reviewed = 0
    data = patch.data_characters
    return FileCoverage(file.path, lines, reviewed, reason, needs_review=True, data=data)


def find_unread(
    selection: Selection, unanswered: Collection[int], known_blocks: Mapping[str, Sequence[Block]]
) -> Iterator[tuple[PlacedBlock, int]]:
    """Yield the blocks that were reviewed neither now nor before, each with the number of its lines
    that were not.

    `unanswered` and `known` are as for `cover`.
    """
    # the lines of each hunk that were read
    parts: dict[tuple[str, int], list[tuple[int, int]]] = {}
    answered = [call for number, call in enumerate(selection.calls) if number not in unanswered]
    for part in chain.from_iterable(answered):
        path = selection.files[part.file].path
        for hunk in part.hunks:
            whole = (0, len(selection.patches[path].hunks[hunk].lines))
            parts.setdefault((path, hunk), []).append(part.lines or whole)
    for file in selection.files:
        before = match_blocks(known_blocks.get(file.base_path, ()), selection.blocks[file.path])
        for at in sorted(selection.new.get(file.path, ())):
            block = selection.blocks[file.path][at]
            read = parts.get((file.path, block.hunk), ())
            lines = range(block.first, block.last + 1)
            number = sum(not any(start <= line < end for start, end in read) for line in lines)
            if number and at not in before:
                yield block, number
