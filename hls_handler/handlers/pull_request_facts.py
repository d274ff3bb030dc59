"""The facts about a pull request: what the prompts, the comment and the check of a review are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from hls_handler.analysis import FileSummary, Severity
from hls_handler.events import PullRequest
from hls_handler.handlers.changed_files import PatchedFile, Selection, cover, show_files
from hls_handler.handlers.committed_credentials import Credential
from hls_handler.handlers.labels import LabelOffer
from hls_handler.handlers.reader import ReviewContext
from hls_handler.handlers.review_context import NO_CONTEXT
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.blocks import Block
from hls_handler.review.coverage import Coverage
from hls_handler.review.ledger import PresentFiles
from hls_handler.review.patches import Hunk, Patch, Side, number_line, numbered
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.settings.model import Findings, Review
from hls_handler.settings.values import Summary
from hls_handler.untrusted.cleaning import truncate

Size = Literal["small", "medium", "large"]

QUESTION_TOKENS = 150  # of each earlier finding in the prompt
EXCERPT_LINES = (40, 20, 10, 5, 2, 0)  # above and below a finding; the first that fits
MAX_CHARS = 1_000  # of the line that a claim names, or of an excerpt that is one line
MAX_EARLIER_CHARACTERS = 160  # of the text of an earlier finding that the prompt shows


@dataclass(frozen=True, slots=True)
class EarlierFinding:
    """A finding in the prompt, about which Claude gives a verdict."""

    number: int
    path: str
    line: int | None  # None: its block changed, or it is about the file
    severity: Severity
    category: str
    title: str
    body: str
    quote: str
    code: str  # its present lines, numbered; "" if they are gone or among the patches of the call
    is_changed: bool  # True: the lines that it is about are no longer as they were


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finding, as the second look sees it."""

    number: int
    path: str
    line: int
    severity: Severity
    title: str
    body: str
    code: str  # the numbered lines around it, and around the line that a claim names
    claim: str  # what the review says of an earlier finding; "" if the finding is new


@dataclass(frozen=True)
class PullRequestFacts:
    pull_request: PullRequest  # current state; its head is the analysed commit
    selection: Selection
    unlisted: int  # changed files beyond the 3,000 that GitHub lists
    size: Size
    left_out_by: str  # the line of settings that leaves files out; "" if none does
    shown: Findings  # thresholds for the findings
    review: Review  # settings
    summary: Summary  # whether a comment is posted without findings
    record: ReviewRecord  # before this review; its findings with their present place
    credentials: tuple[Credential, ...]
    skipped: Mapping[str, tuple[str, int]]  # as `ReviewRecord.skipped`, after this review
    is_review: bool  # False for prompts that review nothing, such as that of a changelog entry
    is_full: bool  # True if a person asked for a review of everything
    context: ReviewContext = NO_CONTEXT  # without the attributes, which `selection` has considered
    context_problem: str = ""  # why the context could not be read
    replied: tuple[str, ...] = ()  # keys of the findings whose thread has our reply or was deleted
    unread: frozenset[str] = frozenset()  # paths of files whose patch is not known completely
    questions: Mapping[int, int] = field(default_factory=dict)  # numbers of the findings to ask about, with their call
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered
    file_summaries: tuple[FileSummary, ...] | None = None  # of earlier reviews; None: they are not asked for
    call: int | None = None  # number of the call that these facts are shown in; None: all calls
    unanswered: Mapping[int, str] = field(default_factory=dict)  # calls without a reply, with the reason of each
    lost: Mapping[int, str] = field(default_factory=dict)  # calls of whose reply findings were left out, and why
    unverified: str = ""  # why the findings were not verified, for people on GitHub; "" if they were
    dropped: frozenset[str] = frozenset()  # keys of new findings for which the second look found no facts
    agreed: frozenset[str] = frozenset()  # keys of earlier findings about which it agreed with the claim
    not_inline: frozenset[str] = frozenset()  # keys of findings whose place GitHub rejected
    comment_ids: Mapping[str, int] = field(default_factory=dict)  # of the review comments of new findings, by key

    @cached_property
    def present(self) -> PresentFiles:
        """The files that the review reads."""
        renamed = {file.path: file.base_path for file in self.selection.files if file.base_path != file.path}
        return PresentFiles(self.selection.patches, renamed, self.unread, is_complete=not self.unlisted)

    @property
    def fail_on(self) -> Severity | None:
        """The least severity of a finding that fails the check; None if none does."""
        return self.review.fail_on if self.review.check else None

    @property
    def files(self) -> tuple[PatchedFile, ...]:
        calls = self.selection.calls if self.call is None else self.selection.calls[self.call : self.call + 1]
        return show_files(self.selection, (part for call in calls for part in call))

    @property
    def round(self) -> int:
        return self.record.rounds + 1

    @property
    def asked(self) -> frozenset[int]:
        """The numbers of the findings that a call with a reply asked about."""
        return frozenset(number for number, call in self.questions.items() if call not in self.unanswered)

    @property
    def earlier_findings(self) -> tuple[EarlierFinding, ...]:
        entries, patches = {entry.number: entry for entry in self.record.ledger}, self.selection.patches
        asked = [entries[number] for number, call in self.questions.items() if self.call in (None, call)]
        return tuple(
            _to_earlier(one, show_excerpt(patches, one.path, one.side, one.line, QUESTION_TOKENS // 2)) for one in asked
        )

    @property
    def known_findings(self) -> tuple[EarlierFinding, ...]:
        shown = {file.path for file in self.files}
        return tuple(
            _to_earlier(entry, "")
            for entry in self.record.ledger
            if entry.state == "open" and entry.path in shown and not entry.has_vanished
            if entry.number not in self.questions
        )

    @property
    def coverage(self) -> Coverage:
        return cover(self.selection, self.incomplete, unlisted=self.unlisted, known=self.known_blocks)

    @property
    def incomplete(self) -> Mapping[int, str]:
        """The calls without a complete reply, with the reason: no reply, or some of its findings were left out."""
        return {**self.lost, **self.unanswered}

    @property
    def known_blocks(self) -> Mapping[str, Sequence[Block]]:
        """The reviewed blocks, for a review that reads everything again; else nothing."""
        return self.record.blocks if self.is_full else {}


def _to_earlier(entry: LedgerEntry, code: str) -> EarlierFinding:
    place = (entry.number, entry.path, entry.line, entry.severity, entry.category, entry.title)
    body = truncate(entry.body, MAX_EARLIER_CHARACTERS)
    return EarlierFinding(*place, body, entry.quote, code, is_changed=entry.has_vanished)


def show_excerpt(patches: Mapping[str, Patch], path: str, side: Side, number: int | None, tokens: int) -> str:
    """Return a line as numbered text, with as many around it as fit into `tokens`; "" if the patches lack it."""
    for hunk in patches[path].hunks if path in patches else ():
        for at, line in enumerate(hunk.lines):
            if (line.side, line.number) == (side, number):
                ranges = (hunk.lines[max(at - around, 0) : at + around + 1] for around in EXCERPT_LINES)
                texts = (numbered(Patch((Hunk(hunk.header, lines),))) for lines in ranges)
                return next((text for text in texts if estimate_tokens(text) <= tokens), number_line(line)[:MAX_CHARS])
    return ""
