"""Handler for pull requests: selects the changes to review, and plans labels, one review and one
comment.

The first review reads all changes. A later review reads only lines that changed since, compared
patch against patch, and raises findings only on them, because a review must come to an end. Claude
is asked what became of an earlier finding if its lines changed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from hls_handler.actions import (
    Action,
    EnsureCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReview,
    InlineComment,
    RequestedLabel,
    RequestReviewers,
)
from hls_handler.analysis import (
    NO_CALLS,
    Analysis,
    FileSummary,
    FindingVerdicts,
    PullRequestAnalysis,
    Receipt,
    Reply,
    ReplyFields,
    Severity,
    estimate_tokens,
    find_review,
    lowest_scores,
)
from hls_handler.deliveries import FIRST_PART, VERIFICATION, End
from hls_handler.errors import BudgetExceeded, Permanent, Retryable, Superseded
from hls_handler.events import Account, Event, PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.github.source import OptionalRead, read_optional
from hls_handler.github.values import (
    NO_CONTEXT,
    Blob,
    ChangedFile,
    MergeState,
    ReviewContext,
    ReviewThread,
)
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    check_conversation,
    find_conversation,
    parse_comment_state,
    plan_comment,
    read_offer,
)
from hls_handler.handlers.job import (
    VERIFY_PROMPT,
    FactSource,
    Guard,
    Job,
    PromptLimits,
    Replies,
    describe_failure,
    follow_up,
    join_replies,
)
from hls_handler.handlers.labels import describe_missing, plan_labels
from hls_handler.review.blocks import Block, match_blocks
from hls_handler.review.changed_files import (
    MAX_CALLS,
    PatchedFile,
    Selection,
    may_have_calls,
    select_files,
    show_again,
)
from hls_handler.review.code_lines import CodeLines, count_tokens
from hls_handler.review.coverage import count_reasons, find_unread, leave_out
from hls_handler.review.dismissals import find_dismissals, list_objectors
from hls_handler.review.facts import (
    EXCERPT_TOKENS,
    QUESTION_TOKENS,
    LookedUp,
    PullRequestFacts,
    Size,
    count_context_tokens,
    find_least_failing,
    list_parts,
    list_to_ask,
)
from hls_handler.review.guidance import AGENTS_PATH, MAX_FOLDERS, list_folders, list_guidance_paths
from hls_handler.review.ledger import Dismissers, apply_threads, follow, is_failing
from hls_handler.review.patches import Patch
from hls_handler.review.present_lines import FoundLines, PresentFiles, find_present_lines
from hls_handler.review.record import NO_REVIEW, LedgerEntry, ReviewRecord
from hls_handler.review.redacted_patches import (
    CommittedCredential,
    find_credentials,
    follow_credentials,
    number_patches,
    redact_patch,
)
from hls_handler.review.removed_lines import (
    AGAIN_TOKENS,
    NO_REMOVALS,
    Removals,
    choose_again,
    limit_removals,
    read_removals,
)
from hls_handler.review.second_look import apply_second_look, list_names
from hls_handler.review.skipped_files import (
    EMPTY_BLOBS,
    Reason,
    SkipRules,
    count_lines,
    decide_unshown,
    is_shortened,
    looks_like_code,
    parse_attributes,
)
from hls_handler.review.suggested_reviewers import (
    MAX_REVIEWERS,
    OWNERS_PATHS,
    Reviewer,
    choose_reviewers,
    find_owners,
    parse_owners,
)
from hls_handler.review.surroundings import MAX_SURROUNDINGS, look_up, read_surroundings
from hls_handler.review.variables import (
    COMMENT_VARIABLES,
    VARIABLES,
    describe_limit,
    find_suggested_title,
    find_urls,
    list_comment_variables,
    list_inline,
    list_summaries,
    mark_mentioned,
    plan_replies,
    prompt_variables,
    verification_variables,
)
from hls_handler.review.wanted_check import EndedReview, find_title_problem, plan_check
from hls_handler.untrusted.markdown import sanitize_inline
from hls_handler.wording import count, was_or_were

log = logging.getLogger(__name__)

FAMILY = "pull_requests"

SUMMARIES = TypeAdapter(tuple[FileSummary, ...])
"""The state of the comment: the sentences about changed files (`comments.files`)."""

MAX_LISTED_FILES = 3_000  # GitHub lists no more
MAX_COMPARED_FILES = 250  # changed files without a patch that are compared with the base branch
MAX_OWNED_FILES = 30  # changed files whose code owners are looked up
MAX_AUTHORED_FILES = 3  # changed files whose last authors are read, with one request each

MAX_PAST_BLOCKS = 500  # of a file, that were reviewed and are not in its patch any more


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
    files = reader.files_at(pull_request.head_sha)
    texts = number_patches({file.path: file.patch for file in changed_files if file.patch}, files)
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
        commit_files = source.reader.files_at(commit)
        removals = read_removals(record, files, commit_files, commit, changes.rules)
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
    max_tokens = min(MAX_SURROUNDINGS, limits.review.context_tokens, limits.input_tokens // 5)
    selection = read_surroundings(
        selection,
        files,
        limits.ignored_paths,
        tokens=tokens,
        max_tokens=max_tokens,
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
    commit_files = reader.files_at(changes.pull_request.head_sha)
    present = find_present_lines(
        earlier.entries, earlier.record, changes.files, changes.changed_files, commit_files
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


def read_changed_files(
    event: Event, pull_request: PullRequest, reader: GithubReader
) -> tuple[ChangedFile, ...]:
    """Return the changed files of the head commit. Raises `Superseded` if another commit is the
    head by now.

    GitHub lists the files of the present head, and the list may be late. Raises `Retryable` if it
    is of another commit. If the list names no commit, or only the base changed, its sums of lines
    and files must equal the sums of the pull request.
    """
    number = pull_request.number
    commit = pull_request.head_sha
    # GitHub may list a file twice
    files = tuple({file.path: file for file in reader.files(number)}.values())
    commits = {file.commit for file in files if file.status != "removed"}
    is_retargeted = _changes_base(event)
    if commits == {commit} and not is_retargeted:
        return files
    current = reader.pull_request(number)
    if current.head_sha != commit:
        raise Superseded(f"a newer push came meanwhile: {current.head_sha[:10]}")
    others = sorted(other for other in commits if other not in (None, commit))
    if others:
        raise Retryable(
            f"GitHub still lists the changed files of commit {others[0][:10]}, but the head is"
            f" {commit[:10]}"
        )
    if is_retargeted or commit not in commits:
        _check_numbers(files, current)
    return files


def _changes_base(event: Event) -> bool:
    changes = event.payload.get("changes")
    return event.action == "edited" and isinstance(changes, Mapping) and "base" in changes


def _check_numbers(files: Sequence[ChangedFile], pull_request: PullRequest) -> None:
    """Raise `Retryable` if a complete list has other numbers than the pull request."""
    counted = (
        len(files),
        sum(file.additions for file in files),
        sum(file.deletions for file in files),
    )
    expected = pull_request.changed_files, pull_request.additions, pull_request.deletions
    if counted != expected and len(files) < MAX_LISTED_FILES:
        numbers = (
            f"(files, added lines, removed lines) are {counted}, and {expected} in the pull request"
        )
        raise Retryable(f"GitHub's list of the changed files is late: {numbers}")


@dataclass(frozen=True, slots=True)
class Discussion:
    """The review threads of HLS's findings, and who of the people that dismissed one may write to
    the repository.
    """

    threads: tuple[ReviewThread, ...] = ()
    writers: frozenset[str] = frozenset()
    # threads of findings that the database does not have
    lost: tuple[ReviewThread, ...] = ()

    @property
    def own_replies(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of HLS's replies, by the key of the finding."""
        return {thread.key: thread.own_replies for thread in self.threads}

    def find_resolved_in_vain(self, ledger: Iterable[LedgerEntry]) -> frozenset[str]:
        """Return the keys of open findings whose thread a writer resolved, though their block had
        changed.
        """
        resolved = {thread.key for thread in self.threads if thread.resolved_by in self.writers}
        return frozenset(entry.key for entry in ledger if entry.counts and entry.key in resolved)


