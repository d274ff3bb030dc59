"""Decides what a review says of the findings: which are new, and which verdicts about earlier ones are proved.

HLS believes that a finding is fixed if Claude quotes a new line that prevents the failure, and that it is gone if no
new line has its code. Everything else leaves it open and undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import EarlierVerdict, Severity
from hls_handler.review.blocks import nearest_block, token
from hls_handler.review.ledger import PresentFiles, is_failing, place, reopen
from hls_handler.review.patches import Line, Side
from hls_handler.review.positions import RANK, Located, find_line, find_path, has_code, is_only_comment, rank, resembles
from hls_handler.review.record import LedgerEntry, Proof, ReviewRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of Claude about an earlier finding that the second look must agree with."""

    entry: LedgerEntry
    text: str  # "It is fixed by this line."
    path: str  # of the line that shows it
    line: Line


@dataclass(frozen=True, slots=True)
class ReviewedChanges:
    """The changes that a review reads, and the earlier findings, to compare a reply with."""

    record: ReviewRecord  # with the entries of `follow`
    files: PresentFiles
    new: Mapping[str, frozenset[int]]  # indexes of the blocks of each path that were not reviewed before
    commit: str  # SHA of the head
    is_first: bool  # True: all findings are new, because everything is read
    fail_on: Severity | None
    asked: frozenset[int]  # numbers of the findings that Claude was asked about
    has_calls: bool  # False: nothing is new, and Claude was not to be asked
    agreed: frozenset[str]  # keys of the entries about which the second look agreed with the claim

    def is_new_line(self, line: Line, since: int) -> bool:
        """Return True if no review up to `since` read such an added line in any file."""
        blocks = (block for of_file in self.record.blocks.values() for block in of_file if block.round <= since)
        return line.mark == "+" and not any(token("+", line.text) in block.lines for block in blocks)

    def is_timely(self, located: Located) -> bool:
        """Return True if this review may raise the finding: it is about a new block."""
        new = self.new.get(located.finding.path, frozenset())
        if self.is_first or located.line is None:
            return self.is_first or bool(new)
        blocks, patch = self.files.blocks[located.finding.path], self.files.patches[located.finding.path]
        return nearest_block(blocks, patch, located.line.side, located.line.number) in [blocks[one] for one in new]


def decide_verdicts(
    changes: ReviewedChanges, verdicts: Iterable[EarlierVerdict], reported: Sequence[Located]
) -> tuple[tuple[LedgerEntry, ...], tuple[Claim, ...], tuple[Located, ...]]:
    """Return the entries after a review, the claims that need a second look, and the reported findings that are others.

    A finding that continues an entry counts, then the verdict that it is present.
    """
    continued: dict[str, Located] = {}
    others: list[Located] = []
    for located in sorted(reported, key=rank):
        entry = _find_continued(located, changes)
        if entry is None:
            others.append(located)
        else:
            continued.setdefault(entry.key, located)
    by_number = {one.number: one for one in sorted(verdicts, key=lambda one: one.verdict == "present")}
    claims: list[Claim] = []

    def decide(entry: LedgerEntry) -> LedgerEntry:
        if again := continued.get(entry.key):
            found = again.finding
            if entry.state != "dismissed" or RANK[found.severity] < RANK[entry.severity]:
                entry = replace(entry, title=found.title, body=found.body)
            return _set_present(entry, found.severity, again.line, found.path, changes)
        if not changes.has_calls and entry.is_absent and not entry.is_undecided and not entry.is_closed:
            return set_gone(entry)
        was_asked = entry.number in changes.asked
        verdict = by_number.get(entry.number) if was_asked else None
        is_undecided = entry.is_undecided or entry.has_vanished
        entry = replace(entry, was_left_out=is_undecided and not was_asked)
        if verdict is None:
            return replace(entry, is_undecided=is_undecided)
        decided, claim = _decide(entry, verdict, reported, changes)
        claims.extend([claim] if claim is not None else [])
        return decided

    return tuple(map(decide, changes.record.ledger)), tuple(claims), tuple(others)


