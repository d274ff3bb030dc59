"""The stored result of all reviews of a pull request: the ledger of findings, and what was
reviewed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from hls_handler.analysis import NO_CALLS, Receipt, Score, Severity
from hls_handler.review.blocks import Block
from hls_handler.review.patches import Side
from hls_handler.review.suggested_reviewers import Reviewer

FindingState = Literal["open", "fixed", "gone", "dismissed"]
"""Fixed: a new line prevents the failure. Gone: the code is no longer in the diff. Dismissed: a
person rejected it.
"""


@dataclass(frozen=True, slots=True)
class Proof:
    """The added line that shows that a finding is fixed."""

    file: str  # as `LedgerEntry.file`
    window: tuple[str, ...]  # of the line, as `Block.windows` yields it
    count: int  # of equal windows in the file


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    key: str  # 16 characters; names the finding in markers and in the table `findings`
    path: str
    side: Side
    quote: str  # the text of its line; as Claude quoted it if it belongs to its file
    severity: Severity  # the highest that a review gave it
    category: str
    title: str
    state: FindingState
    prompt_id: str  # of the reply that raised it
    number: int  # from 1; names it for people and Claude, and is never used again
    file: str = ""  # the file's path in the base, or its path if it has none
    files: tuple[str, ...] = ()  # those that its blocks were in
    confidence: float = 1.0
    body: str = ""
    comment_id: int | None = None  # of the review comment; None if only the summary has it
    # None: the patch that was read does not have it, or it belongs to the file
    line: int | None = None
    token: str = ""  # of its line, as in a `Block`
    # those that it belonged to, the present one last; () if it belongs to its file
    blocks: tuple[Block, ...] = ()
    block_line: int = 0  # number of the first line of the present block
    first_block: Block | None = None  # on which it was raised; None if it belonged to its file
    raised: int = 0  # the number of the review that raised it
    has_vanished: bool = False  # True: no patch has its block
    # True: it has vanished, and no block that is new since it was raised has its code
    is_absent: bool = False
    is_undecided: bool = False  # True: it may be fixed, and that is not proved
    unseen: str = ""  # the fact on which it hangs, which was not shown; "" if there is none
    was_left_out: bool = False  # True: Claude was to be asked about it, and there was no room
    # of a finding that is fixed, or that is open because its proof left the patch
    proof: Proof | None = None
    named: Proof | None = None  # the line that fixes it as a reply says, while that is not agreed
    resolution: str = ""  # what was proved, for people: "Fixed in 1ac2d4c by line 41."
    gone_at: int = 0  # the number of the review that found it gone; 0: it is not gone
    told_elsewhere: bool = False  # True: a reply in another finding's thread says that it is gone
    form: str = ""  # of a committed credential, which Claude is not asked about: "github-token"
    values: tuple[str, ...] = ()  # digests of the credentials
    dismissals: tuple[str, ...] = ()  # keys of `find_dismissals`, and those of commands, that count
    # those from before it became more severe, or before `/undismiss`
    void_dismissals: tuple[str, ...] = ()
    dismissed_by: str | None = None  # login
    is_accepted: bool = False  # True if a person reacted to it with thumbs up

    @property
    def has_lost_proof(self) -> bool:
        return self.state == "open" and self.proof is not None

    @property
    def is_as_raised(self) -> bool:
        """True if it stands on the block on which it was raised, or if it belongs to its file."""
        if not self.blocks:
            return True
        first = self.first_block or self.blocks[0]  # one that was placed later
        return not self.has_vanished and first.is_same(self.blocks[-1])

    @property
    def is_closed(self) -> bool:
        return self.state in ("fixed", "gone")

    @property
    def counts(self) -> bool:
        """True if the check counts it: it is neither closed nor dismissed."""
        return self.state == "open"


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open finding as the prompt for a coding agent shows it."""

    number: int
    severity: Severity
    path: str
    side: Side  # LEFT: its lines are removed, and numbered as in the base
    start_line: int | None  # None: it has one line, or only the last one is known
    line: int | None  # None: its line is not known, or it is about the file
    title: str
    body: str
    suggestion: str | None  # text for its lines; None if there is none, or if it is an earlier one
    unseen: str  # the fact on which it hangs, which was not shown


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """The stored result of all reviews of one pull request. Files are named as in
    `LedgerEntry.file`.
    """

    rounds: int = 0  # reviews that asked Claude
    blocks: Mapping[str, tuple[Block, ...]] = field(default_factory=dict)
    """Those that were reviewed, by file: the present ones, then those that are not in the patch any
    more.
    """
    skipped: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The SHA of the text of each file that was left out, and the first review that had it, by
    path.
    """
    kind: str = ""  # `type` of the last reply: "bug-fix"; "" before the first review
    summary: str = ""  # of the last reply
    suggested_title: str = ""  # of the last reply that has one
    ledger: tuple[LedgerEntry, ...] = ()
    next_number: int = 1  # `LedgerEntry.number` of the next finding
    scores: tuple[Score, ...] = ()  # of the last reply that has some
    reviewers: tuple[Reviewer, ...] = ()  # suggested at the first review
    receipt: Receipt = NO_CALLS  # of the last delivery that asked Claude
    asked_for: str = ""  # SHA of the head commit of that delivery; the name is stored

    def skipped_since(self, path: str, sha: str | None) -> int:
        """Return the number of the first review that left out a file with this text, else of the
        next review.
        """
        version, since = self.skipped.get(path, ("", 0))
        if version != sha:
            return self.rounds + 1
        return since

    def blocks_at(self, number: int) -> Mapping[str, Sequence[Block]]:
        """Return the blocks that were there at a review."""
        return {
            name: [block for block in file_blocks if block.was_at(number)]
            for name, file_blocks in self.blocks.items()
        }

    @property
    def read_blocks(self) -> Mapping[str, Sequence[Block]]:
        """Return the blocks that were reviewed, one that left and came back once."""
        return {name: _without_returned(file_blocks) for name, file_blocks in self.blocks.items()}


def _without_returned(blocks: Sequence[Block]) -> Sequence[Block]:
    """Leave out the earlier copy of a block that came back."""
    blocks_left: list[Block] = []
    for block in blocks:
        later = [other for other in blocks if other.round > block.until > 0]
        if not any(other.is_same(block) for other in later):
            blocks_left.append(block)
    return blocks_left


NO_REVIEW = ReviewRecord()

T = TypeVar("T")


@cache  # most commands read no record
def _build_adapter(values: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(values)


def dump_record(record: ReviewRecord) -> str:
    """Return the record without its ledger as JSON."""
    return _build_adapter(ReviewRecord).dump_json(replace(record, ledger=())).decode()


def dump_entry(entry: LedgerEntry) -> str:
    return _build_adapter(LedgerEntry).dump_json(entry).decode()


def parse_record(record: str | None, entries: Iterable[str]) -> ReviewRecord:
    """Return what `dump_record` and `dump_entry` wrote. What cannot be read is left out."""
    parsed = NO_REVIEW
    if record:
        with suppress(ValidationError):
            parsed = _build_adapter(ReviewRecord).validate_json(record)
    ledger: list[LedgerEntry] = []
    for stored in entries:
        with suppress(ValidationError):
            ledger.append(_build_adapter(LedgerEntry).validate_json(stored))
    next_number = max([parsed.next_number, *(entry.number + 1 for entry in ledger)])
    return replace(parsed, ledger=tuple(ledger), next_number=next_number)