def read_discussion(
    pull_request: PullRequest, reader: GithubReader, record: ReviewRecord
) -> Discussion:
    """Read the review threads, unless no finding has one. Without a stored review, there are some
    if the database was lost.
    """
    ledger = record.ledger
    threads: Sequence[ReviewThread] = ()
    is_lost = not record.rounds and pull_request.review_comments
    if is_lost or any(entry.comment_id for entry in ledger):
        threads = reader.review_threads(pull_request.number)
    known = {entry.key for entry in ledger}
    lost = tuple(thread for thread in threads if thread.key not in known)
    people: dict[str | None, None] = {}
    for entry in ledger:
        people |= dict.fromkeys(key.partition(" by ")[2] for key in entry.dismissals)
    for thread in threads:
        dismissed_by = find_dismissals(thread).values()
        people |= dict.fromkeys([*dismissed_by, thread.resolved_by])
        if dismissed_by:
            people |= dict.fromkeys(list_objectors(thread))
    writers = [
        login for login in people if login and reader.permission(login) in ("admin", "write")
    ]
    return Discussion(tuple(threads), frozenset(writers), lost)


def read_unshown(
    files: Sequence[ChangedFile],
    pull_request: PullRequest,
    base: str,
    reader: GithubReader,
    rules: SkipRules,
) -> Mapping[str, Reason]:
    """Return why GitHub shows no line of some files, by path. One or two requests if there are
    such. `base` is the revision that they are compared with.
    """
    compared = [file for file in files if rules.is_compared(file)]
    compared.sort(key=lambda file: file.status == "renamed")
    del compared[MAX_COMPARED_FILES:]
    if not compared:
        return {}
    commit = pull_request.head_sha
    earlier: dict[str, str] = {}  # names of blobs, by path
    contents: dict[str, str] = {}
    for file in compared:
        if file.status not in ("added", "copied", "removed"):
            earlier[file.path] = f"{base}:{file.previous_path or file.path}"
        if not looks_like_code(file.path):
            revision = commit
            if file.status == "removed":
                revision = base
            contents[file.path] = f"{revision}:{file.path}"
    nothing: Mapping[str, Blob] = {}
    read = partial(reader.files_at(commit).blobs, [*earlier.values()], [*contents.values()])
    optional = read_optional(read, nothing)
    if optional.problem:
        log.warning("files without a patch were not compared", extra={"reason": optional.problem})
        return {}
    reasons: dict[str, Reason] = {}
    for file in compared:
        on_base = optional.value.get(earlier.get(file.path, ""))
        content = optional.value.get(contents.get(file.path, ""))
        reason = decide_unshown(file, on_base, content)
        if reason is not None:
            reasons[file.path] = reason
    return reasons


