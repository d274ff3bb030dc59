"""Decides what a review says of the findings: which are new, and which verdicts about earlier ones
are proved.

HLS believes that a finding is fixed if Claude quotes a new line that prevents the failure, and that
it is gone if no new line has its code. Everything else leaves it open and undecided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from hls_handler.analysis import EarlierVerdict, Severity
from hls_handler.review.blocks import PlacedLine, match_blocks, token
from hls_handler.review.ledger import is_failing, place, reopen, set_gone
from hls_handler.review.patches import Line, Side
from hls_handler.review.positions import (
    RANK,
    Located,
    code_of,
    find_line,
    find_path,
    is_only_comment,
    last_line,
    merge_located,
    resembles,
)
from hls_handler.review.present_lines import PresentFiles, find_place
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
            for other, file_blocks in before.items():
                if other not in by_file:
                    old += file_blocks
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
        index = block.lines.index(line)
        offsets = [0, *accumulate(map(len, texts))]
        joined = "".join(texts)
        ends = {*offsets[index + 1 :]}
        return any(
            joined.startswith(code, start) and start + len(code) in ends
            for start in offsets[: index + 1]
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
        block = self.files.find_block(path, line.side, line.number)
        if block is None:
            return bool(new)
        is_beside = line.mark == " " and block.hunk in {placed.hunk for placed in new}
        return block in new or is_beside


BY_LINE = "It is fixed, because this line prevents the failure."
"""What a second look must agree with, if a new line is the proof."""

LinePlace = tuple[str, Side, int]  # path, side and number of a line


@dataclass(frozen=True, slots=True)
class _Decision:
    """The verdict of a review on one entry."""

    entry: LedgerEntry  # after the review
    claim: Claim | None = None
    unproved: Located | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of Claude about an earlier finding that the second look must agree with."""

    entry: LedgerEntry
    text: str  # "It is fixed by this line."
    path: str  # of the line that shows it
    line: Line


@dataclass(frozen=True, slots=True)
class Verdicts:
    ledger: tuple[LedgerEntry, ...]  # the entries after a review
    claims: tuple[Claim, ...]  # that need a second look
    unproved: tuple[tuple[LedgerEntry, Located], ...]
    """Entries that hang on an unseen fact and are raised again: the second look may prove them
    now.
    """
    others: tuple[Located, ...]  # findings that continue no entry


def decide_verdicts(
    changes: ReviewedChanges, verdicts: Iterable[EarlierVerdict], reported: Sequence[Located]
) -> Verdicts:
    """Decide about the entries.

    A reported finding that continues an entry takes precedence over a verdict about this entry.
    """
    continued: dict[str, Located] = {}
    others: list[Located] = []
    answers = (verdict for verdict in verdicts if verdict.number in changes.asked)
    by_number = {
        verdict.number: verdict
        for verdict in sorted(answers, key=lambda verdict: verdict.verdict == "present")
    }
    places = {
        verdict.number: _find_place(verdict, by_number.get(verdict.number), changes)
        for verdict in changes.record.ledger
    }
    for located in merge_located(reported):
        entry = _find_continued(located, changes, places)
        if entry is None or entry.key in continued:
            others.append(located)
        else:
            continued[entry.key] = located
    ledger: list[LedgerEntry] = []
    claims: list[Claim] = []
    unproved: list[tuple[LedgerEntry, Located]] = []
    for entry in changes.record.ledger:
        again = continued.get(entry.key)
        if again is not None:
            decision = _raise_again(entry, again, changes)
        else:
            decision = _decide(entry, by_number.get(entry.number), reported, changes)
        ledger.append(decision.entry)
        if decision.claim is not None:
            claims.append(decision.claim)
        if decision.unproved is not None:
            unproved.append((entry, decision.unproved))
    return Verdicts(tuple(ledger), tuple(claims), tuple(unproved), tuple(others))


def _raise_again(entry: LedgerEntry, again: Located, changes: ReviewedChanges) -> _Decision:
    """Decide about an entry that a finding continues."""
    finding = again.finding
    is_more_severe = RANK[finding.severity] < RANK[entry.severity]
    is_agreed = entry.key in changes.agreed
    claim = None
    proof = None
    # Claude need not have seen the line by which the entry is fixed
    if entry.state == "fixed" and entry.proof is not None:
        proof = changes.files.find_proof(entry.proof)
    if proof is not None and not is_more_severe:
        at_new_place = place(entry, again.line, finding.path, changes.files)
        raised = replace(
            at_new_place, title=finding.title, body=finding.body, severity=finding.severity
        )
        claim = Claim(raised, BY_LINE, proof.path, proof.line)
        if is_agreed:
            return _Decision(at_new_place, claim)
    unproved = again if entry.unseen else None
    if entry.unseen and is_agreed:
        entry = replace(entry, unseen="", confidence=finding.confidence)
    if entry.state != "dismissed" or is_more_severe:
        entry = replace(entry, title=finding.title, body=finding.body)
    entry = _set_present(entry, finding.severity, again.line, finding.path, changes)
    return _Decision(entry, claim, unproved)


