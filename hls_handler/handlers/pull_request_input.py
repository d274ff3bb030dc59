"""Reads the facts about a pull request: its changes, what is known of earlier reviews, and what a
review shows besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import TypeAdapter

from hls_handler.analysis import FileSummary, Severity
from hls_handler.events import PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import NO_CONTEXT, ChangedFile, MergeState, ReviewContext
from hls_handler.handlers.changed_files import (
    MAX_CALLS,
    Selection,
    may_have_calls,
    select_files,
    show_again,
)
from hls_handler.handlers.check import find_title_problem
from hls_handler.handlers.committed_credentials import (
    CommittedCredential,
    find_credentials,
    follow_credentials,
)
from hls_handler.handlers.handler import check_conversation, parse_comment_state, read_offer
from hls_handler.handlers.job import FactSource
from hls_handler.handlers.linguist import parse_attributes
from hls_handler.handlers.present_lines import FoundLines, find_present_lines
from hls_handler.handlers.pull_request_facts import (
    EXCERPT_TOKENS,
    QUESTION_TOKENS,
    PullRequestFacts,
    Size,
    find_least_failing,
    list_to_ask,
)
from hls_handler.handlers.reader import OptionalRead
from hls_handler.handlers.redacted_patches import number_patches, redact_patch
from hls_handler.handlers.removed_lines import (
    AGAIN_TOKENS,
    NO_REMOVALS,
    Removals,
    choose_again,
    count_tokens,
    limit_removals,
    read_removals,
)
from hls_handler.handlers.review_input import (
    Discussion,
    find_present,
    read_changed_files,
    read_context,
    read_discussion,
    read_merge_state,
    read_reviewers,
    read_unshown,
)
from hls_handler.handlers.shown_context import count_context_tokens
from hls_handler.handlers.skipped_files import SkipRules, count_lines
from hls_handler.handlers.surroundings import MAX_SURROUNDINGS, read_surroundings
from hls_handler.review.ledger import Dismissers, apply_threads, follow, is_failing
from hls_handler.review.patches import Patch
from hls_handler.review.present_files import PresentFiles
from hls_handler.review.record import NO_REVIEW, LedgerEntry, ReviewRecord
from hls_handler.review.reviewers import Reviewer

FAMILY = "pull_requests"

SUMMARIES = TypeAdapter(tuple[FileSummary, ...])
"""The state of the comment: the sentences about changed files (`comments.files`)."""


def gather(source: FactSource) -> PullRequestFacts:
    """Read the pull request, its changes and what is known of earlier reviews."""
    limits = source.limits
    reader = source.reader
    changes = _read_changes(source)
    pull_request = changes.pull_request
    earlier = _follow_earlier(source, changes)
    selected = _select(source, changes, earlier)
    merge: OptionalRead[MergeState | None] = OptionalRead(None)
    if changes.is_review and limits.review.merge_state:
        merge = read_merge_state(pull_request, reader, changes.discussion.threads)
    questions = _read_questions(reader, changes, earlier, selected.selection)
    reviewers = _find_reviewers(source, changes, questions.selection)
    summaries = _read_summaries(source, pull_request)
    facts = _combine(source, changes, earlier, questions)
    return replace(
        facts,
        context=replace(selected.context, attributes=""),
        context_problem=selected.problem,
        context_tokens=selected.context_tokens,
        offer=read_offer(reader, limits),
        merge=merge.value,
        merge_problem=merge.problem,
        file_summaries=summaries,
        reviewers=reviewers,
    )


def _combine(
    source: FactSource, changes: _Changes, earlier: _Earlier, questions: _Questions
) -> PullRequestFacts:
    """Return the facts without what is read besides."""
    limits = source.limits
    selection = questions.selection
    title_types = limits.title_types
    if find_title_problem(changes.pull_request.title, title_types) is None:
        title_types = ()
    return PullRequestFacts(
        changes.pull_request,
        selection,
        unlisted=changes.unlisted,
        size=_to_size(count_lines(changes.changed_files, selection.skipped)),
        left_out_by=limits.ignored_paths.where,
        shown=limits.shown,
        review=limits.review,
        summary=limits.summary,
        shows_cost=limits.shows_cost,
        record=earlier.record,
        credentials=changes.credentials,
        skipped=_list_skipped(changes, selection),
        is_review=changes.is_review,
        is_full=source.event.is_full_review_requested,
        own_replies=changes.discussion.own_replies,
        lost_threads=changes.discussion.lost,
        writers=changes.discussion.writers,
        resolved_in_vain=earlier.resolved_in_vain,
        unread=frozenset(changes.files.unread),
        questions=plan_questions(selection, questions.entries),
        present_lines=questions.present.lines,
        removals=limit_removals(earlier.removals),
        unread_findings=questions.present.unread,
        title_types=title_types,
        requests_reviewers=not earlier.record.rounds and limits.reviewers == "request",
        look_tokens=min(EXCERPT_TOKENS, limits.input_tokens),
    )


@dataclass(frozen=True, slots=True)
class _Changes:
    """The changed files of a pull request, and what is stored and said about them."""

    pull_request: PullRequest
    is_review: bool
    changed_files: Sequence[ChangedFile]
    unlisted: int  # number of changed files that GitHub does not list
    patches: Mapping[str, Patch]  # redacted
    credentials: tuple[CommittedCredential, ...]
    rules: SkipRules
    record: ReviewRecord  # as it is stored
    discussion: Discussion
    files: PresentFiles

    @property
    def max_calls(self) -> int:
        if self.is_review:
            return MAX_CALLS
        return 1


def _read_changes(source: FactSource) -> _Changes:
    event = source.event
    reader = source.reader
    limits = source.limits
    # parse_event rejects a `pull_request` event without one
    assert event.pull_request is not None
    pull_request = event.pull_request
    if not event.is_recent:
        pull_request = reader.pull_request(pull_request.number)
    check_conversation(event, pull_request)
    changed_files = read_changed_files(event, pull_request, reader)
    head = reader.files_at(pull_request.head_sha)
    texts = number_patches({file.path: file.patch for file in changed_files if file.patch}, head)
    is_review = limits.is_review and not event.is_closing
    record = NO_REVIEW
    discussion = Discussion()
    if is_review:
        record = source.history.review(pull_request.number)
        discussion = read_discussion(pull_request, reader, record)
    rules = SkipRules(limits.ignored_paths)
    if is_review:
        base = pull_request.base_sha
        if not limits.is_past:
            base = f"refs/heads/{pull_request.base_ref}"
        rules = replace(
            rules, unshown=read_unshown(changed_files, pull_request, base, reader, rules)
        )
    patches = {path: redact_patch(text) for path, text in texts.items()}
    unlisted = max(pull_request.changed_files - len(changed_files), 0)
    return _Changes(
        pull_request,
        is_review,
        changed_files,
        unlisted,
        patches,
        credentials=find_credentials(texts, limits.ignored_paths),
        rules=rules,
        record=record,
        discussion=discussion,
        files=find_present(changed_files, patches, unlisted, record, rules.unshown),
    )


@dataclass(frozen=True, slots=True)
class _Earlier:
    """Findings of earlier reviews, after the changes and the decisions of people."""

    record: ReviewRecord
    resolved_in_vain: frozenset[str]
    entries: Sequence[LedgerEntry]  # the findings to ask about
    is_requested: bool  # True: a person asks for a review
    urgent: frozenset[str]  # keys of the undecided findings about which Claude is asked now
    removals: Removals = NO_REMOVALS

    @property
    def needs_call(self) -> bool:
        """True if Claude is asked also if nothing is new.

        That is so if lines were removed, a person asks for it, the proof of a fix left the patch,
        or a finding is undecided and urgent: a person has just resolved its thread, or it fails the
        check of a commit for which Claude was not asked.
        """
        if self.removals != NO_REMOVALS or (self.entries and self.is_requested):
            return True
        return any(map(self.needs_verdict, self.entries))

    def needs_verdict(self, entry: LedgerEntry) -> bool:
        if entry.has_lost_proof and not entry.is_absent:
            return True
        return entry.key in self.urgent and (entry.has_vanished or entry.is_undecided)


def _follow_earlier(source: FactSource, changes: _Changes) -> _Earlier:
    event = source.event
    commit = changes.pull_request.head_sha
    record = changes.record
    files = changes.files
    discussion = changes.discussion
    ledger = follow_credentials(follow(record, files), changes.credentials, files)
    fail_on = find_least_failing(source.limits.review)
    people = Dismissers(discussion.writers, changes.pull_request.user.login, fail_on)
    ledger = apply_threads(ledger, discussion.threads, people)
    in_vain = discussion.find_resolved_in_vain(ledger)
    is_requested = event.requested_review in ("new", "full")
    to_ask = list_to_ask(ledger, fail_on=fail_on, asks_all=is_requested)
    urgent: frozenset[str] = frozenset()
    if event.requested_review == "conclude":
        urgent = in_vain
    if event.requested_review is None and record.asked_for != commit:
        urgent = find_failing(to_ask, fail_on)
    removals = NO_REMOVALS
    if changes.is_review:
        head = source.reader.files_at(commit)
        removals = read_removals(record, files, head, commit, changes.rules)
    followed = replace(record, ledger=ledger)
    return _Earlier(followed, in_vain, to_ask, is_requested, urgent, removals)


@dataclass(frozen=True, slots=True)
class _Selected:
    """The selection with the lines around its hunks, what a review shows besides, and what could
    not be read.
    """

    selection: Selection
    context: ReviewContext = NO_CONTEXT
    context_tokens: int = 0  # of each call, at most
    problem: str = ""


def _select(source: FactSource, changes: _Changes, earlier: _Earlier) -> _Selected:
    """Select the changes to review.

    They are selected again if the context leaves fewer tokens, or if `.gitattributes` excludes
    files.
    """
    limits = source.limits
    question_tokens = QUESTION_TOKENS * len(earlier.entries)
    question_tokens += sum(map(count_tokens, limit_removals(earlier.removals).hunks))
    if changes.record.rounds:
        question_tokens += AGAIN_TOKENS
    tokens = max(limits.input_tokens - question_tokens, limits.input_tokens // 2)
    read_blocks = changes.record.read_blocks
    if source.event.is_full_review_requested:
        read_blocks = {}
    select = partial(
        select_files,
        changes.changed_files,
        changes.patches,
        new=changes.files.find_new(read_blocks),
        max_calls=changes.max_calls,
    )
    selection = select(changes.rules, tokens=tokens)
    if not (changes.is_review and may_have_calls(selection)):
        return _Selected(selection)
    read = read_context(changes.pull_request, changes.changed_files, source.reader, limits)
    context = read.value
    rules = changes.rules
    attributes = None
    if not read.problem:
        attributes = parse_attributes(context.attributes)
    if attributes is None or attributes.rules:
        rules = replace(rules, attributes=attributes)
        selection = select(rules, tokens=tokens)
    paths = [file.path for file in selection.files if selection.new[file.path]]
    context_tokens = count_context_tokens(context, paths, limits.input_tokens // 2)
    if context_tokens:
        tokens -= context_tokens
        selection = select(rules, tokens=tokens)
    files = source.reader.files_at(changes.pull_request.head_sha)
    most = min(MAX_SURROUNDINGS, limits.review.context_tokens, limits.input_tokens // 5)
    selection = read_surroundings(
        selection,
        files,
        limits.ignored_paths,
        tokens=tokens,
        most=most,
        searches=limits.searches,
    )
    return _Selected(selection, context, context_tokens, read.problem)


@dataclass(frozen=True, slots=True)
class _Questions:
    """The findings to ask about, with their present lines, and the selection with their call."""

    selection: Selection
    entries: Sequence[LedgerEntry]
    present: FoundLines


def _read_questions(
    reader: GithubReader, changes: _Changes, earlier: _Earlier, selection: Selection
) -> _Questions:
    if not selection.calls and earlier.needs_call:
        # a call without files, only about earlier findings
        selection = replace(selection, calls=((),))
    if not selection.calls:
        return _Questions(selection, earlier.entries, FoundLines())
    if changes.is_review:
        again = choose_again(changes.files, selection.new, earlier.removals, earlier.entries)
        selection = show_again(selection, again)
    head = reader.files_at(changes.pull_request.head_sha)
    present = find_present_lines(
        earlier.entries, earlier.record, changes.files, changes.changed_files, head
    )
    entries = [entry for entry in earlier.entries if entry.number in present.lines]
    shows_files = any(selection.calls)
    if not (shows_files or entries) and earlier.removals == NO_REMOVALS:
        selection = replace(selection, calls=())
    return _Questions(selection, entries, present)


def _find_reviewers(
    source: FactSource, changes: _Changes, selection: Selection
) -> tuple[Reviewer, ...]:
    """Return the reviewers to suggest: those of the first review."""
    if not source.limits.reviewers:
        return ()
    if changes.record.rounds or not selection.calls:
        return changes.record.reviewers
    return read_reviewers(changes.pull_request, selection.files, source.reader)


def _read_summaries(
    source: FactSource, pull_request: PullRequest
) -> tuple[FileSummary, ...] | None:
    """Return the sentences about files in our comment; None if they are not asked for."""
    if not source.limits.sums_up_files:
        return None
    posted = source.history.comment_state(pull_request.number, FAMILY)
    return parse_comment_state(SUMMARIES, posted)


def _to_size(lines: int) -> Size:
    if lines < 50:
        return "small"
    if lines < 200:
        return "medium"
    return "large"


def _list_skipped(changes: _Changes, selection: Selection) -> dict[str, tuple[str, int]]:
    """Return `ReviewRecord.skipped`, without files that add no text: that does not show that their
    code was there.
    """
    skipped = {
        skipped_file.path
        for skipped_file in selection.skipped
        if skipped_file.reason != "changed in blank lines only"
    }
    skipped_files: dict[str, tuple[str, int]] = {}
    for file in changes.changed_files:
        adds_text = file.status != "renamed" or file.additions or file.deletions
        if adds_text and file.path in skipped:
            skipped_files[file.path] = (file.sha or "", changes.files.skipped[file.path])
    return skipped_files


def find_failing(entries: Iterable[LedgerEntry], fail_on: Severity | None) -> frozenset[str]:
    """Return the keys of findings that fail the check, without those that are decided without
    Claude.
    """
    remaining = (entry for entry in entries if entry.is_undecided or not entry.is_absent)
    return frozenset(entry.key for entry in remaining if is_failing(entry.severity, fail_on))


def plan_questions(selection: Selection, entries: Sequence[LedgerEntry]) -> Mapping[int, int]:
    """Return the call of each question: the first one that shows the finding's file, else the first
    one of all.
    """
    if not selection.calls:
        return {}
    calls: dict[str, int] = {}
    for number, call in enumerate(selection.calls):
        for part in call:
            calls.setdefault(selection.files[part.file].base_path, number)
    return {entry.number: calls.get(entry.file, 0) for entry in entries}