def find_present(
    changed_files: Sequence[ChangedFile],
    patches: Mapping[str, Patch],
    unlisted: int,
    record: ReviewRecord,
    unshown: Mapping[str, Reason] = MappingProxyType({}),
) -> PresentFiles:
    """Return the present files. GitHub may have shortened or left out the patches of some of
    them.
    """
    renamed: dict[str, str] = {}
    unread: set[str] = set()
    for file in changed_files:
        if file.previous_path and file.status == "renamed":
            renamed[file.path] = file.previous_path
        if _is_unread(file, unshown.get(file.path)):
            unread |= {file.path, file.previous_path or file.path}
    return PresentFiles(
        patches,
        renamed,
        unread=frozenset(unread),
        is_complete=not unlisted,
        skipped={file.path: record.skipped_since(file.path, file.sha) for file in changed_files},
    )


def _is_unread(file: ChangedFile, unshown: Reason | None) -> bool:
    if file.patch:
        return is_shortened(file)
    if file.status == "removed" or file.sha in EMPTY_BLOBS:
        return False
    if unshown is not None:
        return unshown not in ("mode changed only", "renamed without changes")
    return not (file.status == "renamed" and not file.additions and not file.deletions)


def read_context(
    pull_request: PullRequest,
    changed_files: Iterable[ChangedFile],
    reader: GithubReader,
    limits: PromptLimits,
) -> OptionalRead[ReviewContext]:
    """Return the context, or an empty one and the reason: a review without it is better than
    none.
    """
    guidance: list[str] = []
    if limits.review.guidance:
        guidance = list_guidance_paths(file.path for file in changed_files)
    base = pull_request.base_ref
    if limits.is_past:
        base = pull_request.base_sha
    read = partial(reader.review_context, pull_request.number, base, guidance=guidance)
    context = read_optional(read, NO_CONTEXT)
    if limits.is_past:  # of issues, only the present texts are known
        context = replace(context, value=replace(context.value, linked_issues=()))
    if not context.problem:
        return context
    return replace(
        context, problem=f"guidance, linked issues and .gitattributes: {context.problem}"
    )


def read_merge_state(
    pull_request: PullRequest, reader: GithubReader, threads: Sequence[ReviewThread]
) -> OptionalRead[MergeState | None]:
    """Return what GitHub says, or None and the reason."""
    unknown: MergeState | None = None
    state = read_optional(lambda: reader.merge_state(pull_request.number), unknown)
    if state.value is None:
        return state
    open_threads = sum(not thread.is_resolved for thread in threads)
    return OptionalRead(replace(state.value, open_threads=open_threads))


