"""The facts about a pull request: what the prompts, the comment and the check of a review are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from hls_handler.analysis import FileSummary, Finding, PullRequestAnalysis, Reply, Severity
from hls_handler.events import PullRequest
from hls_handler.handlers.changed_files import PatchedFile, Selection, cover, show_files
from hls_handler.handlers.committed_credentials import Credential, find_committed
from hls_handler.handlers.labels import LabelOffer
from hls_handler.handlers.reader import ReviewContext
from hls_handler.handlers.review_context import NO_CONTEXT
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.blocks import Block
from hls_handler.review.coverage import Coverage
from hls_handler.review.ledger import PresentFiles, add, sort_entries
from hls_handler.review.patches import Hunk, Patch, Side, number_line, numbered
from hls_handler.review.positions import RANK, Located, locate
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord
from hls_handler.review.verdicts import Claim, ReviewedChanges, decide_verdicts
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


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[tuple[LedgerEntry, Located], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Located], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]  # about files that no call showed; they do not count
    held_back: int  # findings that the settings leave out
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    claims: tuple[Claim, ...]  # about earlier findings, that the second look must agree with

    @property
    def open(self) -> Sequence[LedgerEntry]:
        """The open entries of `ledger`, most severe first."""
        return sort_entries(entry for entry in self.ledger if entry.state == "open")

    def count(self, state: FindingState, *, by_readers: bool = False) -> int:
        """Count the earlier findings in a state; `by_readers`: without findings that a writer dismissed."""
        return sum(one.state == state and not (by_readers and one.has_binding_dismissal) for one in self.ledger)


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
    reply: PullRequestAnalysis | None = None  # to the review; None: Claude has not been asked

    @cached_property
    def present(self) -> PresentFiles:
        """The files that the review reads."""
        renamed = {file.path: file.base_path for file in self.selection.files if file.base_path != file.path}
        return PresentFiles(self.selection.patches, renamed, self.unread, is_complete=not self.unlisted)

    def with_reply(self, reply: Reply | None) -> PullRequestFacts:
        """Return the facts with a reply; itself if it has this reply, so that its findings are not computed again."""
        reply = reply if isinstance(reply, PullRequestAnalysis) else None
        return self if reply is self.reply else replace(self, reply=reply)

    @cached_property
    def found(self) -> ReviewFindings:
        """The new findings of `reply`, and the present state of earlier ones."""
        reported, earlier = (self.reply.findings, self.reply.earlier) if self.reply else ((), ())
        changes = ReviewedChanges(
            self.record,
            self.present,
            self.selection.new,
            self.pull_request.head_sha,
            fail_on=self.fail_on,
            asked=self.asked,
            has_calls=bool(self.selection.calls) or any(self.selection.new.values()),
            agreed=self.agreed,
        )
        located = [locate(finding, self.selection.shown_patches) for finding in reported]
        ledger, claims, others = decide_verdicts(changes, earlier, located)
        severe = [one for one in others if RANK[one.finding.severity] <= RANK[self.shown.min_severity]]
        listed = [one for one in severe if one.finding.category in self.review.categories]
        wanted = [one for one in listed if one.finding.confidence >= self.shown.min_confidence]
        timely = [one for one in wanted if changes.is_timely(one) and one.is_shown]
        new = [*(find_committed(ledger, self.credentials, self.present) if self.is_review else []), *timely]
        raised = zip(add(self.record, new, self.present), new, strict=True)
        kept = tuple(one for one in raised if one[0].key not in self.dropped)
        inline = [one for one in kept if one[1].line is not None][: self.review.max_inline] if self.is_review else []
        return ReviewFindings(
            kept,
            inline=tuple(one for one in inline if one[0].key not in self.not_inline),
            unlocated=tuple(one.finding for one in wanted if not one.is_shown),
            held_back=len(others) - len(wanted),
            ledger=ledger,
            claims=claims,
        )

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
