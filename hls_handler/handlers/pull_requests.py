"""Handler for pull requests: selects the changes to review, and plans labels, one review and one comment.

The first review reads all changes. Later ones read only those that changed since, compared patch against patch, and
raise only findings on them: a review must come to an end. What was raised before is in the ledger (`review/ledger.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from hls_handler.actions import Action, EnsureCheck, EnsureReply, EnsureReview, InlineComment, RequestedLabel
from hls_handler.analysis import (
    NO_CALLS,
    SCORES,
    Analysis,
    Category,
    Finding,
    FindingVerdicts,
    PullRequestAnalysis,
    Receipt,
    Reply,
    Score,
    Severity,
    SuggestedLabel,
    lowest_scores,
)
from hls_handler.errors import Permanent
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.changed_files import (
    MAX_CALLS,
    TOKENS_PER_FILE,
    PatchedFile,
    Selection,
    SkippedFile,
    count_reasons,
    cover,
    digest_reviewed,
    find_files_above,
    may_have_calls,
    select_files,
    show_files,
    with_lines_above,
)
from hls_handler.handlers.check import CheckedFinding, plan_check
from hls_handler.handlers.handler import (
    Handler,
    PromptLimits,
    SkipReason,
    check_conversation,
    permalink,
    plan_comment,
    web_url,
)
from hls_handler.handlers.labels import LabelOffer, plan_labels, select_offer
from hls_handler.handlers.linguist import parse_attributes
from hls_handler.handlers.reader import (
    GuidanceFile,
    LinkedIssue,
    Reader,
    RepositoryHistory,
    RepositoryLabel,
    ReviewContext,
)
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.coverage import Coverage
from hls_handler.review.ledger import (
    MAX_ENTRIES,
    NO_REVIEW,
    LedgerEntry,
    OpenFinding,
    ReviewRecord,
    add,
    apply_threads,
    find_dismissals,
    find_new,
    follow_up,
    locate_open,
)
from hls_handler.review.patches import Hunk, Patch, Side, numbered, parse_numbered
from hls_handler.review.positions import RANK, locate_findings
from hls_handler.settings.model import Findings, Review
from hls_handler.settings.values import Summary
from hls_handler.wording import count, was_or_were

MAX_SUMMARY_CHARACTERS = 4_000
EXCERPT_LINES = 40  # lines above and below a finding that the prompt which tries to refute it shows
MAX_CANDIDATES = 40  # findings of one review that are verified and shown

FIXED = "fixed"
"""Key of the reply in the thread of a finding that is fixed (`EnsureReply.key`)."""

NO_CONTEXT = ReviewContext()
MAX_GUIDANCE_CHARS, MAX_LINKED_ISSUE_CHARS = 6_000, 3_000
"""Characters of one file of guidance and of the body of one linked issue that `pull_requests/analyze` shows."""
CONTEXT_SHARE = 0.5  # of the tokens of a call, at most, for guidance and linked issues

Size = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """An open finding that Claude is told of, so that it does not raise it again."""

    path: str
    line: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A new finding, as the prompt that tries to refute it sees it."""

    number: int  # from 1
    path: str
    line: int
    severity: Severity
    title: str
    body: str
    code: str  # the numbered lines of its hunk


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
    record: ReviewRecord  # before this review, with what people did in the review threads
    is_review: bool  # False for prompts that review nothing, such as that of a changelog entry
    is_full: bool  # True if a person asked for a review of everything
    context: ReviewContext = NO_CONTEXT  # without the attributes, which `selection` has considered
    context_problem: str = ""  # why the context could not be read
    replied: tuple[str, ...] = ()  # keys of the findings whose thread has our reply or was deleted
    offer: LabelOffer | None = None  # the repository's own labels; None: they are not offered
    call: int | None = None  # number of the call that these facts are shown in; None: all calls
    unanswered: Mapping[int, str] = field(default_factory=dict)  # calls without a reply, with the reason of each
    unverified: str = ""  # why the new findings were not verified, for people on GitHub; "" if they were
    refuted: frozenset[str] = frozenset()  # keys of new findings that the second look refuted
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
        patches = _whole_patches(self)
        ledger = follow_up(self.record.ledger, patches, unread=_find_unread(self))
        return tuple(
            KnownFinding(one.entry.path, one.line, one.entry.title)
            for one in locate_open(ledger, patches)
            if one.entry.path in shown
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
        return cover(self.selection, self.unanswered, unlisted=self.unlisted)


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the comment shows it. The fields of an earlier finding that are not stored are empty."""

    path: str
    side: Side
    start_line: int | None
    line: int | None
    severity: Severity
    category: Category | None
    confidence: float | None
    title: str
    body: str
    quote: str
    suggestion: str | None
    url: str  # permanent address of the lines on GitHub; "" if unknown
    is_inline: bool  # True if a review comment has the text


class PullRequestHandler(Handler[PullRequestFacts]):
    family = "pull_requests"
    replies = frozenset({"pull_request_analysis", "generic_analysis", "finding_verdicts"})
    facts_type = PullRequestFacts
    facts_version = 11
    verification = "pull_requests/verify"
    variable_types: Mapping[str, object] = {
        "pull_request": PullRequest,
        "files": tuple[PatchedFile, ...],
        "skipped": tuple[SkippedFile, ...],
        "unlisted": int,
        "size": Size,
        "round": int,
        "part": int,
        "parts": int,
        "earlier_kind": str,
        "earlier_summary": str,
        "known_findings": tuple[KnownFinding, ...],
        "guidance": tuple[GuidanceFile, ...],
        "linked_issues": tuple[LinkedIssue, ...],
        "candidates": tuple[Candidate, ...],
        "repository_labels": tuple[RepositoryLabel, ...],
    }
    comment_variable_types: Mapping[str, object] = {
        "commit": str,
        "commit_url": str,
        "findings": tuple[ShownFinding, ...],
        "unlocated": tuple[ShownFinding, ...],
        "held_back": int,
        "fixed": int,
        "still_open": int,
        "gone": int,
        "dismissed": int,
        "unrepeated": tuple[ShownFinding, ...],
        "coverage": Coverage,
        "scores": tuple[Score, ...],
    }
    superseded_by_push = True
    superseded_by_newer_answer = True

    def gather(
        self, event: Event, reader: Reader, history: RepositoryHistory, limits: PromptLimits
    ) -> PullRequestFacts:
        assert event.pull_request is not None  # parse_event rejects a `pull_request` event without one
        payload = event.pull_request
        pull_request = payload if event.is_recent else reader.pull_request(payload.number)
        check_conversation(event, pull_request)
        listed = reader.files(pull_request.number)
        is_review = limits.is_review and not event.is_closing
        record, replied = _read_record(pull_request.number, reader, history) if is_review else (NO_REVIEW, ())
        is_full = event.is_full_review_requested
        select = partial(
            select_files,
            listed,
            tokens=limits.input_tokens,
            ignored_paths=limits.ignored_paths,
            reviewed={} if is_full else record.reviewed,
            max_calls=MAX_CALLS if is_review else 1,
        )
        selection, context, problem = select(), NO_CONTEXT, ""
        if is_review and may_have_calls(selection):
            context, problem = _read_context(pull_request, reader, limits.review)
            context, used = _limit_context(context, int(limits.input_tokens * CONTEXT_SHARE))
            tokens = limits.input_tokens - used
            selection = select(tokens=tokens, attributes=parse_attributes(context.attributes))
            paths = find_files_above(selection) if limits.review.functions and not problem else ()
            if paths:
                texts = reader.head_files(pull_request.head_sha, paths)
                selection = with_lines_above(selection, texts, tokens=tokens)
        lines = sum(file.additions + file.deletions for file in listed)  # including those of skipped files
        return PullRequestFacts(
            pull_request,
            selection,
            unlisted=max(pull_request.changed_files - len(listed), 0),
            size="small" if lines < 50 else "medium" if lines < 200 else "large",
            left_out_by=limits.ignored_paths.where,
            shown=limits.shown,
            review=limits.review,
            summary=limits.summary,
            record=record,
            is_review=is_review,
            is_full=is_full,
            context=replace(context, attributes=""),
            context_problem=problem,
            replied=replied,
            offer=select_offer(reader.labels(), limits.offer) if limits.offer is not None else None,
        )

    def skip_reason(self, facts: PullRequestFacts) -> SkipReason | None:
        selection = facts.selection
        if selection.calls:
            return None
        if facts.record.rounds and facts.is_review:
            earlier: dict[str, Any] = {"type": facts.record.kind, "summary": facts.record.summary}
            empty: dict[str, Any] = {"findings": [], "suggested_labels": []}
            reply = PullRequestAnalysis.model_construct(worth_saying=True, **earlier, **empty)
            return SkipReason("nothing changed since the last review, so Claude was not asked", reply)
        if not selection.skipped and not selection.files:
            return SkipReason("the pull request changes no files, so Claude was not asked")
        reasons = count_reasons(selection.skipped)
        if selection.files:
            reasons = ", ".join([*([reasons] if reasons else []), f"{len(selection.files)} too long for one call"])
        if any(file.reason == "left out by settings" for file in selection.skipped):
            reasons = f"{reasons}; see {facts.left_out_by}"
        return SkipReason(f"none of the changed files has a patch to read ({reasons}), so Claude was not asked")

    def check_commit(self, facts: PullRequestFacts) -> str | None:
        return facts.pull_request.head_sha if facts.review.check and facts.is_review else None

    def plan_unasked(self, facts: PullRequestFacts) -> tuple[EnsureCheck, ...]:
        return self._plan_check(facts, _list_checked(_evaluate(facts, None)), NO_CALLS)

    def describe_omissions(self, facts: PullRequestFacts) -> str | None:
        """Return a text such as "1 of 9 files was not shown: 1 lock file; 1 file was partly reviewed"; None if none."""
        parts: list[str] = []
        missing = len(facts.skipped) + facts.unlisted
        if missing:
            reasons = [count_reasons(facts.skipped)] if facts.skipped else []
            reasons += [f"{facts.unlisted} beyond those that GitHub lists"] if facts.unlisted else []
            total = len(facts.selection.files) + missing
            parts.append(f"{missing} of {count(total, 'file')} {was_or_were(missing)} not shown: {', '.join(reasons)}")
        partly = sum(not file.is_complete and file.hunks > 0 for file in facts.coverage.files)
        if partly:
            parts.append(f"{count(partly, 'file')} {was_or_were(partly)} not reviewed completely, because of the size")
        return "; ".join(parts) or None

    def describe_context(self, facts: PullRequestFacts) -> str | None:
        """Return a text such as "AGENTS.md (about 120 tokens), issue #7 (about 80 tokens)"; None if there is none."""
        if facts.context_problem:
            return f"none, because it could not be read: {facts.context_problem}"
        above = [text for texts in facts.selection.above for text in texts if text]
        parts = [
            *((file.path, _shown_guidance(file)) for file in facts.guidance),
            *((f"issue #{issue.number}", _shown_issue(issue)) for issue in facts.linked_issues),
            *([(f"lines above {count(len(above), 'hunk')}", "\n".join(above))] if above else []),
        ]
        return ", ".join(f"{name} (about {count(estimate_tokens(text), 'token')})" for name, text in parts) or None

    def split(self, facts: PullRequestFacts) -> tuple[PullRequestFacts, ...]:
        """Return the facts for each call; at least one."""
        return tuple(replace(facts, call=number) for number in range(len(facts.selection.calls))) or (facts,)

    def merge(self, replies: Sequence[Reply]) -> Reply:
        """Join the replies about the parts of a pull request. The first one is about the most important files."""
        analyses = [reply for reply in replies if isinstance(reply, PullRequestAnalysis)]
        if len(analyses) < 2:
            return replies[0]
        suggested = (label for reply in analyses for label in reply.suggested_labels)
        labels: dict[str, SuggestedLabel] = {}
        for label in sorted(suggested, key=lambda label: -label.confidence):
            labels.setdefault(label.name, label)
        summaries = dict.fromkeys(reply.summary for reply in analyses if reply.summary)
        merged = {
            "worth_saying": any(reply.worth_saying for reply in analyses),
            "summary": "\n\n".join(summaries)[:MAX_SUMMARY_CHARACTERS],
            "findings": [finding for reply in analyses for finding in reply.findings],
            "suggested_labels": list(labels.values()),
        }
        scores = lowest_scores(analyses)
        return analyses[0].model_copy(update={**merged, **({SCORES: list(scores)} if scores else {})})

    def with_unanswered(self, facts: PullRequestFacts, unanswered: Mapping[int, str]) -> PullRequestFacts:
        return replace(facts, unanswered=unanswered)

    def with_unverified(self, facts: PullRequestFacts, reason: str) -> PullRequestFacts:
        return replace(facts, unverified=reason)

    def verification_variables(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object] | None:
        """Return the variables of the prompt that tries to refute the new findings; None if there are none."""
        if not (facts.is_review and facts.review.verify):
            return None
        patches = _shown_patches(facts)
        candidates = tuple(
            Candidate(number, found.path, found.line, found.severity, found.title, found.body, _excerpt(patches, found))
            for number, (_, found) in enumerate(_evaluate(facts, reply).raised, start=1)
        )
        return {**self.variables(facts), "files": (), "candidates": candidates} if candidates else None

    def apply_verification(self, facts: PullRequestFacts, reply: Reply, verdicts: Reply) -> PullRequestFacts:
        """Return the facts without the findings that `verdicts` refutes. Unknown numbers are ignored."""
        if not isinstance(verdicts, FindingVerdicts):
            return facts
        refuted = {one.number for one in verdicts.verdicts if one.is_refuted}
        raised = enumerate(_evaluate(facts, reply).raised, start=1)
        return replace(facts, refuted=frozenset(entry.key for number, (entry, _) in raised if number in refuted))

    def inline_findings(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, Mapping[str, object]]:
        """Return the variables of the review comment for each finding that gets one, by the key of the finding."""
        return {
            entry.key: {"finding": _to_shown(facts, finding, is_inline=False), "is_inline": True}
            for entry, finding in _evaluate(facts, reply).inline
        }

    def comment_variables(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object]:
        """Return the variables of the comment template.

        `findings` are the new findings, and `unrepeated` the earlier ones that are still open. `unlocated` are findings
        whose quote is not at the line that they name. `held_back` is the number of findings below the thresholds in the
        settings.
        """
        result = _evaluate(facts, reply)
        states = [entry.state for entry in result.ledger]
        inline = {entry.key for entry, _ in result.inline}
        return {
            "commit": facts.pull_request.head_sha[:10],
            "commit_url": web_url(facts.pull_request.html_url, f"commit/{facts.pull_request.head_sha}"),
            "findings": tuple(_to_shown(facts, found, is_inline=entry.key in inline) for entry, found in result.raised),
            "unlocated": tuple(_to_shown(facts, finding, is_inline=False) for finding in result.unlocated),
            "held_back": result.held_back,
            "fixed": states.count("fixed"),
            "still_open": states.count("open"),
            "gone": states.count("gone"),
            "dismissed": states.count("dismissed"),
            "unrepeated": tuple(_earlier_to_shown(facts, one) for one in result.open),
            "coverage": facts.coverage,
            "scores": lowest_scores([reply]) or facts.record.scores,
        }

    def plan(self, event: Event, facts: PullRequestFacts, analysis: Analysis) -> tuple[Action, ...]:
        """Plan labels, a review, replies in threads, and a comment, which is created only if something was found."""
        if event.is_closing:
            comment = plan_comment(analysis, self.comment_family(event), create=analysis.worth_saying)
            return (*plan_labels(analysis, offer=facts.offer), *comment)
        labels = plan_labels(analysis, RequestedLabel(f"size/{facts.size}", "size"), offer=facts.offer)
        reply = analysis.answers[analysis.comment_index].reply if analysis.answers else None
        result = _evaluate(facts, reply)
        is_found = bool(result.raised or result.unlocated or result.open) or not isinstance(reply, PullRequestAnalysis)
        create = facts.summary == "always" or (analysis.worth_saying and is_found)
        comments = plan_comment(analysis, self.family, create=create and bool(analysis.answers))
        comments_inline = tuple(
            InlineComment(entry.key, found.path, found.side, found.start_line, found.line, analysis.inline[entry.key])
            for entry, found in result.inline
            if entry.key in analysis.inline
        )
        review = (EnsureReview(facts.pull_request.head_sha, comments_inline),) if comments_inline else ()
        if not analysis.answers:  # a reply that HLS wrote reviews nothing
            facts = self.with_unanswered(
                facts, dict.fromkeys(range(len(facts.selection.calls)), "Claude was not asked")
            )
        checks = self._plan_check(facts, _list_checked(result), analysis.receipt)
        return (*labels, *review, *_plan_replies(facts, result), *comments, *checks)

    def _plan_check(
        self, facts: PullRequestFacts, findings: Sequence[CheckedFinding], receipt: Receipt
    ) -> tuple[EnsureCheck, ...]:
        commit = self.check_commit(facts)
        return (
            ()
            if commit is None
            else (plan_check(commit, facts.coverage, findings, facts.review, receipt, unverified=facts.unverified),)
        )

    def after_review(
        self, facts: PullRequestFacts, analysis: Analysis, *, comment_ids: Mapping[str, int], rejected: Collection[str]
    ) -> tuple[PullRequestFacts, ReviewRecord | None]:
        """Return the facts with the rejected review comments, and what to store of the review."""
        if not facts.is_review:
            return facts, None
        answer = analysis.answers[analysis.comment_index] if analysis.answers else None
        reply = answer.reply if answer is not None else None
        result = _evaluate(facts, reply)
        prompt_id = answer.prompt_id if answer is not None else ""
        added = (
            replace(entry, prompt_id=prompt_id, comment_id=comment_ids.get(entry.key)) for entry, _ in result.raised
        )
        is_answered = isinstance(reply, PullRequestAnalysis)
        # A follow-up prompt may have replaced the reply by one of another type.
        is_review = is_answered or answer is None
        record = ReviewRecord(
            rounds=facts.record.rounds + is_answered,
            reviewed=digest_reviewed(facts.selection, facts.unanswered) if is_review else facts.record.reviewed,
            kind=reply.type if isinstance(reply, PullRequestAnalysis) else facts.record.kind,
            summary=reply.summary if isinstance(reply, PullRequestAnalysis) else facts.record.summary,
            ledger=(*result.ledger, *added)[-MAX_ENTRIES:],
            scores=lowest_scores([reply]) or facts.record.scores,
        )
        return replace(facts, not_inline=frozenset(rejected)), record


@dataclass(frozen=True, slots=True)
class _Evaluation:
    raised: tuple[tuple[LedgerEntry, Finding], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Finding], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]
    held_back: int
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    open: tuple[OpenFinding, ...]  # those of `ledger` that are open


def _evaluate(facts: PullRequestFacts, reply: Reply | None) -> _Evaluation:
    reported = reply.findings if isinstance(reply, PullRequestAnalysis) else []
    wanted = [
        finding
        for finding in reported
        if RANK[finding.severity] <= RANK[facts.shown.min_severity] and finding.confidence >= facts.shown.min_confidence
    ]
    whole = _whole_patches(facts)
    located, unlocated = locate_findings(wanted, _shown_patches(facts))
    ledger = follow_up(facts.record.ledger, whole, unread=_find_unread(facts))
    new = find_new([finding for finding in located if _is_timely(facts, finding)], ledger, whole)[:MAX_CANDIDATES]
    entries = add(ledger, new, whole, prompt_id="")
    raised = tuple((entry, found) for entry, found in zip(entries, new, strict=True) if entry.key not in facts.refuted)
    first = raised[: facts.review.max_inline] if facts.is_review else ()
    return _Evaluation(
        raised,
        inline=tuple((entry, found) for entry, found in first if entry.key not in facts.not_inline),
        unlocated=unlocated if _is_first(facts) else (),
        held_back=len(reported) - len(wanted),
        ledger=ledger,
        open=locate_open(ledger, whole),
    )


def _list_checked(result: _Evaluation) -> list[CheckedFinding]:
    """Return the findings that count for the check: the new ones, the open ones, and those that people dismissed."""
    inline = {entry.key for entry, _ in result.inline}
    new = [
        CheckedFinding(
            found.path,
            found.side,
            found.start_line,
            found.line,
            found.severity,
            found.title,
            found.body,
            has_comment=entry.key in inline,
        )
        for entry, found in result.raised
    ]
    earlier = [_to_checked(one.entry, one.line) for one in result.open]
    dismissed = [_to_checked(entry, None) for entry in result.ledger if entry.state == "dismissed"]
    return [*new, *earlier, *dismissed]


def _to_checked(entry: LedgerEntry, line: int | None) -> CheckedFinding:
    dismissed_by: Literal["writer", "other"] | None = None
    if entry.state == "dismissed":
        dismissed_by = "writer" if entry.has_binding_dismissal else "other"
    has_comment, place = entry.comment_id is not None, (entry.path, entry.side, None, line)
    return CheckedFinding(*place, entry.severity, entry.title, "", has_comment=has_comment, dismissed_by=dismissed_by)


def _is_first(facts: PullRequestFacts) -> bool:
    return facts.record.rounds == 0 or facts.is_full


def _is_timely(facts: PullRequestFacts, finding: Finding) -> bool:
    """Return True if this round may raise the finding.

    After the first review, findings must be on lines that changed since the last one. In the second review, a critical
    one may also be on another line.
    """
    if _is_first(facts) or (facts.record.rounds == 1 and finding.severity == "critical"):
        return True
    return any(
        lines.side == finding.side
        and lines.first <= finding.line
        and (finding.start_line or finding.line) <= lines.last
        for file in facts.selection.files
        if file.path == finding.path
        for lines in file.changed
    )


def _read_record(number: int, reader: Reader, history: RepositoryHistory) -> tuple[ReviewRecord, tuple[str, ...]]:
    """Return the stored record with what people did in the review threads, and the keys of findings that get no reply.

    Their thread has our reply, or a person deleted it.
    """
    record = history.review(number)
    if not any(entry.comment_id for entry in record.ledger):
        return record, ()
    threads = reader.review_threads(number)
    people = dict.fromkeys(login for thread in threads for login in find_dismissals(thread))
    writers = [login for login in people if login and reader.permission(login) in ("admin", "write")]
    unreplied = {thread.key for thread in threads if FIXED not in thread.own_replies}
    replied = tuple(entry.key for entry in record.ledger if entry.key not in unreplied)
    return replace(record, ledger=apply_threads(record.ledger, threads, writers=writers)), replied


def _read_context(pull_request: PullRequest, reader: Reader, review: Review) -> tuple[ReviewContext, str]:
    """Return the context, or an empty one and the reason: a review without it is better than none."""
    try:
        number, branch = pull_request.number, pull_request.base_ref
        wanted = {"guidance": review.guidance, "linked_issues": review.linked_issues}
        return reader.review_context(number, branch, **wanted), ""
    except Permanent as exc:
        return NO_CONTEXT, str(exc)


def _limit_context(context: ReviewContext, tokens: int) -> tuple[ReviewContext, int]:
    """Return the context without the files and issues that exceed `tokens`, and the number of tokens of the others."""
    left = tokens

    def has_room(text: str) -> bool:
        nonlocal left
        needed = TOKENS_PER_FILE + estimate_tokens(text)
        fits = needed <= left
        left -= needed if fits else 0
        return fits

    guidance = tuple(file for file in context.guidance if has_room(_shown_guidance(file)))
    issues = tuple(issue for issue in context.linked_issues if has_room(_shown_issue(issue)))
    return replace(context, guidance=guidance, linked_issues=issues), tokens - left


def _shown_guidance(file: GuidanceFile) -> str:
    return file.text[:MAX_GUIDANCE_CHARS]


def _shown_issue(issue: LinkedIssue) -> str:
    return issue.title + issue.body[:MAX_LINKED_ISSUE_CHARS]


def _plan_replies(facts: PullRequestFacts, result: _Evaluation) -> tuple[EnsureReply, ...]:
    commit = facts.pull_request.head_sha[:10]
    return tuple(
        EnsureReply(entry.comment_id, FIXED, f"Fixed in {commit}: this line was changed.")
        for entry in result.ledger
        if entry.state == "fixed" and entry.comment_id is not None and entry.key not in facts.replied
    )


def _whole_patches(facts: PullRequestFacts) -> Mapping[str, Patch]:
    return {file.path: parse_numbered(file.numbered) for file in facts.selection.files}


def _shown_patches(facts: PullRequestFacts) -> Mapping[str, Patch]:
    """Return the patches that Claude was shown, over all calls."""
    hunks: dict[str, tuple[Hunk, ...]] = {}
    for file in replace(facts, call=None).files:
        hunks[file.path] = (*hunks.get(file.path, ()), *parse_numbered(file.numbered).hunks)
    return {path: Patch(of_file) for path, of_file in hunks.items()}


def _find_unread(facts: PullRequestFacts) -> set[str]:
    """Return the paths of files whose patch is not known completely."""
    cut = {file.path for file in facts.selection.files if file.cut}
    return cut | {file.path for file in facts.skipped if file.needs_review}


def _excerpt(patches: Mapping[str, Patch], finding: Finding) -> str:
    """Return the numbered lines of the finding's hunk, at most `EXCERPT_LINES` above and below its line."""
    for hunk in patches[finding.path].hunks:
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (finding.side, finding.line):
                lines = hunk.lines[max(index - EXCERPT_LINES, 0) : index + EXCERPT_LINES + 1]
                return numbered(Patch((Hunk(hunk.header, lines),)))
    return ""


def _to_shown(facts: PullRequestFacts, finding: Finding, *, is_inline: bool) -> ShownFinding:
    return ShownFinding(
        path=finding.path,
        side=finding.side,
        start_line=finding.start_line,
        line=finding.line,
        severity=finding.severity,
        category=finding.category,
        confidence=finding.confidence,
        title=finding.title,
        body=finding.body,
        quote=finding.quote,
        suggestion=finding.suggestion,
        url=_permalink(facts, finding.path, finding.side, finding.start_line or finding.line, finding.line),
        is_inline=is_inline,
    )


def _earlier_to_shown(facts: PullRequestFacts, found: OpenFinding) -> ShownFinding:
    entry = found.entry
    url = _permalink(facts, entry.path, entry.side, found.line, found.line)
    place = (entry.path, entry.side, None, found.line)
    is_inline = entry.comment_id is not None
    return ShownFinding(*place, entry.severity, None, None, entry.title, "", "", None, url, is_inline)


def _permalink(facts: PullRequestFacts, path: str, side: Side, start: int | None, line: int | None) -> str:
    """Return the address of lines in the analysed commit; for removed lines, in the base commit. "" if unknown."""
    commit = facts.pull_request.head_sha
    if side == "LEFT":
        commit = facts.pull_request.base_sha
        files = facts.selection.files
        path = next((file.previous_path for file in files if file.path == path), None) or path
    return permalink(facts.pull_request.html_url, commit, path, line, start=start)