def read_reviewers(
    pull_request: PullRequest, files: Sequence[PatchedFile], reader: GithubReader
) -> tuple[Reviewer, ...]:
    """Return people who may review the files, and have not been asked: so many that at most three
    are asked.

    Up to six requests; nothing if one fails. Bots and people who have reviewed are left out.
    """
    none: tuple[Reviewer, ...] = ()
    reviewers = read_optional(lambda: _choose_reviewers(pull_request, files, reader), none)
    if reviewers.problem:
        log.warning("reviewers were not suggested", extra={"reason": reviewers.problem})
    return reviewers.value


def _choose_reviewers(
    pull_request: PullRequest, files: Sequence[PatchedFile], reader: GithubReader
) -> tuple[Reviewer, ...]:
    opened = reader.open_pull_requests()
    load: Counter[str] = Counter()
    requested: tuple[Account, ...] = ()
    for current in opened:
        load.update(person.login.lower() for person in current.requested_reviewers)
        if current.number == pull_request.number:
            requested = current.requested_reviewers
    if len(requested) >= MAX_REVIEWERS:
        return ()
    base = pull_request.base_sha or pull_request.base_ref
    by_size = sorted(files, key=lambda file: file.additions + file.deletions, reverse=True)
    texts = reader.files_at(base).texts(OWNERS_PATHS)
    rules = parse_owners(next((texts[path] for path in OWNERS_PATHS if path in texts), ""))
    owners: list[str] = []
    for file in by_size[:MAX_OWNED_FILES]:
        owners += find_owners(rules, file.path)
    reviewed = [review.user for review in reader.reviews(pull_request.number)]
    existing = [file.base_path for file in by_size if file.status not in ("added", "copied")]
    authors: list[str] = []
    for path in existing[:MAX_AUTHORED_FILES]:
        last_authors = reader.last_authors(path, ref=base)
        authors += [person.login for person in last_authors if not person.is_bot]
    return choose_reviewers(
        owners,
        authors,
        load=load,
        excluded={person.login.lower() for person in (pull_request.user, *requested, *reviewed)},
        limit=MAX_REVIEWERS - len(requested),
    )


def describe_context(facts: PullRequestFacts) -> str:
    """Return a text such as "AGENTS.md (about 120 tokens), issue #7 (about 80 tokens)"; ""
    without context.
    """
    sites = facts.second_sites
    around: list[str] = []
    for file_texts in facts.selection.around.values():
        around += file_texts.values()
    texts = [text for context in facts.contexts for text in context.parts]
    texts += [text for context in facts.contexts for text in context.issues]
    by_name = {text.name: text.text for text in texts}
    parts = [_describe_text(name, text) for name, text in by_name.items()]
    if around:
        hunks = count(len(around), "hunk")
        parts.append(_describe_text(f"lines around {hunks}", "\n".join(around)))
    if sites:
        site_texts = "\n".join(site.text for site in sites)
        parts.append(_describe_text(describe_sites(sites), site_texts))
    if facts.context_problem:
        parts.append(f"not {facts.context_problem}")
    parts += (f"not {reason}" for reason in _describe_left_out(facts))
    if facts.selection.unsearched:
        parts.append(f"not other places of the repository: {facts.selection.unsearched}")
    return ", ".join(parts)


def _describe_left_out(facts: PullRequestFacts) -> Iterator[str]:
    """Yield the guidance that is not read because of a wrong glob or too many folders."""
    wrong = facts.guidance_problems
    if wrong is not None:
        yield f"the text under wrong globs: {'; '.join(wrong.problems)}"
    selection = facts.selection
    paths = [
        *(file.path for file in selection.files),
        *(skipped.path for skipped in selection.skipped),
    ]
    folders = len(list_folders(paths)) - MAX_FOLDERS
    if folders > 0 and facts.review.guidance:
        yield f"{AGENTS_PATH} of {count(folders, 'folder')} beyond {MAX_FOLDERS}"


def _describe_text(name: str, text: str) -> str:
    return f"{name} (about {count(estimate_tokens(text), 'token')})"


def describe_sites(sites: Sequence[CodeLines]) -> str:
    """Return a text such as "4 calls, 1 definition and 2 other uses"."""
    numbers = Counter(site.kind for site in sites)
    uses = numbers["use"] + numbers["gone"]
    nouns = {"call": numbers["call"], "definition": numbers["definition"], "other use": uses}
    parts = [count(number, noun) for noun, number in nouns.items() if number]
    if len(parts) > 1:
        first = ", ".join(parts[:-1])
        parts = [first, parts[-1]]
    return " and ".join(parts)


