"""The facts about a pull request: what the prompts, the comment and the check of a review are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hls_handler.analysis import Severity
from hls_handler.events import PullRequest
from hls_handler.handlers.changed_files import PatchedFile, Selection, cover, show_files
from hls_handler.handlers.labels import LabelOffer
from hls_handler.handlers.reader import GuidanceFile, LinkedIssue, RepositoryLabel, ReviewContext
from hls_handler.handlers.skipped_files import SkippedFile
from hls_handler.review.coverage import Coverage
from hls_handler.review.record import ReviewRecord
from hls_handler.settings.model import Findings, Review
from hls_handler.settings.values import Summary

NO_CONTEXT = ReviewContext()

Size = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """An open finding in the prompt, so that Claude does not raise it again."""

    path: str
    line: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finding, as the prompt that tries to refute it sees it."""

    number: int  # from 1
    path: str
    line: int
    severity: Severity
    title: str
    body: str
    code: str  # the numbered lines of its hunk
    is_earlier: bool  # True: an earlier review raised it, and lines that it quotes have changed since


@dataclass(frozen=True, slots=True)
class PullRequestFacts:
    pull_request: PullRequest  # current state; its head is the analysed commit
    selection: Selection
    unlisted: int  # changed files beyond the 3,000 that GitHub lists
    size: Size
    left_out_by: str  # the line of settings that leaves files out; "" if none does
    shown: Findings  # thresholds for the findings
    review: Review  # settings
    summary: Summary  # whether a comment is posted without findings
    record: ReviewRecord  # before this review; its findings with their present state
    is_review: bool  # False for prompts that review nothing, such as that of a changelog entry
    is_full: bool  # True if a person asked for a review of everything
    context: ReviewContext = NO_CONTEXT  # without the attributes, which `selection` has considered
    context_problem: str = ""  # why the context could not be read
    replied: tuple[str, ...] = ()  # keys of the findings whose thread has our reply or was deleted
    unread: frozenset[str] = frozenset()  # paths of files of which changed lines may not be shown, see `find_unread`
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered
    call: int | None = None  # number of the call that these facts are shown in; None: all calls
    unanswered: Mapping[int, str] = field(default_factory=dict)  # calls without a reply, with the reason of each
    unverified: str = ""  # why the findings were not verified, for people on GitHub; "" if they were
    refuted: frozenset[str] = frozenset()  # keys of the findings that the second look refuted
    upheld: frozenset[str] = frozenset()  # keys of the others that it was shown
    not_inline: frozenset[str] = frozenset()  # keys of findings whose place GitHub rejected

    @property
    def files(self) -> tuple[PatchedFile, ...]:
        calls = self.selection.calls if self.call is None else self.selection.calls[self.call : self.call + 1]
        return show_files(self.selection, (part for call in calls for part in call))

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        return self.selection.skipped

    @property
    def round(self) -> int:
        return self.record.rounds + 1

    @property
    def part(self) -> int:
        return 1 if self.call is None else self.call + 1

    @property
    def parts(self) -> int:
        return len(self.selection.calls)

    @property
    def earlier_kind(self) -> str:
        return self.record.kind

    @property
    def earlier_summary(self) -> str:
        return self.record.summary

    @property
    def known_findings(self) -> tuple[KnownFinding, ...]:
        shown = {file.path for file in self.files}
        return tuple(
            KnownFinding(entry.path, entry.line, entry.title)
            for entry in self.record.ledger
            if entry.state == "open" and entry.path in shown and not entry.is_quote_changed
            if entry.line is not None or entry.path not in self.unread  # else it may be at another place now
        )

    @property
    def guidance(self) -> tuple[GuidanceFile, ...]:
        return self.context.guidance

    @property
    def linked_issues(self) -> tuple[LinkedIssue, ...]:
        return self.context.linked_issues

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return ()  # only the prompt of the verification has some

    @property
    def repository_labels(self) -> tuple[RepositoryLabel, ...]:
        return self.offer.labels if self.offer is not None else ()

    @property
    def coverage(self) -> Coverage:
        return cover(self.selection, self.unanswered, unlisted=self.unlisted, earlier=self.earlier)

    @property
    def earlier(self) -> Mapping[str, Sequence[str]]:
        """Return `ReviewRecord.reviewed` for a review that reads everything again; else nothing."""
        return self.record.reviewed if self.is_full else {}
