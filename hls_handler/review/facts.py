"""The facts about a pull request: what the prompts, the comment and the check of a review are made
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Literal

from hls_handler.analysis import (
    AT_LIMIT,
    FileSummary,
    Finding,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    Severity,
    estimate_tokens,
    find_review,
)
from hls_handler.events import PullRequest
from hls_handler.git.host import SWITCHED_OFF
from hls_handler.github.values import (
    NO_CONTEXT,
    GuidanceFile,
    LabelOffer,
    LinkedIssue,
    MergeState,
    ReviewContext,
    ReviewThread,
)
from hls_handler.review.blocks import Block
from hls_handler.review.changed_files import PatchedFile, Selection, add_places, show_files
from hls_handler.review.code_lines import Budget, CodeLines
from hls_handler.review.coverage import Coverage, cover
from hls_handler.review.guidance import GuidancePart, find_problems, select_parts
from hls_handler.review.ledger import Dismissers, add, is_failing, restore, sort_entries
from hls_handler.review.patches import Patch, text_of
from hls_handler.review.positions import RANK, Located, letters_of, locate
from hls_handler.review.present_lines import PresentFiles
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord
from hls_handler.review.redacted_patches import CommittedCredential, find_committed
from hls_handler.review.removed_lines import NO_REMOVALS, Removals
from hls_handler.review.suggested_reviewers import Reviewer
from hls_handler.review.verdicts import Claim, ReviewedChanges, decide_verdicts
from hls_handler.settings.repository import FileProblems
from hls_handler.settings.sections import FindingSettings, ReviewSettings
from hls_handler.settings.values import Summary
from hls_handler.wording import inflect

Size = Literal["small", "medium", "large"]

EXCERPT_TOKENS = 20_000  # of the code that a second look shows
MOST_UNSEEN = 0.65
"""Greatest confidence of a finding that hangs on a fact that was not shown."""
QUESTION_TOKENS = 400  # of each earlier finding in the prompt
MAX_QUESTIONS = 30  # earlier findings about which one review asks

Raised = tuple[LedgerEntry, Located]
"""A finding with its place in the patch."""


NO_LIMIT = 1_000_000  # tokens, more than any context has


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[Raised, ...]  # new findings, most severe first
    inline: tuple[Raised, ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]  # about files that no call showed; they do not count
    held_back: int  # findings that the settings leave out
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    claims: tuple[Claim, ...]  # about earlier findings, that the second look must agree with
    unproved: tuple[Raised, ...]  # as `Verdicts.unproved`

    @property
    def open(self) -> Sequence[LedgerEntry]:
        """The open entries of `ledger`, most severe first."""
        return sort_entries(entry for entry in self.ledger if entry.state == "open")

    def count(self, state: FindingState) -> int:
        """Count the earlier findings in a state."""
        return sum(entry.state == state for entry in self.ledger)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The code that the repository has of the names on which findings hang."""

    second_sites: tuple[CodeLines, ...] = ()
    not_found: tuple[str, ...] = ()  # names