class PullRequestHandler(Handler):
    family = FAMILY
    replies = frozenset({"pull_request_analysis", "generic_analysis", "finding_verdicts"})
    facts_type = PullRequestFacts
    variable_types: Mapping[str, object] = {name: kind for name, (kind, _) in VARIABLES.items()}
    comment_variable_types: Mapping[str, object] = {
        name: kind for name, (kind, _) in COMMENT_VARIABLES.items()
    }
    superseded_by_push = True
    superseded_by_newer_answer = True

    def run(self, job: Job) -> End:
        facts = job.record(PullRequestFacts, gather)
        guard = Guard(facts.pull_request.head_sha)
        job.require(guard)
        skipped = find_skip_reason(facts)
        if skipped is not None and skipped.reply is None:
            return job.post_check(plan_review_check(facts.without_inline, NO_CALLS), skipped.reason)
        job.choose(find_conversation(job.event, job.rule))
        if facts.guidance_problems is not None:
            job.report(facts.guidance_problems)
        if skipped is not None and skipped.reply is not None:
            return _post_static(job, facts, skipped.reply, skipped.reason)
        job.note(omitted=describe_omissions(facts), sent=describe_context(facts))
        if facts.check_commit is not None:
            job.begin_check(facts.check_commit)
        try:
            review = ask_review(job, facts)
        except BudgetExceeded as exc:
            unanswered = dict.fromkeys(range(len(list_parts(facts))), describe_failure(exc))
            reply = _repeat_reply(facts)
            return _post_static(job, replace(facts, unanswered=unanswered), reply, str(exc))
        return _post_review(job, review, guard)

    def variables(self, facts: PullRequestFacts) -> Mapping[str, object]:
        return prompt_variables(facts)


def _post_static(job: Job, facts: PullRequestFacts, reply: ReplyFields, reason: str) -> End:
    """Post what follows without a reply of Claude. `reply` takes its place in the comment."""
    facts = facts.without_inline
    guard = Guard(facts.pull_request.head_sha)
    variables = {**prompt_variables(facts), **list_comment_variables(facts, reply)}
    analysis = job.render_static(reply, variables)
    job.write(*plan(job.event, facts, analysis), unless=guard)
    if facts.is_review:
        job.store_review(make_record(facts, analysis, {}))
    return job.post(reason=reason, unless=guard)


@dataclass(frozen=True, slots=True)
class AskedReview:
    """The replies to all prompts, what they decided, and the comments that show it."""

    facts: PullRequestFacts
    replies: Replies
    analysis: Analysis


def ask_review(job: Job, facts: PullRequestFacts) -> AskedReview:
    """Ask about the parts of the changes, for a second look, and the follow-up prompts.

    Raises `BudgetExceeded` if no part gets a reply because of it.
    """
    review = ask_parts(job, facts)
    looked = look_again(job, review)
    replies = follow_up(job, review.reply, prompt_variables(looked.facts))
    job.note(unanswered=review.missing, unverified=looked.unverified)
    facts = looked.facts.with_replies(replies.all)
    return AskedReview(facts, replies, _render(job, facts, replies))


def _render(job: Job, facts: PullRequestFacts, replies: Replies) -> Analysis:
    variables = {**prompt_variables(facts), **list_comment_variables(facts, replies.shown)}
    analysis = job.render(replies, variables, list_inline(facts))
    receipt = replace(analysis.receipt, guidance=facts.guidance_names)
    return replace(analysis, receipt=receipt)


def _post_review(job: Job, review: AskedReview, guard: Guard) -> End:
    """Post the review, and then what depends on the comments that GitHub accepted."""
    facts = review.facts
    reason = review.replies.left_out
    actions = plan(job.event, facts, review.analysis)
    if not any(isinstance(action, EnsureReview) for action in actions):
        job.write(*actions, unless=guard)
        if facts.is_review:
            job.store_review(make_record(facts, review.analysis, {}))
        return job.post(reason=reason, unless=guard)
    first = [planned for planned in actions if isinstance(planned, EnsureLabels | EnsureReview)]
    later = _list_later(actions)
    outcome = job.write(*first, later=later, unless=guard)[-1]
    if facts.is_review:
        job.store_review(make_record(facts, review.analysis, outcome.comment_ids))
    if outcome.rejected:
        rejected = frozenset(outcome.rejected)
        posted = replace(facts, not_inline=rejected, comment_ids=dict(outcome.comment_ids))
        later = _list_later(plan(job.event, posted, _render(job, posted, review.replies)))
    return job.post(*later, reason=reason, unless=guard)


