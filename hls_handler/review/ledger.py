"""The ledger: the findings that HLS has raised on a pull request, and their states.

A finding belongs to a block of changed lines. While its block stays, nothing is asked. When it is
gone, Claude is asked what became of the finding (`review/verdicts.py`), and the finding stays open
until the answer is proved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

from hls_handler.analysis import Severity
from hls_handler.github.values import ReviewThread
from hls_handler.review.blocks import Block, PlacedBlock, token
from hls_handler.review.dismissals import (
    COMMAND,
    DELETED,
    RESOLVED,
    UNDISMISSED,
    WORDS,
    find_dismissals,
    find_taken_back,
    list_objectors,
)
from hls_handler.review.patches import Line
from hls_handler.review.positions import RANK, Located
from hls_handler.review.present_lines import PresentFiles
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord

MAX_BLOCKS = 10  # that an entry remembers
BY_EVENT = (COMMAND, DELETED, UNDISMISSED)
"""Beginnings of the keys that events stored of people who might dismiss the finding then. The
thread does not show them.
"""


def follow(record: ReviewRecord, files: PresentFiles) -> tuple[LedgerEntry, ...]:
    """Return the entries with their present place. An entry without its block has vanished, if all
    lines are known.
    """
    new_since = cache(lambda number: files.list_new(record.blocks_at(number)))
    return tuple(_follow(entry, files, record, new_since) for entry in record.ledger)


def _follow(
    entry: LedgerEntry,
    files: PresentFiles,
    record: ReviewRecord,
    new_since: Callable[[int], frozenset[PlacedBlock]],
) -> LedgerEntry:
    if entry.form:
        return entry
    entry = _follow_proof(entry, files)

    # its block is present, perhaps in another place
    placed = _find_block(entry, files)
    if placed is not None:
        moved = _move(entry, placed, files)
        if entry.state == "gone" or entry.has_vanished:
            return _open(moved)
        return moved

    # its block is not present: it has vanished if the patch of its file is known
    is_gone = files.is_known(entry.file, entry.path) and (
        entry.blocks or entry.file not in files.by_file
    )
    has_vanished = entry.has_vanished or bool(is_gone and not entry.is_closed)
    with_code = files.list_with_code(entry.quote, entry.token[:1] or "+")
    having = frozenset(
        block
        for block in with_code
        if files.skipped.get(block.path, entry.raised + 1) > entry.raised
    )
    if having:
        having &= new_since(entry.raised)
    if entry.state == "gone":
        entry = _open_if_back(entry, having, files, record)

    # it stays open, undecided if only its unchanged line was edited, or it is over
    is_undecided = entry.is_undecided or bool(_find_blocks(entry, files))
    is_absent = has_vanished and not having
    entry = replace(
        entry, line=None, has_vanished=has_vanished, is_absent=is_absent, is_undecided=is_undecided
    )
    is_over = is_absent and not entry.is_closed and files.is_as_in_base(entry.file, entry.path)
    if is_over and not files.names_other(entry):
        return set_gone(entry)
    return entry


def _follow_proof(entry: LedgerEntry, files: PresentFiles) -> LedgerEntry:
    """Return the entry as fixed while its proof is there as often as before, and then as open."""
    proof = entry.proof
    if proof is None or entry.state not in ("fixed", "open") or not files.is_known(proof.file):
        return entry
    number = files.windows.get(proof.file, Counter())[proof.window]
    state: FindingState = "fixed" if number >= proof.count else "open"
    proof = replace(proof, count=max(number, proof.count))
    return replace(entry, proof=proof, state=state, is_undecided=False)


def _open_if_back(
    entry: LedgerEntry,
    having: frozenset[PlacedBlock],
    files: PresentFiles,
    record: ReviewRecord,
) -> LedgerEntry:
    """Return an entry that is gone, as open if its code or a block of its files is back."""
    if having:
        # a block may be there again that was read before the finding was raised
        before = {
            name: [block for block in blocks if block.round <= entry.raised]
            for name, blocks in record.blocks.items()
        }
        if having - files.list_new(before):
            return _open(entry)
    if files.has_returned(entry, record):
        return replace(_open(entry), is_undecided=True)
    if _find_blocks(entry, files):
        return _open(entry)
    return entry


def set_gone(entry: LedgerEntry) -> LedgerEntry:
    return replace(entry, state="gone", is_undecided=False, resolution="No longer in the diff.")


def _open(entry: LedgerEntry) -> LedgerEntry:
    state: FindingState = "open" if entry.dismissed_by is None else "dismissed"
    return replace(entry, state=state, is_undecided=False, proof=None)


def _find_blocks(entry: LedgerEntry, files: PresentFiles) -> Sequence[tuple[Block, PlacedBlock]]:
    """Return the present and the earlier blocks of an entry, the last one that it belonged to
    first.
    """
    present: list[PlacedBlock] = []
    for name in {entry.file, *entry.files}:
        present += files.by_file.get(name, ())
    pairs: list[tuple[Block, PlacedBlock]] = []
    for block in reversed(entry.blocks):
        pairs += [(block, placed) for placed in present if block.is_same(placed.block)]
    return pairs


def _find_block(entry: LedgerEntry, files: PresentFiles) -> PlacedBlock | None:
    """Return the present block of an entry that has its line."""
    pairs = [pair for pair in _find_blocks(entry, files) if _find_own(entry, pair[1], files)]
    if not pairs:
        return None

    def rank_pair(pair: tuple[Block, PlacedBlock]) -> tuple[object, ...]:
        block, placed = pair
        is_other = files.name(placed.path) != entry.file
        return (
            -entry.blocks.index(block),
            is_other,
            block != placed.block,
            abs(placed.lines[0].number - entry.block_line),
        )

    return min(pairs, key=rank_pair)[1]


def _move(entry: LedgerEntry, placed: PlacedBlock, files: PresentFiles) -> LedgerEntry:
    """Return the entry at its line in or beside the block."""
    expected_line = placed.lines[0].number + (entry.line or entry.block_line) - entry.block_line
    line = min(
        _find_own(entry, placed, files), key=lambda own_line: abs(own_line.number - expected_line)
    )
    return _attach(replace(entry, file=files.name(placed.path)), line, placed)


def _find_own(entry: LedgerEntry, placed: PlacedBlock, files: PresentFiles) -> list[Line]:
    """Return the lines of the block's hunk that are equal to that of the entry."""
    lines = files.patches[placed.path].hunks[placed.hunk].lines
    return [
        line
        for line in lines
        if line.side == entry.side and token(line.mark, line.text) == entry.token
    ]