def _find_continued(located: Located, changes: ReviewedChanges) -> LedgerEntry | None:
    """Return the entry that a finding names by its number, or the only (open) one at its line with its category.

    For an entry that has vanished, that is a line with its code or a part of it; if it is open, also a similar one.
    """
    found, line, file = located.finding, located.line, changes.files.name(located.finding.path)
    entries = [entry for entry in changes.record.ledger if not entry.form]
    if found.continues is not None:
        return next((entry for entry in entries if entry.number == found.continues), None)
    entries = [entry for entry in entries if entry.category == found.category]
    still_open = [entry for entry in entries if not entry.is_closed]
    if line is None:
        same = [entry for entry in still_open if (entry.file, entry.line) == (file, None)]
    else:
        vanished = [entry for entry in still_open if entry.has_vanished and not has_code("", entry.quote)]
        parts = [one for one in vanished if not has_code("", line.text) and has_code(one.quote, line.text)]
        having = [entry for entry in vanished if has_code(line.text, entry.quote)]
        same = (
            [entry for entry in entries if (entry.file, entry.side, entry.line) == (file, line.side, line.number)]
            or [one for one in having if one.file == file or one in parts]
            or [one for one in parts if one.file == file]
            or [one for one in vanished if (one.state, one.file) == ("open", file) and resembles(line.text, one.quote)]
        )
    same = [entry for entry in same if entry.state == "open"] or same
    return same[0] if len(same) == 1 else None


def _set_present(
    entry: LedgerEntry, severity: Severity | None, line: Line | None, path: str, changes: ReviewedChanges
) -> LedgerEntry:
    """Return an entry that is there, with the higher one of two severities. A dismissed one is open if that rises."""
    if severity is not None and RANK[severity] < RANK[entry.severity]:
        entry = replace(reopen(entry), severity=severity)
    state = entry.state if entry.state == "dismissed" else "open"
    entry = replace(entry, state=state, is_undecided=line is None and entry.has_vanished)
    return entry if line is None else place(entry, line, path, changes.files)


def _decide(
    entry: LedgerEntry, verdict: EarlierVerdict, reported: Iterable[Located], changes: ReviewedChanges
) -> tuple[LedgerEntry, Claim | None]:
    """Return the entry after a verdict, and what the second look must agree with."""
    undecided = replace(entry, is_undecided=True)
    if verdict.verdict == "gone":
        return (set_gone(entry) if entry.is_absent and not has_code("", entry.quote) else undecided), None
    side: Side = entry.side if verdict.verdict == "present" else "RIGHT"
    path = find_path(verdict.path or "", changes.files.patches) or ""
    is_quoted = path and verdict.quote.strip()
    line = find_line(changes.files.patches[path], verdict.quote, side, verdict.line) if is_quoted else None
    claim = None
    if verdict.verdict == "present":
        lower = verdict.severity
        if line and lower and is_failing(entry.severity, changes.fail_on) and not is_failing(lower, changes.fail_on):
            claim = Claim(entry, f"It is there, but its severity is only {lower}.", path, line)
            entry = replace(entry, severity=lower) if entry.key in changes.agreed else entry
        return _set_present(entry, lower, line, path, changes), claim
    if line is None or not changes.is_new_line(line, entry.raised) or is_only_comment(line.text):
        return undecided, None
    places = {(path, line.side, line.number), (entry.path, entry.side, entry.line)}
    again = (one for one in reported if one.line is not None and one.finding.category == entry.category)
    if any((one.finding.path, one.finding.side, one.finding.line) in places for one in again):
        return undecided, None
    if has_code(line.text, entry.quote) or changes.files.name(path) != entry.file or not entry.has_vanished:
        claim = Claim(entry, "It is fixed, because this line prevents the failure.", path, line)
        if entry.key not in changes.agreed:
            return undecided, claim
    where = f"line {line.number}" if path == entry.path else f"line {line.number} of `{path}`"
    proof = Proof(changes.files.name(path), token("+", line.text))
    return replace(entry, state="fixed", proof=proof, resolution=f"Fixed in {changes.commit[:7]} by {where}."), claim


def set_gone(entry: LedgerEntry) -> LedgerEntry:
    return replace(entry, state="gone", resolution="No longer in the diff.")