def _decide(
    entry: LedgerEntry,
    verdict: EarlierVerdict | None,
    reported: Iterable[Located],
    changes: ReviewedChanges,
) -> _Decision:
    """Decide about an entry that no finding continues."""
    is_settled = entry.is_undecided or entry.is_closed
    if verdict is None and not changes.has_new and entry.is_absent and not is_settled:
        return _Decision(set_gone(entry))
    is_undecided = entry.is_undecided or entry.has_vanished
    if entry.number in changes.asked:
        entry = replace(entry, was_left_out=False, proof=None)
    else:
        entry = replace(entry, was_left_out=is_undecided)
    if verdict is None:
        return _Decision(replace(entry, is_undecided=is_undecided))
    quoted = _find_quoted(entry, verdict, changes)
    if verdict.verdict == "present":
        return _decide_present(entry, verdict.severity, quoted, changes)
    if verdict.verdict == "fixed":
        return _decide_fixed(entry, verdict, quoted, reported, changes)
    if entry.is_absent and code_of(entry.quote):
        return _Decision(set_gone(entry))
    return _Decision(replace(entry, is_undecided=True))


def _find_continued(
    located: Located, changes: ReviewedChanges, places: Mapping[int, LinePlace | None]
) -> LedgerEntry | None:
    """Return the entry that a finding names by its number, or the only (open) entry of its category
    at its line.

    A finding about a place that is not shown is the entry of its path with the same quote or title.
    Without a verdict on its place, an entry without a line is also at each line with its code, and
    an open entry at each similar line of its file. While the block of an entry is there, the entry
    is not continued in another block.
    """
    finding = located.finding
    line = located.line
    file = changes.files.name(located.finding.path)
    entries = [entry for entry in changes.record.ledger if not entry.form]
    if finding.continues is not None:
        continued = next((entry for entry in entries if entry.number == finding.continues), None)
        if continued is None or (line and changes.is_elsewhere(continued, finding.path, line)):
            return None
        return continued
    hidden = _find_repeated(located, entries, changes)
    if hidden is not None:
        return hidden
    entries = [entry for entry in entries if entry.category == finding.category]
    if line is None:
        same = [
            entry
            for entry in entries
            if not entry.blocks and entry.file == file and not entry.is_closed
        ]
    else:
        lost = [
            candidate
            for candidate in entries
            if candidate.has_vanished or (candidate.is_closed and candidate.file == file)
        ]
        lost = [
            candidate
            for candidate in lost
            if places[candidate.number] is None and code_of(candidate.quote)
        ]
        same = (
            [
                candidate
                for candidate in entries
                if places[candidate.number] == (finding.path, line.side, line.number)
            ]
            or [candidate for candidate in lost if changes.spells(candidate, finding.path, line)]
            or [
                candidate
                for candidate in lost
                if (candidate.state, candidate.file) == ("open", file)
                and resembles(line.text, candidate.quote)
            ]
        )
    same = [entry for entry in same if entry.state == "open"] or same
    return same[0] if len(same) == 1 else None


def _find_repeated(
    located: Located, entries: Sequence[LedgerEntry], changes: ReviewedChanges
) -> LedgerEntry | None:
    """Return the entry that is not closed, and that a finding about a place that is not shown
    repeats.
    """
    finding = located.finding
    path = find_path(finding.path, changes.files.patches) or finding.path
    path_entries = [
        entry for entry in entries if not entry.is_closed and path in (entry.path, entry.file)
    ]
    quote = code_of(last_line(finding.quote))
    title = finding.title.casefold()
    same_quote = [entry for entry in path_entries if quote and code_of(entry.quote) == quote]
    if located.named is not None:
        place = (finding.side, located.named)
        return next((entry for entry in same_quote if (entry.side, entry.line) == place), None)
    if located.line is not None:
        return None
    same_title: list[LedgerEntry] = []
    if not changes.shows(path, finding.side, finding.line):
        same_title = [entry for entry in path_entries if entry.title.casefold() == title]
    same_both = [entry for entry in same_title if entry in same_quote]
    best_first = [*same_both, *same_title, *same_quote]
    # an open entry before a dismissed one
    best_first.sort(key=lambda entry: entry.state != "open")
    return next(iter(best_first), None)


