"""The stored result of all reviews of a pull request: the ledger of findings, and what was reviewed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from hls_handler.analysis import NO_CALLS, Receipt, Score, Severity
from hls_handler.review.patches import Side
from hls_handler.review.places import Twin

MAX_BODY_CHARACTERS = 1_000  # of the stored text of a finding

FindingState = Literal["open", "fixed", "gone", "dismissed"]
"""Open: the quoted line is in the patch. Fixed: it is not, but lines around it are; or some of several quoted lines
changed, and Claude said that this corrects the finding. Gone: neither the line nor one around it is in the patch.

Dismissed: the line is in the patch, and a person rejected the finding. It is not raised again there.
"""


@dataclass(frozen=True, slots=True)
class ThreadReply:
    author: str  # login; "" if the account was deleted
    body: str  # at most 4,000 characters


@dataclass(frozen=True, slots=True)
class ReviewThread:
    """A review thread that HLS opened. https://docs.github.com/en/graphql/reference/objects#pullrequestreviewthread

    If a person uses the bot account, too, replies without our marker and reactions are theirs. Those of an account that
    only HLS uses are left out.
    """

    comment_id: int  # of HLS's comment, the first of the thread
    key: str  # `InlineComment.key`, from the marker
    is_resolved: bool
    resolved_by: str | None  # login; "" if the account was deleted; None if it is open
    replies: tuple[ThreadReply, ...]  # by people and other bots, oldest first
    own_replies: tuple[str, ...]  # keys of HLS's replies (`EnsureReply.key`)
    thumbs_up: tuple[str, ...]  # logins of those who reacted so to HLS's comment
    thumbs_down: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    key: str  # 16 characters; names the finding in markers and in the table `findings`
    path: str
    side: Side
    quote: str  # the line that the ledger knows it by (`find_anchor`), as `identify` returns it
    nearby: tuple[str, ...]  # the lines around it, likewise
    severity: Severity
    category: str
    title: str
    state: FindingState
    prompt_id: str  # of the reply that raised it
    comment_id: int | None = None  # of the review comment; None if only the summary has it
    body: str = ""  # at most `MAX_BODY_CHARACTERS`, and those of later findings that it takes
    is_body_posted: bool = False  # True: the review comment has it
    is_unchanged: bool = False  # True: the base has the line; the pull request at most moves or indents it
    dismissed_by: str | None = None  # login
    has_binding_dismissal: bool = False  # True if that person may write to the repository
    is_accepted: bool = False  # True if a person reacted to it with thumbs up
    previous_path: str | None = None  # of the file, if the pull request renamed it
    line: int | None = None  # number of that line; None if no patch that was read shows it
    shown_line: int = 0  # its number in the last patch that showed it; 0: unknown
    changed: tuple[str, ...] = ()  # those of `nearby` that the pull request changes, `KnownLine.changed`
    twins: tuple[Twin, ...] = ()  # equal lines of the file, `KnownLine.twins`
    dismissals: tuple[str, ...] = ()  # keys of `find_dismissals` that count
    void_dismissals: tuple[str, ...] = ()  # those that were made while the line was at another place, or not there
    has_other_place: bool = False  # True: it is at another place now, or its quote changed now: it may be right there
    lines_above: int = 0  # lines that it quotes above `line`
    lines_below: int = 0
    lines: tuple[str, ...] = ()  # those that it quotes and that matter, see `add_quote`; () if it quotes one
    quoted: str = ""  # digest of its present lines; "" if it quotes one
    decided: str = ""  # that of the lines for which it is known to be right
    part: tuple[str, ...] = ()  # lines around it if GitHub showed only a part of its file then, see `list_part`
    is_quote_changed: bool = False  # True: these differ, so that it may be corrected; see `settle_quotes`
    number: int = 0  # from 1; names it for people, and is never used again

    @property
    def quoted_lines(self) -> range:
        """The numbers of the lines that it quotes, or that it quoted if its line is hidden; none if that is unknown."""
        line = self.line or self.shown_line
        return range(max(line - self.lines_above, 1), line + self.lines_below + 1) if line else range(0)

    @property
    def is_closed(self) -> bool:
        return self.state in ("fixed", "gone")

    @property
    def is_absent(self) -> bool:
        """True if no patch has its line. The line of a fixed one may be there if another line of its quote changed."""
        return self.is_closed and not self.is_quote_changed


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """The stored result of all reviews of one pull request."""

    rounds: int = 0  # reviews that asked Claude
    reviewed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by path, see `review.changes`
    kind: str = ""  # `type` of the last reply: "bug-fix"; "" before the first review
    summary: str = ""  # of the last reply
    ledger: tuple[LedgerEntry, ...] = ()
    scores: tuple[Score, ...] = ()  # of the last reply that has some
    quoted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines of the last whole patches of files with findings of several lines, by path; see `list_tokens`."""
    receipt: Receipt = NO_CALLS  # of the last delivery that asked Claude
    asked_for: str = ""  # SHA of the head commit of that delivery
    base: str = ""  # SHA of the base branch at the last review; "" if unknown


NO_REVIEW = ReviewRecord()

_RECORD = TypeAdapter(ReviewRecord)
_ENTRY = TypeAdapter(LedgerEntry)


def dump_record(record: ReviewRecord) -> str:
    """Return the record without its ledger as JSON."""
    return _RECORD.dump_json(replace(record, ledger=())).decode()


def dump_entry(entry: LedgerEntry) -> str:
    return _ENTRY.dump_json(entry).decode()


def parse_record(record: str | None, entries: Iterable[str]) -> ReviewRecord:
    """Return what `dump_record` and `dump_entry` wrote. What another version wrote is left out."""
    try:
        parsed = _RECORD.validate_json(record) if record else NO_REVIEW
    except ValidationError:
        parsed = NO_REVIEW
    ledger: list[LedgerEntry] = []
    for entry in entries:
        with suppress(ValidationError):
            ledger.append(_ENTRY.validate_json(entry))
    return replace(parsed, ledger=tuple(ledger))