@dataclass(frozen=True)
class PullRequestFacts:
    pull_request: PullRequest  # current state; its head is the analysed commit
    selection: Selection
    unlisted: int  # changed files beyond the 3,000 that GitHub lists
    size: Size
    left_out_by: str  # the line of settings that leaves files out; "" if none does
    shown: FindingSettings  # thresholds for the findings
    review: ReviewSettings  # settings
    summary: Summary  # whether a comment is posted without findings
    record: ReviewRecord  # before this review; its findings with their present place
    credentials: tuple[CommittedCredential, ...]
    skipped: Mapping[str, tuple[str, int]]  # as `ReviewRecord.skipped`, after this review
    is_review: bool  # False for prompts that review nothing, such as that of a changelog entry
    is_full: bool  # True if a person asked for a review of everything
    shows_cost: bool = False  # whether the check shows prices
    context: ReviewContext = NO_CONTEXT  # without the attributes, which `selection` has considered
    context_tokens: int = NO_LIMIT  # of the context in each call, at most
    context_problem: str = ""  # why the context could not be read
    own_replies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of our replies in the threads of findings, by the key of the finding."""
    lost_threads: tuple[ReviewThread, ...] = ()  # of findings that the database does not have
    writers: frozenset[str] = frozenset()  # of the people who dismissed a finding
    # as `Discussion.find_resolved_in_vain` returns them
    resolved_in_vain: frozenset[str] = frozenset()
    unread: frozenset[str] = frozenset()  # paths of files whose patch is not known completely
    # numbers of the findings to ask about, with their call
    questions: Mapping[int, int] = field(default_factory=dict)
    present_lines: Mapping[int, CodeLines] = field(default_factory=dict)  # of these findings
    removals: Removals = NO_REMOVALS
    # findings whose present lines were not read, and why
    unread_findings: Mapping[int, str] = field(default_factory=dict)
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered
    # of earlier reviews; None: they are not asked for
    file_summaries: tuple[FileSummary, ...] | None = None
    merge: MergeState | None = None  # None: it was not read
    merge_problem: str = ""  # why it could not be read
    # of the title that Claude is asked for; (): it is asked for none
    title_types: tuple[str, ...] = ()
    # of the code that a second look shows, and of the findings, in all
    look_tokens: int = EXCERPT_TOKENS
    reviewers: tuple[Reviewer, ...] = ()  # suggested now or at the first review
    requests_reviewers: bool = False  # whether reviews are requested from them now
    call: int | None = None  # number of the call that these facts are shown in; None: all calls
    # calls without a reply, with the reason of each
    unanswered: Mapping[int, str] = field(default_factory=dict)
    # calls of whose reply findings were left out, and why
    lost: Mapping[int, str] = field(default_factory=dict)
    # why the findings were not verified, for people on GitHub; "" if they were
    unverified: str = ""
    looked_up: LookedUp = LookedUp()  # for the second look
    # keys of new findings for which the second look found no facts
    dropped: frozenset[str] = frozenset()
    unseen: Mapping[str, str] = field(default_factory=dict)
    """The facts that were not shown, by the keys of the new findings that hang on them."""
    # keys of earlier findings about which it agreed with the claim
    agreed: frozenset[str] = frozenset()
    not_inline: frozenset[str] = frozenset()  # keys of findings whose place GitHub rejected
    # of the review comments of new findings, by key
    comment_ids: Mapping[str, int] = field(default_factory=dict)
    reply: PullRequestAnalysis | None = None  # to the review; None: Claude has not been asked

    @cached_property
    def present(self) -> PresentFiles:
        """The files that the review reads."""
        renamed = {
            file.path: file.base_path
            for file in self.selection.files
            if file.base_path != file.path
        }
        return PresentFiles(
            self.selection.patches, renamed, self.unread, is_complete=not self.unlisted
        )

    def with_reply(self, reply: ReplyFields | None) -> PullRequestFacts:
        """Return the facts with a reply; itself if it has this reply, so that its findings are not
        computed again.
        """
        if not isinstance(reply, PullRequestAnalysis):
            reply = None
        if reply is self.reply:
            return self
        return replace(self, reply=reply)

    def with_replies(self, replies: Sequence[Reply]) -> PullRequestFacts:
        """Return the facts with the review among the replies, as `with_reply`."""
        review = find_review(replies)
        if review is None:
            return self.with_reply(None)
        return self.with_reply(review.fields)

    @cached_property
    def findings(self) -> ReviewFindings:
        """The new findings of `reply`, and the present state of earlier ones."""
        changes = self._changes
        reply = self.reply
        if reply is None:
            verdicts = decide_verdicts(changes, (), ())
        else:
            patches = {hunk.path: Patch(()) for hunk in self.removals.hunks}
            patches |= self.selection.shown_patches
            located = [locate(candidate, patches) for candidate in reply.findings]
            verdicts = decide_verdicts(changes, reply.earlier, located)
        reportable = [
            candidate for candidate in verdicts.others if self._is_wanted(candidate.finding)
        ]
        timely = [
            candidate
            for candidate in reportable
            if changes.is_timely(candidate) and candidate.is_shown
        ]
        found = self._raise(timely, verdicts.ledger)
        people = Dismissers(self.writers, self.pull_request.user.login, self.fail_on)
        lost = {thread.key: thread for thread in self.lost_threads}
        restored = tuple(
            restore(entry, lost[entry.key], people) for entry, _ in found if entry.key in lost
        )
        raised = tuple(pair for pair in found if pair[0].key not in lost)
        return ReviewFindings(
            raised,
            inline=self._choose_inline(raised),
            unlocated=tuple(
                candidate.finding for candidate in reportable if not candidate.is_shown
            ),
            held_back=len(verdicts.others) - len(reportable),
            ledger=(*verdicts.ledger, *restored),
            claims=verdicts.claims,
            unproved=verdicts.unproved,
        )

    @property
    def _changes(self) -> ReviewedChanges:
        states = {number: lines.kind for number, lines in self.present_lines.items()}
        unchanged = (number for number, state in states.items() if state != "present")
        return ReviewedChanges(
            self.record,
            self.present,
            self.selection.new,
            self.pull_request.head_sha,
            fail_on=self.fail_on,
            asked=self.asked,
            has_new=self.selection.has_new,
            agreed=self.agreed,
            unchanged=frozenset(unchanged),
            removed_from=frozenset(hunk.path for hunk in self.removals.hunks),
        )

    def _is_wanted(self, finding: Finding) -> bool:
        """Return True if settings want findings of this kind."""
        is_severe = RANK[finding.severity] <= RANK[self.shown.min_severity]
        is_sure = finding.confidence >= self.shown.min_confidence
        return is_severe and is_sure and finding.category in self.review.categories

    def _raise(
        self, timely: Iterable[Located], ledger: tuple[LedgerEntry, ...]
    ) -> tuple[Raised, ...]:
        """Return the new findings, less certain if they hang on a fact that was not shown."""
        new = [*timely]
        if self.is_review:
            new[:0] = find_committed(ledger, self.credentials, self.present)
        raised: list[Raised] = []
        for entry, located in zip(add(self.record, new, self.present), new, strict=True):
            unseen = self.unseen.get(entry.key, "")
            if unseen:
                confidence = min(entry.confidence, MOST_UNSEEN)
                entry = replace(entry, confidence=confidence, unseen=unseen)
                finding = located.finding.model_copy(update={"confidence": confidence})
                located = replace(located, finding=finding)
            if entry.key not in self.dropped:
                raised.append((entry, located))
        return tuple(raised)

    def _choose_inline(self, raised: tuple[Raised, ...]) -> tuple[Raised, ...]:
        """Return the findings that get a review comment."""
        if not self.is_review:
            return ()
        proved = [
            (entry, located)
            for entry, located in raised
            if located.line is not None and self._shows("\n".join(located.finding.rests_on))
        ]
        inline_candidates = proved[: self.review.max_inline]
        return tuple(pair for pair in inline_candidates if pair[0].key not in self.not_inline)

    def _shows(self, quotes: str) -> bool:
        """Return whether the calls showed all lines of a text. Letters count, because quotes are
        often inexact.
        """
        return all(letters_of(text_of(line)) in self._shown_letters for line in quotes.split("\n"))

    @cached_property
    def _shown_letters(self) -> str:
        texts = [
            *(file.numbered for file in self.files),
            *(site.text for site in self.second_sites),
            *(hunk.text for hunk in self.removals.hunks),
            *(file.text for context in self.contexts for file in context.guidance),
            *(issue.body for context in self.contexts for issue in context.linked_issues),
        ]
        lines = "\n".join(texts).split("\n")
        return "\n".join(letters_of(text_of(line)) for line in lines)

    @property
    def without_inline(self) -> PullRequestFacts:
        """The facts for actions without a reply of Claude, which post no review comments."""
        return replace(self, review=self.review.model_copy(update={"max_inline": 0}))

    @property
    def check_commit(self) -> str | None:
        """The commit that gets a check; None if the settings or the prompt want none."""
        if self.review.check and self.is_review:
            return self.pull_request.head_sha
        return None

    @property
    def fail_on(self) -> Severity | None:
        """The least severity of a finding that fails the check; None if none does."""
        return find_least_failing(self.review)

    @property
    def _calls(self) -> slice:
        """The calls that these facts are shown in."""
        if self.call is None:
            return slice(None)
        return slice(self.call, self.call + 1)

    @property
    def files(self) -> tuple[PatchedFile, ...]:
        calls = self.selection.calls[self._calls]
        files = show_files(self.selection, chain.from_iterable(calls))
        return add_places(files, self.second_sites)

    @cached_property
    def shown_context(self) -> ShownContext:
        """The context that the call shows; with all calls, that of one with all files."""
        parts = chain.from_iterable(self.selection.calls[self._calls])
        paths = {self.selection.files[part.file].path for part in parts}
        return select_context(self.context, paths, self.context_tokens)

    @cached_property
    def contexts(self) -> Sequence[ShownContext]:
        """The part of the context that each call shows."""
        return [call.shown_context for call in _list_calls(self)]

    @property
    def guidance_names(self) -> tuple[str, ...]:
        """The guidance of the calls with a reply: ".github/hls.md (api/**)", "api/AGENTS.md"."""
        names = [
            part.name
            for call, context in enumerate(self.contexts)
            if call not in self.unanswered
            for part in context.parts
        ]
        return tuple(dict.fromkeys(names))

    @property
    def guidance_problems(self) -> FileProblems | None:
        """The wrong globs in headings of the guidance; None if there are none."""
        return find_problems(self.context.guidance)

    @property
    def second_sites(self) -> tuple[CodeLines, ...]:
        """The other places that the call shows, or all calls."""
        sites_by_call = self.selection.second_sites[self._calls]
        return tuple(dict.fromkeys(chain.from_iterable(sites_by_call)))

    @property
    def round(self) -> int:
        return self.record.rounds + 1

    @property
    def is_partial(self) -> bool:
        """True if the review did not ask Claude about all changes: only about new lines, or not
        about all parts.
        """
        is_later = self.record.rounds > 0 and not self.is_full
        return is_later or bool(self.unanswered)

    @property
    def asked(self) -> frozenset[int]:
        """The numbers of the findings that a call with a reply asked about."""
        return frozenset(
            number for number, call in self.questions.items() if call not in self.unanswered
        )

    def describe_unread_findings(self) -> str:
        """Return "finding 3, whose present lines could not be read: ..."; "" if all were asked
        about.
        """
        numbers = sorted(self.unread_findings)
        if not numbers:
            return ""
        named = ", ".join(map(str, numbers))
        noun = inflect(len(numbers), "finding")
        reason = self.unread_findings[numbers[0]]
        return f"{noun} {named}, whose present lines could not be read: {reason}"

    @property
    def coverage(self) -> Coverage:
        return cover(
            self.selection, self.incomplete, unlisted=self.unlisted, known_blocks=self.known_blocks
        )

    @property
    def unsearched(self) -> str:
        """Why other places of the repository were not read; "" if they were, or the operator
        switched the mirror off.
        """
        reason = self.selection.unsearched
        return "" if reason == SWITCHED_OFF else reason

    @property
    def is_at_limit(self) -> bool:
        """True if the limit on the cost of the pull request ended the review."""
        return self.is_review and AT_LIMIT in (*self.unanswered.values(), self.unverified)

    @property
    def has_replies(self) -> bool:
        """True if Claude replied about all or some calls."""
        return len(self.unanswered) < len(list_parts(self))

    @property
    def incomplete(self) -> Mapping[int, str]:
        """The calls without a complete reply, with the reason: no reply, or some of its findings
        were left out.
        """
        return {**self.lost, **self.unanswered}

    @property
    def known_blocks(self) -> Mapping[str, Sequence[Block]]:
        """The reviewed blocks, for a review that reads everything again; else nothing."""
        if not self.is_full:
            return {}
        return self.record.blocks


def find_least_failing(review: ReviewSettings) -> Severity | None:
    """Return the least severity of a finding that fails the check; None if none does."""
    if not review.check:
        return None
    return review.fail_on


def list_parts(facts: PullRequestFacts) -> tuple[PullRequestFacts, ...]:
    """Return the facts for each call of the first prompt."""
    return _list_calls(facts) or (facts,)


def _list_calls(facts: PullRequestFacts) -> tuple[PullRequestFacts, ...]:
    number = len(facts.selection.calls)
    return tuple(replace(facts, call=call) for call in range(number))


def list_to_ask(
    ledger: Iterable[LedgerEntry], *, fail_on: Severity | None, asks_all: bool
) -> list[LedgerEntry]:
    """Return the findings to ask about: undecided ones, then open ones that decide about the check,
    or all open ones.
    """
    entries = [entry for entry in sort_entries(ledger) if not entry.form and not entry.is_closed]
    undecided = [
        entry
        for entry in entries
        if entry.has_vanished or entry.is_undecided or entry.has_lost_proof
    ]
    undecided.sort(key=lambda entry: not entry.was_left_out)
    still_open = [entry for entry in entries if entry.counts and entry not in undecided]
    deciding = [entry for entry in still_open if asks_all or is_failing(entry.severity, fail_on)]
    return (undecided + deciding)[:MAX_QUESTIONS]


TOKENS_PER_TEXT = 100  # tokens of a text in addition to itself: name and delimiters
MAX_GUIDANCE_CHARS = 6_000
MAX_LINKED_ISSUE_CHARS = 3_000
"""Characters of one file of guidance and of the body of one linked issue that
`pull_requests/analyze` shows.
"""


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text of the repository, as far as a prompt shows it."""

    name: str  # ".github/hls.md (api/**)", "api/AGENTS.md", "issue #7"
    text: str