def _list_later(actions: Sequence[Action]) -> list[Action]:
    """Return the actions that depend on what GitHub does with the review."""
    return [action for action in actions if not isinstance(action, EnsureLabels | EnsureReview)]


def find_skip_reason(facts: PullRequestFacts) -> SkipReason | None:
    selection = facts.selection
    if selection.calls:
        return None
    if facts.record.rounds and facts.is_review:
        what = "nothing changed"
        if any(selection.new.values()):
            what = "nothing that fits into a call changed"
        reason = f"{what} since the last review, so Claude was not asked"
        return SkipReason(reason, _repeat_reply(facts))
    if not selection.skipped and not selection.files:
        return SkipReason("the pull request changes no files, so Claude was not asked")
    reasons = count_reasons(file.reason for file in facts.coverage.files if file.reason)
    if any(file.reason == "left out by settings" for file in selection.skipped):
        reasons = f"{reasons}; see {facts.left_out_by}"
    return SkipReason(
        f"none of the changed files has a patch to read ({reasons}), so Claude was not asked"
    )


def describe_omissions(facts: PullRequestFacts) -> str:
    """Return a text such as "1 of 9 files was not shown as a whole: 1 lock file".

    Return "" if everything was shown.
    """
    files = facts.coverage.files
    reasons = [file.reason for file in files if file.reason]
    reasons += ["with data in long lines" for file in files if file.data and not file.reason]
    reasons += ["beyond those that GitHub lists"] * facts.unlisted
    unlisted_labels = describe_missing(facts.offer)
    if not reasons:
        return unlisted_labels
    number = len(reasons)
    total = count(len(files) + facts.unlisted, "file")
    sentence = f"{number} of {total} {was_or_were(number)} not shown as a whole"
    described = f"{sentence}: {count_reasons(reasons)}"
    return "; ".join(filter(None, (described, unlisted_labels)))


def plan(event: Event, facts: PullRequestFacts, analysis: Analysis) -> tuple[Action, ...]:
    """Plan labels, a review, replies in threads, and a comment, which is created only if
    something was found.
    """
    if event.is_closing:
        family = f"{FAMILY}-closed-{facts.pull_request.number}"  # a comment of its own
        comment = plan_comment(analysis, family, create=analysis.worth_saying)
        return (*plan_labels(analysis, offer=facts.offer), *comment)
    size = RequestedLabel(f"size/{facts.size}", "size")
    labels = plan_labels(analysis, size, offer=facts.offer, is_partial=facts.is_partial)
    facts = facts.with_replies(analysis.replies)
    reviews = _plan_review(facts, analysis)
    replies = plan_replies(facts)
    comments = _plan_comment(facts, analysis)
    requests = _plan_requests(facts, analysis)
    if not analysis.replies and not facts.unanswered:  # a reply that HLS wrote reviews nothing
        unanswered = dict.fromkeys(range(len(facts.selection.calls)), "Claude was not asked")
        facts = replace(facts, unanswered=unanswered)
    checks = plan_review_check(facts, analysis.receipt, left_out=analysis.left_out)
    return (*labels, *reviews, *replies, *comments, *requests, *checks)


def _plan_review(facts: PullRequestFacts, analysis: Analysis) -> tuple[EnsureReview, ...]:
    comments: list[InlineComment] = []
    for entry, located in facts.findings.inline:
        finding = located.finding
        text = analysis.inline.get(entry.key)
        if text is not None:
            place = (finding.path, finding.side, finding.start_line, finding.line)
            comments.append(InlineComment(entry.key, *place, text))
    if not comments:
        return ()
    return (EnsureReview(facts.pull_request.head_sha, tuple(comments)),)


def _plan_comment(facts: PullRequestFacts, analysis: Analysis) -> tuple[EnsureComment, ...]:
    create = facts.is_at_limit or (bool(analysis.replies) and _is_worth_comment(facts, analysis))
    state = None
    if facts.file_summaries is not None:
        state = SUMMARIES.dump_json(list_summaries(facts, facts.reply)).decode()
    return plan_comment(analysis, FAMILY, create=create, state=state)


def _is_worth_comment(facts: PullRequestFacts, analysis: Analysis) -> bool:
    if facts.summary == "always" or facts.reviewers or find_suggested_title(facts):
        return True
    if analysis.replies[analysis.comment_index] is not find_review(analysis.replies):
        return analysis.worth_saying
    review = facts.findings
    is_found = bool(review.raised or review.unlocated or review.open)
    return is_found or not facts.coverage.is_complete


