"""The ledger: the findings that HLS has raised on a pull request, and what became of each.

A finding belongs to a block of changed lines. While its block stays, nothing is asked. When it is gone, Claude is asked
what became of the finding (`review/verdicts.py`), and the finding stays open until the answer is proved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

from hls_handler.analysis import Severity
from hls_handler.review.blocks import Block, PlacedBlock, find_blocks, match_blocks, nearest_block, token
from hls_handler.review.dismissals import COMMAND, find_dismissals
from hls_handler.review.patches import Line, Patch
from hls_handler.review.positions import RANK, Located, resembles
from hls_handler.review.record import MAX_BODY_CHARACTERS, FindingState, LedgerEntry, ReviewRecord, ReviewThread
from hls_handler.untrusted.cleaning import truncate

MAX_BLOCKS = 10  # that an entry remembers


@dataclass(frozen=True)
class PresentFiles:
    """The changed files of a pull request. A file is named by its path in the base, which a rename does not change."""

    patches: Mapping[str, Patch]  # by path, also of the files that the review leaves out
    previous_paths: Mapping[str, str] = field(default_factory=dict)  # of renamed files, by their path
    unread: Collection[str] = ()  # paths and earlier paths of files whose patch is not known completely
    is_complete: bool = True  # False: the pull request has more changed files

    def name(self, path: str) -> str:
        return self.previous_paths.get(path, path)

    @cached_property
    def blocks(self) -> Mapping[str, tuple[PlacedBlock, ...]]:
        """The present blocks, by path."""
        return {path: find_blocks(path, patch) for path, patch in self.patches.items()}

    @cached_property
    def by_file(self) -> Mapping[str, Sequence[PlacedBlock]]:
        found: dict[str, list[PlacedBlock]] = {}
        for path, blocks in self.blocks.items():
            found.setdefault(self.name(path), []).extend(blocks)
        return found

    @cached_property
    def added_tokens(self) -> Mapping[str, Collection[str]]:
        """The tokens of the added lines of each file."""
        return {
            name: {text for placed in blocks for text in placed.block.lines if text[0] == "+"}
            for name, blocks in self.by_file.items()
        }

    def is_known(self, file: str, path: str = "") -> bool:
        """Return True if all present lines of a file are known, or if it is certainly not changed any more."""
        return {file, path}.isdisjoint(self.unread) and (self.is_complete or file in self.by_file)

    def find_new(self, known: Mapping[str, Sequence[Block]]) -> Mapping[str, frozenset[int]]:
        """Return the indexes of the blocks of each path that none of the known blocks of its file is the same as."""
        new: dict[str, frozenset[int]] = {}
        for name, placed in self.by_file.items():
            same = match_blocks(known.get(name, ()), placed)
            left = [block for index, block in enumerate(placed) if index not in same]
            for path in {block.path for block in left}:
                new[path] = frozenset(i for i, block in enumerate(self.blocks[path]) if any(block is x for x in left))
        return new


def follow(record: ReviewRecord, files: PresentFiles) -> tuple[LedgerEntry, ...]:
    """Return the entries with their present place. Those whose block is gone have vanished, if all lines are known."""
    ledger = [entry if entry.raised else _adopt(entry, files, record.rounds) for entry in record.ledger]
    placed: dict[str, PlacedBlock] = {}  # by key
    for name, present in files.by_file.items():
        own = [one for one in ledger if one.file == name and one.blocks]
        slots = sorted({(one.block_line, one.blocks[-1]) for one in own}, key=lambda slot: slot[0])
        same = match_blocks([block for _, block in slots], present)
        by_slot = {slots[known]: present[index] for index, known in same.items()}
        for entry in own:
            earlier = (one for block in reversed(entry.blocks[:-1]) for one in present if block.is_same(one.block))
            found = by_slot.get((entry.block_line, entry.blocks[-1])) or next(earlier, None)
            if found is not None:
                placed[entry.key] = found
    return tuple(_follow(entry, placed.get(entry.key), files) for entry in ledger)


def _follow(entry: LedgerEntry, placed: PlacedBlock | None, files: PresentFiles) -> LedgerEntry:
    if entry.form:
        return entry
    proof = entry.proof if entry.state == "fixed" else None
    if proof is not None and proof.token not in files.added_tokens.get(proof.file, ()) and files.is_known(proof.file):
        entry = replace(entry, state="open", is_undecided=True, proof=None, resolution="")
    if placed is not None:
        moved = _move(entry, placed, files)
        if entry.state != "gone" and not entry.has_vanished:
            return moved
        state: FindingState = "dismissed" if entry.dismissed_by is not None else "open"  # it is there again
        return replace(moved, state=state, is_undecided=False, resolution="")
    is_gone = files.is_known(entry.file, entry.path) and (entry.blocks or entry.file not in files.by_file)
    return replace(entry, line=None, has_vanished=entry.has_vanished or bool(is_gone and not entry.is_closed))


def _move(entry: LedgerEntry, placed: PlacedBlock, files: PresentFiles) -> LedgerEntry:
    """Return the entry at its line in or beside the block."""
    lines = files.patches[placed.path].hunks[placed.hunk].lines
    at = placed.first + (entry.line or entry.block_line) - entry.block_line
    own = (i for i, line in enumerate(lines) if line.side == entry.side and token(line.mark, line.text) == entry.token)
    index = min(own, key=lambda i: abs(i - at), default=placed.last)
    return _attach(entry, lines[index], placed)


def _attach(entry: LedgerEntry, line: Line, placed: PlacedBlock) -> LedgerEntry:
    others = tuple(block for block in entry.blocks if block.lines != placed.block.lines)
    return replace(
        entry,
        path=placed.path,
        side=line.side,
        line=line.number,
        token=token(line.mark, line.text),
        blocks=(*others[1 - MAX_BLOCKS :], replace(placed.block, round=0)),
        block_line=placed.lines[0].number,
        has_vanished=False,
    )


def place(entry: LedgerEntry, line: Line | None, path: str, files: PresentFiles) -> LedgerEntry:
    """Return the entry at a line of a present patch, in its block; without a line, in its file."""
    entry = replace(entry, path=path, file=files.name(path))
    if entry.form:
        return replace(entry, line=None if line is None else line.number)
    block = None if line is None else nearest_block(files.blocks[path], files.patches[path], line.side, line.number)
    if line is None or block is None:
        return replace(entry, line=None, token="", blocks=(), has_vanished=False)
    return _attach(entry, line, block)


def _adopt(entry: LedgerEntry, files: PresentFiles, rounds: int) -> LedgerEntry:
    """Return an entry of an earlier version in the block of its line; if there is none, Claude is asked about it."""
    for path, patch in files.patches.items():
        if files.name(path) == entry.file and entry.line is not None and not entry.is_closed:
            lines = (line for hunk in patch.hunks for line in hunk.lines if line.side == entry.side)
            same = [line for line in lines if resembles(line.text, entry.quote)]
            if same:
                nearest = min(same, key=lambda line: abs(line.number - (entry.line or 0)))
                return place(replace(entry, raised=rounds + 1), nearest, path, files)
    return replace(entry, raised=max(rounds, 1), has_vanished=not entry.is_closed, line=None)


def apply_threads(
    ledger: Iterable[LedgerEntry], threads: Iterable[ReviewThread], *, writers: Collection[str]
) -> tuple[LedgerEntry, ...]:
    """Return the entries with what people did in their review threads, and with the commands that dismissed them.

    An entry whose comment has no thread any more was deleted by a person, which dismisses it, too. `writers` are the
    logins of people who may write to the repository.
    """
    by_key = {thread.key: thread for thread in threads}
    return tuple(_apply_thread(entry, by_key.get(entry.key), writers) for entry in ledger)


def _apply_thread(entry: LedgerEntry, thread: ReviewThread | None, writers: Collection[str]) -> LedgerEntry:
    found = {key: key.partition(" by ")[2] for key in entry.dismissals if key.startswith(COMMAND)}
    if thread is not None:
        entry = replace(entry, is_accepted=bool(thread.thumbs_up))
        found |= find_dismissals(thread)
    elif entry.comment_id is not None:
        found["comment deleted"] = ""  # by whom is unknown
    counting = {key: login for key, login in found.items() if key not in entry.void_dismissals}
    binding = [login for key, login in counting.items() if login in writers or key.startswith(COMMAND)]
    state = entry.state if entry.is_closed else "dismissed" if counting else "open"
    return replace(
        entry,
        state=state,
        dismissals=tuple(counting),
        dismissed_by=next(iter([*binding, *counting.values()]), None),
        has_binding_dismissal=bool(binding),
    )


def reopen(entry: LedgerEntry) -> LedgerEntry:
    """Return a dismissed entry as open: what people said was about a less severe finding."""
    void = tuple(dict.fromkeys((*entry.void_dismissals, *entry.dismissals)))
    return replace(
        entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
    )


def is_failing(severity: Severity, fail_on: Severity | None) -> bool:
    return fail_on is not None and RANK[severity] <= RANK[fail_on]


def sort_entries(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    return sorted(entries, key=lambda one: (RANK[one.severity], -one.confidence, one.path, one.line or 0, one.number))


def add(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Located],
    files: PresentFiles,
    *,
    first_number: int,
    review: int,
) -> tuple[LedgerEntry, ...]:
    """Return entries for new findings, in their order, with keys that the ledger does not have.

    `review` is the number of the review that raises them.
    """
    taken = {entry.key for entry in ledger}
    added: list[LedgerEntry] = []
    for number, located in enumerate(findings, start=first_number):
        found = located.finding
        key = _make_key(found.path, found.quote or located.form, found.category, taken)
        taken.add(key)
        entry = LedgerEntry(
            key=key,
            path=found.path,
            side=found.side,
            quote=located.quote,
            severity=found.severity,
            category=found.category,
            title=found.title,
            state="open",
            prompt_id="",
            number=number,
            confidence=found.confidence,
            body=truncate(found.body, MAX_BODY_CHARACTERS),
            form=located.form,
            raised=review,
            round=review,
        )
        added.append(place(entry, located.line, found.path, files))
    return tuple(added)


def _make_key(path: str, quote: str, category: str, taken: Collection[str]) -> str:
    number = 0
    while True:
        parts = (path, quote, category, *([str(number)] if number else []))
        key = sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if key not in taken:  # the same line stands at another place, too
            return key
        number += 1