@dataclass(frozen=True, slots=True)
class ShownContext:
    """The part of a `ReviewContext` that one call shows."""

    guidance: tuple[GuidanceFile, ...] = ()
    linked_issues: tuple[LinkedIssue, ...] = ()
    parts: tuple[ShownText, ...] = ()  # of `guidance`
    tokens: int = 0

    @property
    def issues(self) -> Sequence[ShownText]:
        return list(map(_show_issue, self.linked_issues))


def select_context(context: ReviewContext, paths: Iterable[str], tokens: int) -> ShownContext:
    """Return what applies to a call's files, without the files of guidance and issues that exceed
    `tokens`.
    """
    budget = Budget(tokens)
    files: dict[str, list[GuidancePart]] = {}
    for part in select_parts(context.guidance, paths):
        files.setdefault(part.path, []).append(part)
    guidance = [
        GuidanceFile(path, "\n\n".join(part.text for part in parts))
        for path, parts in files.items()
    ]
    guidance = budget.take(guidance, lambda file: _count_tokens(file.text[:MAX_GUIDANCE_CHARS]))
    issues = budget.take(
        context.linked_issues, lambda issue: _count_tokens(_show_issue(issue).text)
    )
    parts = [part for file in guidance for part in _show_parts(files[file.path])]
    return ShownContext(tuple(guidance), tuple(issues), tuple(parts), tokens - budget.tokens)


def _count_tokens(text: str) -> int:
    return TOKENS_PER_TEXT + estimate_tokens(text)


def count_context_tokens(context: ReviewContext, paths: Sequence[str], max_tokens: int) -> int:
    """Return the tokens to leave for the context in each call about some of the files `paths`."""
    selected = select_context(context, paths, max_tokens)
    if selected == select_context(context, (), max_tokens):  # all calls show the same
        return selected.tokens
    return min(select_context(context, paths, NO_LIMIT).tokens, max_tokens)


def _show_parts(parts: Iterable[GuidancePart]) -> list[ShownText]:
    """Return the parts of a file that begin within its first `MAX_GUIDANCE_CHARS`."""
    texts: list[ShownText] = []
    free_characters = MAX_GUIDANCE_CHARS
    for part in parts:
        if free_characters > 0:
            texts.append(ShownText(part.name, part.text[:free_characters]))
        free_characters -= len(part.text) + len("\n\n")
    return texts


def _show_issue(issue: LinkedIssue) -> ShownText:
    return ShownText(f"issue #{issue.number}", issue.title + issue.body[:MAX_LINKED_ISSUE_CHARS])