def _plan_requests(facts: PullRequestFacts, analysis: Analysis) -> tuple[RequestReviewers, ...]:
    people = tuple(reviewer.name for reviewer in facts.reviewers if reviewer.is_person)
    if not (people and facts.requests_reviewers and analysis.replies):
        return ()
    return (RequestReviewers(people),)


def plan_review_check(
    facts: PullRequestFacts, receipt: Receipt, *, left_out: str = ""
) -> tuple[EnsureCheck, ...]:
    """Return the check of a review; () if it sets none. `left_out` is a follow-up prompt without a
    reply, and why.
    """
    commit = facts.check_commit
    if commit is None:
        return ()
    review = facts.findings
    if receipt == NO_CALLS:  # of the last review: a title edit must not take it away
        receipt = facts.record.receipt
    if not facts.shows_cost:
        receipt = replace(receipt, cost_usd=None)
    ended = EndedReview(
        commit,
        facts.coverage,
        [*(entry for entry, _ in review.raised), *review.ledger],
        receipt,
        notes=_list_notes(facts, left_out),
        commented=[entry.key for entry, _ in review.inline],
        urls=find_urls(facts),
        is_at_limit=facts.is_at_limit,
    )
    return (plan_check(ended, facts.review),)


def _list_notes(facts: PullRequestFacts, left_out: str) -> list[str]:
    """Return the sentences for the summary of the check."""
    not_again = ""
    if facts.known_blocks:
        not_again = "; ".join(dict.fromkeys(facts.incomplete.values()))
    reasons = {
        "The findings were not verified": facts.unverified,
        "Labels were not listed": describe_missing(facts.offer),
        "Guidance, issues and `.gitattributes` are missing": sanitize_inline(facts.context_problem),
        "What prevents the merge was not read": sanitize_inline(facts.merge_problem),
        "Other places of the repository were not read": sanitize_inline(facts.selection.unsearched),
        "A follow-up prompt was left out": left_out,
        "Not everything was read again, so earlier reviews count": not_again,
    }
    notes: list[str] = []
    if facts.is_at_limit:
        notes.append(describe_limit(has_replies=facts.has_replies))
    if facts.second_sites:
        notes.append(f"Compared with {describe_sites(facts.second_sites)}.")
    if facts.unread_findings:
        findings = sanitize_inline(facts.describe_unread_findings())
        notes.append(f"Claude was not asked about {findings}.")
    return [*notes, *(f"{what}: {why}." for what, why in reasons.items() if why)]


def make_record(
    facts: PullRequestFacts, analysis: Analysis, comment_ids: Mapping[str, int]
) -> ReviewRecord:
    """Return what to store of a review. `comment_ids` are the ids of its review comments, by key of
    the finding.
    """
    facts = facts.with_replies(analysis.replies)
    record = facts.record
    answer = find_review(analysis.replies)
    prompt_id = ""
    if answer is not None:
        prompt_id = answer.prompt_id
    raised = tuple(
        replace(entry, prompt_id=prompt_id, comment_id=comment_ids.get(entry.key))
        for entry, _ in facts.findings.raised
    )
    ledger = (*mark_mentioned(facts), *raised)
    new_record = replace(
        record,
        blocks=list_blocks(facts),
        skipped=facts.skipped,
        suggested_title=find_suggested_title(facts),
        ledger=ledger,
        next_number=max([record.next_number, *(entry.number + 1 for entry in ledger)]),
        reviewers=facts.reviewers,
    )
    if analysis.receipt != NO_CALLS:
        new_record = replace(
            new_record, receipt=analysis.receipt, asked_for=facts.pull_request.head_sha
        )
    reply = facts.reply
    if reply is None:
        return new_record
    return replace(
        new_record,
        rounds=record.rounds + 1,
        kind=reply.type,
        summary=reply.summary,
        scores=lowest_scores([reply]) or record.scores,
    )


def _repeat_reply(facts: PullRequestFacts) -> ReplyFields:
    """Return the last review's type and summary as a reply without findings."""
    values: dict[str, Any] = {"type": facts.record.kind, "summary": facts.record.summary}
    return PullRequestAnalysis.model_construct(
        **values, earlier=[], findings=[], suggested_labels=[]
    )


