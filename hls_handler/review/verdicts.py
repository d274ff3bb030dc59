"""Decides what a review says of the findings: which are new, and which verdicts about earlier ones are proved.

HLS believes that a finding is fixed if Claude quotes a new line that prevents the failure, and that it is gone if no
new line has its code. Everything else leaves it open and undecided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hls_handler.analysis import EarlierVerdict, Severity
from hls_handler.review.blocks import Block, PlacedBlock, match_blocks, nearest_block, token
from hls_handler.review.ledger import PresentFiles, is_failing, place, reopen
from hls_handler.review.patches import Line, Side
from hls_handler.review.positions import (
    RANK,
    Located,
    find_line,
    find_path,
    is_only_comment,
    is_surely_comment,
    letters_of,
    resembles,
)
from hls_handler.review.record import MAX_BODY_CHARACTERS, LedgerEntry, Proof, ReviewRecord
from hls_handler.untrusted.cleaning import truncate


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of Claude about an earlier finding that the second look must agree with."""

    entry: LedgerEntry
    text: str  # "It is fixed by this line."
    path: str  # of the line that shows it
    line: Line


@dataclass(frozen=True)
class ReviewedChanges:
    """The changes that a review reads, and the earlier findings, to compare a reply with."""

    record: ReviewRecord  # with the entries of `follow`
    files: PresentFiles
    new: Mapping[str, frozenset[int]]  # indexes of the blocks of each path that were not reviewed before
    commit: str  # SHA of the head
    is_first: bool  # True: all findings are new, because everything is read
    fail_on: Severity | None
    asked: frozenset[int]  # numbers of the findings that Claude was asked about
    kept: frozenset[str] = frozenset()  # keys of those whose code a file has that the review leaves out

    @property
    def review(self) -> int:
        """The number of this review."""
        return self.record.rounds + 1

    @cached_property
    def rounds(self) -> Sequence[tuple[PlacedBlock, int]]:
        """The present blocks, each with the number of the review that was the first to have it."""
        found: list[tuple[PlacedBlock, int]] = []
        for name, placed in self.files.by_file.items():
            known = (*self.record.blocks.get(name, ()), *self.record.unreviewed.get(name, ()))
            same = match_blocks(known, placed)
            found += [(one, known[same[i]].round if i in same else self.review) for i, one in enumerate(placed)]
        return found

    @cached_property
    def _first_rounds(self) -> Mapping[str, int]:
        """The number of the review that was the first to have a line, by token."""
        first: dict[str, int] = {}
        stored: Iterable[Block] = (
            block for by_file in (self.record.blocks, self.record.unreviewed) for of in by_file.values() for block in of
        )
        for block in stored:
            for text in block.lines:
                first[text] = min(block.round, first.get(text, block.round))
        return first

    def is_new_line(self, line: Line, since: int) -> bool:
        """Return True if no review up to `since` had such an added line in any file."""
        return line.mark == "+" and self._first_rounds.get(token("+", line.text), self.review) > since

    def list_new_code(self, entry: LedgerEntry) -> Iterator[str]:
        """Yield the letters of each block that is newer than the entry's place; without lines that are only comments.

        Of a finding about a removed line, these are the removed lines; of one about an unchanged line, also the
        unchanged ones around the block.
        """
        mark = entry.token[:1]
        for placed, first in self.rounds:
            if first > entry.round:
                lines = self.files.patches[placed.path].hunks[placed.hunk].lines if mark == " " else placed.lines
                code = (one.text for one in lines if (one.mark == "-") == (mark == "-"))
                yield letters_of("".join(text for text in code if not is_surely_comment(text)))

    def is_timely(self, located: Located) -> bool:
        """Return True if this review may raise the finding: it is about a new block."""
        if self.is_first:
            return True
        new = self.new.get(located.path, frozenset())
        if located.line is None:
            return bool(new)
        found = located.finding
        blocks = [self.files.blocks[located.path][index] for index in new]
        if any(
            one.has(found.side, at) for one in blocks for at in range(found.start_line or found.line, found.line + 1)
        ):
            return True
        patch, every = self.files.patches[located.path], self.files.blocks[located.path]
        return nearest_block(every, patch, found.side, found.line) in blocks


def decide_verdicts(
    changes: ReviewedChanges,
    verdicts: Iterable[EarlierVerdict],
    reported: Sequence[Located],
    agreed: Collection[str],
) -> tuple[tuple[LedgerEntry, ...], tuple[Claim, ...], tuple[Located, ...]]:
    """Return the entries after a review, the claims that need a second look, and the reported findings that are others.

    `agreed` are the keys of the entries about which the second look agreed with the claim.
    """
    ledger = changes.record.ledger
    continued: dict[str, list[Located]] = {}
    others: list[Located] = []
    for located in reported:
        entry = _find_continued(located, ledger, changes.files)
        if entry is None:
            others.append(located)
        else:
            continued.setdefault(entry.key, []).append(located)
    by_number: dict[int, EarlierVerdict] = {}
    for verdict in verdicts:
        if verdict.number not in by_number or verdict.verdict == "present":
            by_number[verdict.number] = verdict
    claims: list[Claim] = []

    def decide(entry: LedgerEntry) -> LedgerEntry:
        if again := continued.get(entry.key):
            worst = min(again, key=lambda one: RANK[one.finding.severity])
            return _set_present(entry, worst, changes)
        verdict = by_number.get(entry.number) if entry.number in changes.asked else None
        if verdict is None:
            is_open = entry.is_undecided or entry.has_vanished
            return replace(entry, is_undecided=is_open, was_left_out=is_open and entry.number not in changes.asked)
        entry = replace(entry, was_left_out=False)
        if verdict.verdict == "present":
            return _decide_present(entry, verdict, changes, agreed, claims)
        if verdict.verdict == "gone":
            return _decide_gone(entry, changes)
        return _decide_fixed(entry, verdict, changes, reported, agreed, claims)

    return tuple(map(decide, ledger)), tuple(claims), tuple(others)