def _find_place(
    entry: LedgerEntry, verdict: EarlierVerdict | None, changes: ReviewedChanges
) -> LinePlace | None:
    """Return the line of an entry: from its block, else from the verdict "present"."""
    if entry.line is not None:
        return entry.path, entry.side, entry.line
    if verdict is None or verdict.verdict != "present":
        return None
    quoted = _find_quoted(entry, verdict, changes)
    if quoted is None:
        return None
    return quoted.path, quoted.line.side, quoted.line.number


def _quotes_other(entry: LedgerEntry, verdict: EarlierVerdict) -> bool:
    """Return True if a verdict quotes another line than that of the entry."""
    quoted = code_of(verdict.quote)
    return bool(quoted) and quoted != code_of(entry.quote)


def _find_quoted(
    entry: LedgerEntry, verdict: EarlierVerdict, changes: ReviewedChanges
) -> PlacedLine | None:
    side: Side = entry.side if verdict.verdict == "present" else "RIGHT"
    path = find_path(verdict.path or "", changes.files.patches)
    if path is None or not verdict.quote.strip():
        return None
    line = find_line(changes.files.patches[path], verdict.quote, side, verdict.line)
    if line is None:
        return None
    return PlacedLine(path, line)


def _set_present(
    entry: LedgerEntry,
    severity: Severity | None,
    line: Line | None,
    path: str,
    changes: ReviewedChanges,
) -> LedgerEntry:
    """Return an open entry with the higher of two severities. A dismissed entry is open only if its
    severity rises.
    """
    if severity is not None and RANK[severity] < RANK[entry.severity]:
        entry = replace(reopen(entry), severity=severity)
    state = entry.state if entry.state == "dismissed" else "open"
    entry = replace(
        entry, state=state, proof=None, is_undecided=line is None and entry.has_vanished
    )
    if line is None or changes.is_elsewhere(entry, path, line):
        return entry
    return place(entry, line, path, changes.files)


def _decide_present(
    entry: LedgerEntry,
    severity: Severity | None,
    quoted: PlacedLine | None,
    changes: ReviewedChanges,
) -> _Decision:
    if quoted is None:
        return _Decision(_set_present(entry, severity, None, "", changes))
    claim = None
    fails = is_failing(entry.severity, changes.fail_on)
    if severity and fails and not is_failing(severity, changes.fail_on):
        text = f"It is there, but its severity is only {severity}."
        claim = Claim(entry, text, quoted.path, quoted.line)
        if entry.key in changes.agreed:
            entry = replace(entry, severity=severity)
    entry = _set_present(entry, severity, quoted.line, quoted.path, changes)
    return _Decision(entry, claim)


def _decide_fixed(
    entry: LedgerEntry,
    verdict: EarlierVerdict,
    quoted: PlacedLine | None,
    reported: Iterable[Located],
    changes: ReviewedChanges,
) -> _Decision:
    undecided = replace(entry, is_undecided=True)
    is_shown = quoted is not None and quoted.line.mark != "-"
    if entry.is_absent and not is_shown and not _quotes_other(entry, verdict):
        return _decide_deleted(entry, changes)
    if quoted is None:
        return _Decision(undecided)
    path = quoted.path
    line = quoted.line
    if not changes.is_new_line(path, line, entry.raised) or is_only_comment(line.text):
        return _Decision(undecided)
    places = {(path, line.side, line.number), (entry.path, entry.side, entry.line)}
    again = (
        report
        for report in reported
        if report.line is not None and report.finding.category == entry.category
    )
    if any(
        (report.finding.path, report.finding.side, report.finding.line) in places
        for report in again
    ):
        return _Decision(undecided)
    claim = None
    file = changes.files.name(path)
    is_away = entry.is_absent and code_of(entry.quote) != ""
    if not is_away or file != entry.file:
        claim = Claim(entry, BY_LINE, path, line)
        if entry.key not in changes.agreed:
            return _Decision(replace(undecided, named=changes.files.make_proof(quoted)), claim)
    where = f"line {line.number}"
    if path != entry.path:
        where += f" of `{path}`"
    proof = changes.files.make_proof(quoted)
    resolution = f"Fixed in {changes.commit[:7]} by {where}."
    fixed = replace(entry, state="fixed", proof=proof, named=None, resolution=resolution)
    return _Decision(fixed, claim)


def _decide_deleted(entry: LedgerEntry, changes: ReviewedChanges) -> _Decision:
    """Decide about an entry whose code is away and that is said to be fixed, without a line that
    shows it.
    """
    undecided = replace(entry, is_undecided=True)
    if not code_of(entry.quote):
        return _Decision(undecided)
    beside = changes.find_new_beside(entry)
    if beside is None:
        return _Decision(set_gone(entry))
    text = "It is fixed, because its line is deleted. New beside it:"
    claim = Claim(entry, text, beside.path, beside.line)
    if entry.key in changes.agreed:
        return _Decision(set_gone(entry), claim)
    return _Decision(undecided, claim)