def list_blocks(facts: PullRequestFacts) -> Mapping[str, tuple[Block, ...]]:
    """Return `ReviewRecord.blocks` after a review."""
    blocks = dict(facts.record.blocks)
    unread = {
        block for block, _ in find_unread(facts.selection, facts.incomplete, facts.known_blocks)
    }
    reverted = [name for name in blocks if facts.present.is_as_in_base(name)]
    for name in dict.fromkeys([*facts.present.by_file, *reverted]):
        present = facts.present.by_file.get(name, ())
        read = [placed for placed in present if placed not in unread]
        file_blocks = blocks.get(name, ())
        same = match_blocks(file_blocks, read)
        current: list[Block] = []
        # indexes of known blocks; one that was away in between is there anew
        stayed: set[int] = set()
        for index, placed in enumerate(read):
            at = same.get(index)
            if at is not None and not file_blocks[at].until:
                stayed.add(at)
                current.append(replace(placed.block, round=file_blocks[at].round))
            else:
                current.append(replace(placed.block, round=facts.round))
        past = [
            replace(block, until=block.until or facts.record.rounds)
            for index, block in enumerate(file_blocks)
            if index not in stayed
        ]
        if current or past:
            blocks[name] = (*current, *past[:MAX_PAST_BLOCKS])
    return blocks


@dataclass(frozen=True, slots=True)
class AskedParts:
    """The joined reply about all parts of the changes, and the facts with the parts that were not
    answered or shown.
    """

    facts: PullRequestFacts
    reply: Reply
    missing: str  # a sentence about parts without a reply; "" if there are none


def ask_parts(job: Job, facts: PullRequestFacts) -> AskedParts:
    """Ask about each part of the changes. If a part gets no usable reply, the others count.

    Raises the last error if no part gets one.
    """
    parts = list_parts(facts)
    failed: Permanent | None = None
    replies: dict[int, Reply] = {}
    unanswered: dict[int, str] = {}
    for number, part in enumerate(parts):
        index = 0
        if number:
            index = FIRST_PART + number
        try:
            replies[number] = job.ask_one(job.rule.prompt, prompt_variables(part), index)
        except BudgetExceeded as exc:
            failed = exc
            unanswered |= dict.fromkeys(range(number, len(parts)), describe_failure(exc))
            break
        except Permanent as exc:
            failed = exc
            unanswered[number] = describe_failure(exc)
    if not replies:
        assert failed is not None
        raise failed
    missing = ""
    if unanswered:
        missing = f"{len(unanswered)} of {len(parts)} parts of the changes: {failed}"
    facts = replace(_mark_unread(facts, replies), unanswered=unanswered)
    return AskedParts(facts, join_replies(list(replies.values())), missing)


def _mark_unread(facts: PullRequestFacts, replies: Mapping[int, Reply]) -> PullRequestFacts:
    """Return the facts with what prompts did not show, and the calls whose findings were lost."""
    selection = facts.selection
    unshown = {number: reply.unshown for number, reply in replies.items() if reply.unshown}
    if unshown:
        selection = leave_out(selection, unshown)
    lost = {
        number: reply.lost["findings"]
        for number, reply in replies.items()
        if "findings" in reply.lost
    }
    return replace(facts, selection=selection, lost=lost)


@dataclass(frozen=True, slots=True)
class SecondLookResult:
    """The facts with what the second look decided."""

    facts: PullRequestFacts
    unverified: str = ""  # why the findings were not verified; "" if they were


def look_again(job: Job, review: AskedParts) -> SecondLookResult:
    """Ask Claude to refute the findings of the reply, and earlier ones of which some lines changed.

    Without a usable reply, all are kept.
    """
    if VERIFY_PROMPT not in job.library.prompts:
        return SecondLookResult(review.facts)
    facts = _look_up(job, review.facts.with_reply(review.reply.fields))
    look_variables = verification_variables(facts, facts.reply)
    if look_variables is None:
        return SecondLookResult(facts)
    try:
        verdicts = job.ask_one(VERIFY_PROMPT, look_variables, VERIFICATION)
    except Permanent as exc:
        log.warning("findings were not verified", extra={"reason": str(exc)})
        return SecondLookResult(replace(facts, unverified=describe_failure(exc)), str(exc))
    if not isinstance(verdicts.fields, FindingVerdicts):
        return SecondLookResult(facts)
    return SecondLookResult(apply_second_look(facts, verdicts.fields))


def _look_up(job: Job, facts: PullRequestFacts) -> PullRequestFacts:
    """Return the facts with the places of the names that the reply asks to see."""
    names = list_names(facts)
    if not (facts.is_review and names):
        return facts

    def read(source: FactSource) -> LookedUp:
        files = source.reader.files_at(facts.pull_request.head_sha)
        return look_up(facts, names, files, source.limits.ignored_paths)

    looked_up = job.look_up(LookedUp, read)
    return replace(facts, looked_up=looked_up or LookedUp())