def _attach(entry: LedgerEntry, line: Line, placed: PlacedBlock) -> LedgerEntry:
    others = [block for block in entry.blocks if not block.is_same(placed.block)]
    return replace(
        entry,
        path=placed.path,
        side=line.side,
        line=line.number,
        quote=line.text,
        token=token(line.mark, line.text),
        blocks=(*others[1 - MAX_BLOCKS :], placed.block),
        block_line=placed.lines[0].number,
        has_vanished=False,
        is_absent=False,
    )


def place(entry: LedgerEntry, line: Line | None, path: str, files: PresentFiles) -> LedgerEntry:
    """Return the entry at a line of a present patch, in its block; without a line, in its file."""
    file = files.name(path)
    entry = replace(entry, path=path, file=file, files=tuple(dict.fromkeys((*entry.files, file))))
    if line is None:
        return replace(entry, line=None)
    if entry.form:
        return replace(entry, line=line.number)
    block = files.find_block(path, line.side, line.number)
    if block is None:
        return entry
    return _attach(entry, line, block)


@dataclass(frozen=True, slots=True)
class Dismissers:
    """The people who may dismiss findings: writers, and the author those that fail no check."""

    writers: Collection[str]  # logins of people who may write to the repository
    author: str  # login of the pull request's author
    fail_on: Severity | None

    def may_dismiss(self, login: str, severity: Severity) -> bool:
        is_author = login == self.author
        return login in self.writers or (is_author and not is_failing(severity, self.fail_on))


def apply_threads(
    ledger: Iterable[LedgerEntry], threads: Iterable[ReviewThread], people: Dismissers
) -> tuple[LedgerEntry, ...]:
    """Return the entries with what people did in their review threads, and with the commands that
    dismissed them.

    A thread that is missing changes nothing: it may be on a page that was not read, or another
    account's. A resolved thread dismisses only while the entry is as it was raised, because people
    resolve a thread when they think that it is done. `/undismiss` makes all dismissals void that
    are there at the next review.
    """
    by_key = {thread.key: thread for thread in threads}
    return tuple(_apply_thread(entry, by_key.get(entry.key), people) for entry in ledger)