def _find_continued(located: Located, ledger: Sequence[LedgerEntry], files: PresentFiles) -> LedgerEntry | None:
    """Return the entry that a finding names by its number, or the only one at its line with its category."""
    found = located.finding
    if found.continues is not None:
        return next((one for one in ledger if one.number == found.continues and not one.form), None)

    def is_there(entry: LedgerEntry) -> bool:
        if entry.form or entry.category != found.category:
            return False
        if entry.file != files.name(located.path):  # its line may have moved
            quote, text = letters_of(entry.quote), letters_of(located.line.text if located.line else "")
            return entry.has_vanished and quote != "" and quote in text
        if located.line is None:
            return entry.line is None and not entry.blocks and not entry.is_closed
        if entry.has_vanished:
            return resembles(located.line.text, entry.quote)
        return (entry.side, entry.line) == (located.line.side, located.line.number)

    same = [entry for entry in ledger if is_there(entry)]
    if len(same) > 1 and located.line is not None:
        text = letters_of(located.line.text)
        same = [entry for entry in same if letters_of(entry.quote) in text]
    return same[0] if len(same) == 1 else None


def _set_present(entry: LedgerEntry, located: Located, changes: ReviewedChanges) -> LedgerEntry:
    """Return an entry that a finding of this review continues: the same thread with its text."""
    found = located.finding
    raised = _raise(entry, found.severity)
    if raised.state == "dismissed" or not located.is_shown:
        return replace(raised, is_undecided=not located.is_shown)
    raised = replace(
        raised,
        title=found.title,
        body=truncate(found.body, MAX_BODY_CHARACTERS),
        quote=located.quote,
        state="open",
        is_undecided=False,
        proof=None,
        resolution="",
    )
    return place(raised, located.line, located.path, changes.files)


def _raise(entry: LedgerEntry, severity: Severity | None) -> LedgerEntry:
    """Return the entry with the higher one of two severities. A dismissed one is open again if that rises."""
    if severity is None or RANK[severity] >= RANK[entry.severity]:
        return entry
    return replace(reopen(entry) if entry.state == "dismissed" else entry, severity=severity)


def _decide_present(
    entry: LedgerEntry,
    verdict: EarlierVerdict,
    changes: ReviewedChanges,
    agreed: Collection[str],
    claims: list[Claim],
) -> LedgerEntry:
    line, path = _find_quoted(verdict, entry.side, changes)
    if line is None:
        return replace(_raise(entry, verdict.severity), is_undecided=entry.has_vanished)
    lower = verdict.severity
    if lower and is_failing(entry.severity, changes.fail_on) and not is_failing(lower, changes.fail_on):
        claims.append(Claim(entry, f"It is there, but its severity is only {lower}.", path, line))
        if entry.key in agreed:
            entry = replace(entry, severity=lower)
    present = replace(_raise(entry, verdict.severity), is_undecided=False)
    return place(present, line, path, changes.files)


def _decide_gone(entry: LedgerEntry, changes: ReviewedChanges) -> LedgerEntry:
    quoted = letters_of(entry.quote)
    is_elsewhere = entry.key in changes.kept or any(quoted in code for code in changes.list_new_code(entry))
    is_proved = entry.has_vanished and quoted and not is_elsewhere
    return set_gone(entry) if is_proved else replace(entry, is_undecided=True)


def set_gone(entry: LedgerEntry) -> LedgerEntry:
    return replace(entry, state="gone", has_vanished=False, is_undecided=False, resolution="No longer in the diff.")


def _decide_fixed(
    entry: LedgerEntry,
    verdict: EarlierVerdict,
    changes: ReviewedChanges,
    reported: Iterable[Located],
    agreed: Collection[str],
    claims: list[Claim],
) -> LedgerEntry:
    undecided = replace(entry, is_undecided=True)
    line, path = _find_quoted(verdict, "RIGHT", changes)
    if line is None or not changes.is_new_line(line, entry.raised) or is_only_comment(line.text):
        return undecided
    places = {(path, line.side, line.number), (entry.path, entry.side, entry.line)}
    for located in reported:
        at = (located.path, located.finding.side, located.finding.line)
        if located.line is not None and located.finding.category == entry.category and at in places:
            return undecided
    is_same_code = letters_of(entry.quote) in letters_of(line.text)
    if is_same_code or changes.files.name(path) != entry.file or not entry.has_vanished:
        claims.append(Claim(entry, "It is fixed, because this line prevents the failure.", path, line))
        if entry.key not in agreed:
            return undecided
    where = f"line {line.number}" if path == entry.path else f"line {line.number} of `{path}`"
    return replace(
        entry,
        state="fixed",
        has_vanished=False,
        is_undecided=False,
        proof=Proof(changes.files.name(path), token("+", line.text)),
        resolution=f"Fixed in {changes.commit[:7]} by {where}.",
    )


def _find_quoted(verdict: EarlierVerdict, side: Side, changes: ReviewedChanges) -> tuple[Line | None, str]:
    patches = changes.files.patches
    path = find_path(verdict.path or "", patches)
    if path is None or not verdict.quote.strip():
        return None, ""
    return find_line(patches[path], verdict.quote, (side, verdict.line or 0)), path
