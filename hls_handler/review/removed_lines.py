"""The lines that a push takes away: those that the last reviewed head added to the base and that
are no longer there, and the blocks that are shown again because of them or of an undecided finding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from hls_handler.analysis import estimate_tokens
from hls_handler.github.source import CommitFiles
from hls_handler.review.blocks import Block, PlacedBlock, match_blocks, token
from hls_handler.review.changed_files import TOKENS_PER_FILE
from hls_handler.review.code_lines import Budget, CodeLines, count_tokens
from hls_handler.review.patches import Hunk, Patch, numbered, parse_numbered
from hls_handler.review.present_lines import NAME_IN_CODE, PresentFiles, names_of
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.review.redacted_patches import number_patches, redact_patch
from hls_handler.review.skipped_files import SkipRules

REMOVED_TOKENS = 2_000  # of removed lines that one review shows, with the lines around them
AGAIN_TOKENS = 1_000  # of blocks that one review shows again


@dataclass(frozen=True, slots=True)
class Removals:
    """The lines that a push removed of those that the pull request had added."""

    # hunks between the last reviewed head and the present one: L lines as in the first, R lines as
    # in the second
    hunks: tuple[CodeLines, ...] = ()
    unshown: int = 0  # number of further hunks, for which there is no room
    unknown: tuple[str, ...] = ()
    """The files that lost lines, if the last reviewed head cannot be read. As `LedgerEntry.file`.
    """


NO_REMOVALS = Removals()


def read_removals(
    record: ReviewRecord,
    files: PresentFiles,
    commit_files: CommitFiles,
    commit: str,
    rules: SkipRules,
) -> Removals:
    """Return all that was removed since the last review. `commit` is the present head.

    Lines that the base removed are left out, because the pull request had not added them, and files
    that reviews leave out, although they may have lost an equal line.
    """
    before = record.blocks_at(record.rounds)
    changed = [name for name in before if _has_lost(before[name], files.by_file.get(name, ()))]
    if not changed or commit == record.asked_for:
        return NO_REMOVALS
    patches: Mapping[str, str] | None = None
    if record.asked_for:
        paths = {*files.patches, *before, *(entry.path for entry in record.ledger)}
        patches = commit_files.patches_since(record.asked_for, sorted(paths))
    if patches is None:
        return Removals(unknown=tuple(changed))
    added = {text for block in chain(*before.values()) for text in block.lines if text[0] == "+"}
    hunks = [
        CodeLines(path, "removed", _show(hunk))
        for path, text in number_patches(patches, commit_files).items()
        if files.name(path) in before or not rules.leaves_out(path)
        for hunk in redact_patch(text).hunks
        if any(line.mark == "-" and token("+", line.text) in added for line in hunk.lines)
    ]
    return Removals(tuple(hunks))


def _show(hunk: Hunk) -> str:
    """Return a hunk as text. Only removed lines have a mark: others need not be new in the diff."""
    lines = [line if line.mark == "-" else replace(line, mark=" ") for line in hunk.lines]
    return numbered(Patch((replace(hunk, lines=tuple(lines)),)))


def _has_lost(known_blocks: Sequence[Block], present: Sequence[PlacedBlock]) -> bool:
    """Return True if a known block with added lines is no longer there as it was."""
    same = set(match_blocks(known_blocks, present).values())
    others = [block for index, block in enumerate(known_blocks) if index not in same]
    return any(text[0] == "+" for block in others for text in block.lines)


def limit_removals(removals: Removals) -> Removals:
    """Return as many hunks as a question has room for, the shortest ones: a guard has few lines."""
    shortest = sorted(removals.hunks, key=lambda hunk: len(hunk.text))
    hunks = Budget(REMOVED_TOKENS).take(shortest, count_tokens)
    unshown = len(removals.hunks) - len(hunks)
    return replace(removals, hunks=tuple(hunks), unshown=unshown)


def choose_again(
    files: PresentFiles,
    new: Mapping[str, Collection[int]],
    removals: Removals,
    entries: Sequence[LedgerEntry],
) -> Mapping[PlacedBlock, bool]:
    """Return the blocks to show again, as many as there is room for, and whether they are to be
    read anew because lines were removed that they may need.

    First come the proofs that replies named for the findings to ask about. `removals` has also the
    hunks for which a question has no room.
    """
    fresh = {files.blocks[path][index] for path, indexes in new.items() for index in indexes}
    lines = [line for hunk in removals.hunks for line in parse_numbered(hunk.text).lines]
    lines += chain.from_iterable(block.lines for block in fresh)
    removed = "\n".join(line.text for line in lines if line.mark == "-")
    added = "\n".join(line.text for line in lines if line.mark == "+")
    anew = [
        *chain.from_iterable(files.by_file.get(file, ()) for file in removals.unknown),
        *files.list_sharing(NAME_IN_CODE.findall(removed)),
    ]
    related = [
        *_list_named(files, entries),
        *anew,
        *_list_of_findings(files, entries),
        *files.list_sharing(NAME_IN_CODE.findall(added)),
    ]
    unread = [block for block in dict.fromkeys(related) if block not in fresh]
    chosen = Budget(AGAIN_TOKENS).take(unread, lambda block: _count_tokens(files, block))
    return {block: block in anew for block in chosen}


def _count_tokens(files: PresentFiles, block: PlacedBlock) -> int:
    return TOKENS_PER_FILE + estimate_tokens(numbered(Patch((files.show(block),))))


def _list_named(files: PresentFiles, entries: Sequence[LedgerEntry]) -> Iterator[PlacedBlock]:
    for entry in entries:
        line = entry.named and files.find_proof(entry.named)
        if line:
            block = files.find_block(line.path, line.line.side, line.line.number)
            assert block is not None
            yield block


def _list_of_findings(files: PresentFiles, entries: Sequence[LedgerEntry]) -> list[PlacedBlock]:
    """Return the blocks that share a name with a finding, without those that have one: the
    questions show these.
    """
    names: set[str] = set()
    finding_blocks: set[PlacedBlock | None] = set()
    for entry in entries:
        names.update(names_of(entry))
        if entry.line is not None and entry.path in files.patches:
            finding_blocks.add(files.find_block(entry.path, entry.side, entry.line))
    return [block for block in files.list_sharing(names) if block not in finding_blocks]