def restore(entry: LedgerEntry, thread: ReviewThread, people: Dismissers) -> LedgerEntry:
    """Return a new entry that already has a thread, because the database was lost.

    What people did there counts only if the thread is still at the line of the entry: the same text
    may stand elsewhere. After an objection, only what they said later does.
    """
    void = tuple(find_dismissals(thread))
    if entry.line is not None and thread.line == entry.line:
        has_objection = not list_objectors(thread).isdisjoint(people.writers)
        void = tuple(key for key in void if has_objection and not key.startswith(WORDS))
    entry = replace(entry, comment_id=thread.comment_id, void_dismissals=void)
    return _apply_thread(entry, thread, people)


def _apply_thread(
    entry: LedgerEntry, thread: ReviewThread | None, people: Dismissers
) -> LedgerEntry:
    logins = {key: key.partition(" by ")[2] for key in entry.dismissals}
    dismissals = {
        key: login for key, login in logins.items() if thread is None or key.startswith(BY_EVENT)
    }
    if thread is not None:
        entry = replace(entry, is_accepted=bool(thread.thumbs_up))
        dismissals |= find_dismissals(thread)
    void = [
        key
        for key in entry.void_dismissals
        if key in dismissals or thread is None or key.startswith(BY_EVENT)
    ]
    if thread is not None:
        void += find_taken_back(thread, people.writers)
    if any(key.startswith(UNDISMISSED) for key in logins):
        void += dismissals
    if not entry.is_as_raised:  # also if the lines are as they were raised again later
        void += [key for key in dismissals if key.startswith(RESOLVED)]
    counting: dict[str, str] = {}
    for key, login in dismissals.items():
        was_writer = key.startswith(BY_EVENT) and login != people.author
        if key not in void and (was_writer or people.may_dismiss(login, entry.severity)):
            counting[key] = login
    state = entry.state
    if not entry.is_closed:
        state = "dismissed" if counting else "open"
    return replace(
        entry,
        state=state,
        dismissals=tuple(counting),
        void_dismissals=tuple(dict.fromkeys(void)),
        dismissed_by=next(iter(counting.values()), None),
    )


def reopen(entry: LedgerEntry) -> LedgerEntry:
    """Return a dismissed entry as open: what people said was about a less severe finding."""
    void = tuple(dict.fromkeys((*entry.void_dismissals, *entry.dismissals)))
    return replace(
        entry,
        state="open",
        dismissals=(),
        void_dismissals=void,
        dismissed_by=None,
    )


def is_failing(severity: Severity, fail_on: Severity | None) -> bool:
    return fail_on is not None and RANK[severity] <= RANK[fail_on]


def fails_check(entry: LedgerEntry, fail_on: Severity | None) -> bool:
    """Return True if the check fails because of an entry: it counts, and hangs on nothing that was
    not shown.
    """
    return entry.counts and not entry.unseen and is_failing(entry.severity, fail_on)


def leaves_open(entry: LedgerEntry, fail_on: Severity | None) -> bool:
    """Return True if an entry would fail the check if the fact it hangs on were proved."""
    return entry.counts and bool(entry.unseen) and is_failing(entry.severity, fail_on)


def sort_entries(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    return sorted(
        entries,
        key=lambda entry: (
            RANK[entry.severity],
            -entry.confidence,
            entry.path,
            entry.line or 0,
            entry.number,
        ),
    )


def add(
    record: ReviewRecord, findings: Iterable[Located], files: PresentFiles
) -> tuple[LedgerEntry, ...]:
    """Return entries for new findings, in their order, with keys and numbers that the record does
    not have.
    """
    taken = {entry.key for entry in record.ledger}
    added: list[LedgerEntry] = []
    for number, located in enumerate(findings, start=record.next_number):
        finding = located.finding
        key = _make_key(finding.path, finding.quote or located.form, finding.category, taken)
        taken.add(key)
        entry = LedgerEntry(
            key=key,
            path=finding.path,
            side=finding.side,
            quote=finding.quote,
            severity=finding.severity,
            category=finding.category,
            title=finding.title,
            state="open",
            prompt_id="",
            number=number,
            confidence=finding.confidence,
            body=finding.body,
            form=located.form,
            raised=record.rounds + 1,
        )
        entry = place(entry, located.line, finding.path, files)
        added.append(replace(entry, first_block=next(iter(entry.blocks), None)))
    return tuple(added)


def _make_key(path: str, quote: str, category: str, taken: Collection[str]) -> str:
    parts = [path, quote, category]
    number = 0
    while True:
        text = "\0".join(parts)
        key = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if key not in taken:
            return key
        number += 1  # the same line stands at another place, too
        parts = [path, quote, category, str(number)]
