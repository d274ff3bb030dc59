"""Handler for pull requests: selects the changes to review, and plans labels, one review and one comment.

The first review reads all changes. Later ones read only those that changed since, compared patch against patch, and
raise only findings on them: a review must come to an end. What was raised before is in the ledger (`review/ledger.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hls_handler.actions import Action, EnsureCheck, EnsureReply, EnsureReview, InlineComment, RequestedLabel
from hls_handler.analysis import (
    NO_CALLS,
    SCORES,
    Analysis,
    FindingVerdicts,
    PullRequestAnalysis,
    Receipt,
    Reply,
    Score,
    SuggestedLabel,
    ValidReply,
    lowest_scores,
)
from hls_handler.errors import Permanent, Retryable, Superseded
from hls_handler.events import Event, PullRequest
from hls_handler.handlers.changed_files import (
    MAX_CALLS,
    TOKENS_PER_FILE,
    PatchedFile,
    digest_reviewed,
    find_files_above,
    find_unshown,
    leave_out,
    may_have_calls,
    select_files,
    with_lines_above,
)
from hls_handler.handlers.check import ReviewNotes, plan_check
from hls_handler.handlers.handler import (
    Handler,
    PromptLimits,
    SkipReason,
    check_conversation,
    plan_comment,
    web_url,
)
from hls_handler.handlers.labels import plan_labels, select_offer
from hls_handler.handlers.linguist import parse_attributes
from hls_handler.handlers.pull_request_facts import NO_CONTEXT, Candidate, KnownFinding, PullRequestFacts, Size
from hls_handler.handlers.pull_request_findings import (
    ReviewFindings,
    ShownFinding,
    earlier_to_shown,
    find_findings,
    find_unread,
    follow_findings,
    list_candidates,
    list_checked,
    list_quoted,
    read_discussion,
    to_shown,
)
from hls_handler.handlers.reader import (
    ChangedFile,
    GuidanceFile,
    LinkedIssue,
    Reader,
    RepositoryHistory,
    RepositoryLabel,
    ReviewContext,
)
from hls_handler.handlers.skipped_files import SkippedFile, count_reasons
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.coverage import Coverage
from hls_handler.review.dismissals import FIXED
from hls_handler.review.record import MAX_BODY_CHARACTERS, NO_REVIEW, ReviewRecord
from hls_handler.settings.model import Review
from hls_handler.untrusted.cleaning import truncate
from hls_handler.wording import count, was_or_were

MAX_SUMMARY_CHARACTERS = 4_000
MAX_LISTED_FILES = 3_000  # GitHub lists no more

MAX_GUIDANCE_CHARS, MAX_LINKED_ISSUE_CHARS = 6_000, 3_000
"""Characters of one file of guidance and of the body of one linked issue that `pull_requests/analyze` shows."""
CONTEXT_SHARE = 0.5  # of the tokens of a call, at most, for guidance and linked issues


class PullRequestHandler(Handler[PullRequestFacts]):
    family = "pull_requests"
    replies = frozenset({"pull_request_analysis", "generic_analysis", "finding_verdicts"})
    facts_type = PullRequestFacts
    facts_version = 25
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
        "left_out": int,
        "fixed": int,
        "still_open": int,
        "gone": int,
        "dismissed": int,
        "still_counted": int,
        "undecided": int,
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
        listed = _read_files(event, pull_request, reader)
        is_review = limits.is_review and not event.is_closing
        record = history.review(pull_request.number) if is_review else NO_REVIEW
        discussion = read_discussion(pull_request.number, reader, record.ledger)
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
            attributes = None if problem else parse_attributes(context.attributes)
            if used or attributes is None or attributes.rules:
                selection = select(tokens=tokens, attributes=attributes)
            paths = find_files_above(selection) if limits.review.functions and not problem else ()
            if paths:
                texts = reader.head_files(pull_request.head_sha, paths)
                selection = with_lines_above(selection, texts, tokens=tokens)
        unlisted = max(pull_request.changed_files - len(listed), 0)
        unread = find_unread(record.ledger, listed, selection)
        present = follow_findings(
            record,
            listed,
            selection,
            discussion,
            unread=unread,
            unlisted=unlisted,
            head=pull_request.head_sha,
            read_files=partial(_read_files_at, reader),
        )
        lines = sum(file.additions + file.deletions for file in listed)  # including those of skipped files
        return PullRequestFacts(
            pull_request,
            selection,
            unlisted=unlisted,
            size="small" if lines < 50 else "medium" if lines < 200 else "large",
            left_out_by=limits.ignored_paths.where,
            shown=limits.shown,
            review=limits.review,
            summary=limits.summary,
            record=present,
            is_review=is_review,
            is_full=is_full,
            context=replace(context, attributes=""),
            context_problem=problem,
            replied=discussion.replied,
            unread=unread,
            offer=select_offer(reader.labels(), limits.offer) if limits.offer is not None else None,
        )

    def skip_reason(self, facts: PullRequestFacts) -> SkipReason | None:
        selection = facts.selection
        if selection.calls:
            return None
        if facts.record.rounds and facts.is_review:
            what = "nothing that fits into a call changed" if selection.oversized else "nothing changed"
            return SkipReason(f"{what} since the last review, so Claude was not asked", self.static_reply(facts))
        if not selection.skipped and not selection.files:
            return SkipReason("the pull request changes no files, so Claude was not asked")
        reasons = count_reasons(selection.skipped)
        if selection.files:
            reasons = ", ".join([*([reasons] if reasons else []), f"{len(selection.files)} too long for one call"])
        if any(file.reason == "left out by settings" for file in selection.skipped):
            reasons = f"{reasons}; see {facts.left_out_by}"
        return SkipReason(f"none of the changed files has a patch to read ({reasons}), so Claude was not asked")

    def static_reply(self, facts: PullRequestFacts) -> Reply:
        earlier: dict[str, Any] = {"type": facts.record.kind, "summary": facts.record.summary}
        empty: dict[str, Any] = {"findings": [], "suggested_labels": []}
        return PullRequestAnalysis.model_construct(worth_saying=True, **earlier, **empty)

    def check_commit(self, facts: PullRequestFacts) -> str | None:
        return facts.pull_request.head_sha if facts.review.check and facts.is_review else None

    def head_commit(self, facts: PullRequestFacts) -> str:
        return facts.pull_request.head_sha

    def plan_unasked(self, facts: PullRequestFacts) -> tuple[EnsureCheck, ...]:
        return self._plan_check(facts, find_findings(facts, None), NO_CALLS)

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

    def find_unshown(self, variables: Mapping[str, object], task: str) -> tuple[int, ...]:
        files = variables.get("files")
        return find_unshown(files, task) if isinstance(files, tuple) else ()

    def with_unshown(self, facts: PullRequestFacts, unshown: Mapping[int, Collection[int]]) -> PullRequestFacts:
        return replace(facts, selection=leave_out(facts.selection, unshown)) if unshown else facts

    def with_unverified(self, facts: PullRequestFacts, reason: str) -> PullRequestFacts:
        return replace(facts, unverified=reason)

    def verification_variables(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object] | None:
        """Return the variables of the prompt that tries to refute findings; None if there are none."""
        if not (facts.is_review and facts.review.verify):
            return None
        candidates = list_candidates(facts, reply)
        return {**self.variables(facts), "files": (), "candidates": candidates} if candidates else None

    def apply_verification(self, facts: PullRequestFacts, reply: Reply, verdicts: Reply) -> PullRequestFacts:
        """Return the facts without the findings that `verdicts` refutes. Unknown numbers are ignored."""
        if not isinstance(verdicts, FindingVerdicts):
            return facts
        decided = {one.number: one.is_refuted for one in verdicts.verdicts}
        result = find_findings(facts, reply)
        entries = enumerate((*(entry for entry, _ in result.raised), *result.undecided), start=1)
        decisions = {entry.key: decided[number] for number, entry in entries if number in decided}
        return replace(
            facts,
            refuted=frozenset(key for key, is_refuted in decisions.items() if is_refuted),
            upheld=frozenset(key for key, is_refuted in decisions.items() if not is_refuted),
        )

    def inline_findings(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, Mapping[str, object]]:
        """Return the variables of the review comment for each finding that gets one, by the key of the finding."""
        return {
            entry.key: {"finding": to_shown(facts, finding, is_inline=False), "is_inline": True}
            for entry, finding in find_findings(facts, reply).inline
        }

    def comment_variables(self, facts: PullRequestFacts, reply: Reply) -> Mapping[str, object]:
        """Return the variables of the comment template.

        `findings` are the new findings, and `unrepeated` the earlier ones that are still open. `unlocated` are findings
        whose quote is not at the line that they name. `held_back` is the number of findings below the thresholds in the
        settings, and `left_out` that of the new findings that are stored and not shown, because they are too many.
        """
        result = find_findings(facts, reply)
        states = [entry.state for entry in result.ledger]
        inline = {entry.key for entry, _ in result.inline}
        return {
            "commit": facts.pull_request.head_sha[:10],
            "commit_url": web_url(facts.pull_request.html_url, f"commit/{facts.pull_request.head_sha}"),
            "findings": tuple(to_shown(facts, found, is_inline=entry.key in inline) for entry, found in result.raised),
            "unlocated": tuple(to_shown(facts, finding, is_inline=False) for finding in result.unlocated),
            "held_back": result.held_back,
            "left_out": len(result.left_out),
            "fixed": states.count("fixed"),
            "still_open": states.count("open"),
            "gone": states.count("gone"),
            "dismissed": states.count("dismissed"),
            "undecided": sum(entry.is_quote_changed for entry in result.open),
            "still_counted": sum(
                facts.review.check and entry.state == "dismissed" and not entry.has_binding_dismissal
                for entry in result.ledger
            ),
            "unrepeated": tuple(earlier_to_shown(facts, one) for one in result.open),
            "coverage": facts.coverage,
            "scores": lowest_scores([reply]) or facts.record.scores,
        }

    def plan(self, event: Event, facts: PullRequestFacts, analysis: Analysis) -> tuple[Action, ...]:
        """Plan labels, a review, replies in threads, and a comment, which is created only if something was found."""
        if event.is_closing:
            comment = plan_comment(analysis, self.comment_family(event), create=analysis.worth_saying)
            return (*plan_labels(analysis, offer=facts.offer), *comment)
        labels = plan_labels(analysis, RequestedLabel(f"size/{facts.size}", "size"), offer=facts.offer)
        review = _find_review(analysis)
        result = find_findings(facts, review.reply if review is not None else None)
        is_found = bool(result.raised or result.unlocated or result.open) or not facts.coverage.is_complete
        is_shown = review is not None and analysis.answers[analysis.comment_index] is review
        create = facts.summary == "always" or (is_found if is_shown else analysis.worth_saying)
        comments = plan_comment(analysis, self.family, create=create and bool(analysis.answers))
        comments_inline = tuple(
            InlineComment(entry.key, found.path, found.side, found.start_line, found.line, analysis.inline[entry.key])
            for entry, found in result.inline
            if entry.key in analysis.inline
        )
        reviews = (EnsureReview(facts.pull_request.head_sha, comments_inline),) if comments_inline else ()
        if not analysis.answers and not facts.unanswered:  # a reply that HLS wrote reviews nothing
            facts = self.with_unanswered(
                facts, dict.fromkeys(range(len(facts.selection.calls)), "Claude was not asked")
            )
        checks = self._plan_check(facts, result, analysis.receipt, left_out=analysis.left_out)
        return (*labels, *reviews, *_plan_replies(facts, result), *comments, *checks)

    def _plan_check(
        self, facts: PullRequestFacts, result: ReviewFindings, receipt: Receipt, *, left_out: str = ""
    ) -> tuple[EnsureCheck, ...]:
        commit = self.check_commit(facts)
        if commit is None:
            return ()
        asked_for = commit
        if receipt == NO_CALLS:  # of the last review: a title edit must not take it away
            receipt, asked_for = facts.record.receipt, facts.record.asked_for
        notes = ReviewNotes(
            unverified=facts.unverified,
            left_out=left_out,
            not_read_again="; ".join(dict.fromkeys(facts.unanswered.values())) if facts.earlier else "",
            undecided=sum(entry.is_quote_changed for entry in result.open),
            asked_for=asked_for,
        )
        return (plan_check(commit, facts.coverage, list_checked(result), facts.review, receipt, notes),)

    def after_review(
        self, facts: PullRequestFacts, analysis: Analysis, *, comment_ids: Mapping[str, int], rejected: Collection[str]
    ) -> tuple[PullRequestFacts, ReviewRecord | None]:
        """Return the facts with the rejected review comments, and what to store of the review."""
        if not facts.is_review:
            return facts, None
        answer = _find_review(analysis)
        reply = answer.reply if answer is not None else None
        result = find_findings(facts, reply)
        prompt_id = answer.prompt_id if answer is not None else ""
        raised = tuple(
            replace(
                entry,
                prompt_id=prompt_id,
                comment_id=comment_ids.get(entry.key),
                body=truncate(found.body, MAX_BODY_CHARACTERS),
                is_body_posted=entry.key in comment_ids,
            )
            for entry, found in (*result.raised, *result.left_out)
        )
        is_answered = isinstance(reply, PullRequestAnalysis)
        was_asked = analysis.receipt != NO_CALLS
        record = ReviewRecord(
            rounds=facts.record.rounds + is_answered,
            reviewed=digest_reviewed(facts.selection, facts.unanswered, facts.earlier),
            quoted=list_quoted(result.ledger + raised, facts.selection.patches, facts.unread, facts.record.quoted),
            receipt=analysis.receipt if was_asked else facts.record.receipt,
            asked_for=facts.pull_request.head_sha if was_asked else facts.record.asked_for,
            base=facts.pull_request.base_sha,
            kind=reply.type if isinstance(reply, PullRequestAnalysis) else facts.record.kind,
            summary=reply.summary if isinstance(reply, PullRequestAnalysis) else facts.record.summary,
            ledger=result.ledger + raised,
            scores=lowest_scores([reply]) or facts.record.scores,
        )
        return replace(facts, not_inline=frozenset(rejected)), record


def _find_review(analysis: Analysis) -> ValidReply | None:
    """Return the last reply that reviews the pull request. A follow-up prompt may have another type of reply."""
    reviews = (answer for answer in reversed(analysis.answers) if isinstance(answer.reply, PullRequestAnalysis))
    return next(reviews, None)


def _read_files(event: Event, pull_request: PullRequest, reader: Reader) -> tuple[ChangedFile, ...]:
    """Return the changed files of the head commit. Raises `Superseded` if another commit is the head by now.

    GitHub lists the files of the present head, and perhaps late. Raises `Retryable` if the list is of another commit.
    Its commits do not show that it is late if it names no head, or if only the base changed: then its numbers must be
    those of the pull request.
    """
    number, head = pull_request.number, pull_request.head_sha
    listed = reader.files(number)
    commits = {file.commit for file in listed if file.status != "removed"}
    is_retargeted = _changes_base(event)
    if commits == {head} and not is_retargeted:
        return listed
    now = reader.pull_request(number)
    if now.head_sha != head:
        raise Superseded(f"a newer push came meanwhile: {now.head_sha[:10]}")
    others = sorted(commit for commit in commits if commit not in (None, head))
    if others:
        raise Retryable(f"GitHub still lists the changed files of commit {others[0][:10]}, but the head is {head[:10]}")
    if is_retargeted or head not in commits:
        _check_numbers(listed, now)
    return listed


def _changes_base(event: Event) -> bool:
    changes = event.payload.get("changes")
    return event.action == "edited" and isinstance(changes, Mapping) and "base" in changes


def _check_numbers(listed: Sequence[ChangedFile], pull_request: PullRequest) -> None:
    """Raise `Retryable` if a complete list has other numbers than the pull request."""
    found = len(listed), sum(file.additions for file in listed), sum(file.deletions for file in listed)
    wanted = pull_request.changed_files, pull_request.additions, pull_request.deletions
    if found != wanted and len(listed) < MAX_LISTED_FILES:
        raise Retryable(
            f"GitHub's list of the changed files is late: it has {_describe_numbers(*found)}, but the pull request has "
            f"{_describe_numbers(*wanted)}"
        )


def _describe_numbers(files: int, additions: int, deletions: int) -> str:
    return f"{count(files, 'file')} with {additions} added and {deletions} removed lines"


def _read_context(pull_request: PullRequest, reader: Reader, review: Review) -> tuple[ReviewContext, str]:
    """Return the context, or an empty one and the reason: a review without it is better than none."""
    try:
        number, branch = pull_request.number, pull_request.base_ref
        wanted = {"guidance": review.guidance, "linked_issues": review.linked_issues}
        return reader.review_context(number, branch, **wanted), ""
    except Permanent as exc:
        return NO_CONTEXT, str(exc)


def _read_files_at(reader: Reader, sha: str, paths: Sequence[str]) -> Mapping[str, str]:
    """Return the text of files at a commit, without those that cannot be read."""
    try:
        return reader.head_files(sha, paths)
    except Permanent:  # the findings in these files keep their state
        return {}


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


def _plan_replies(facts: PullRequestFacts, result: ReviewFindings) -> tuple[EnsureReply, ...]:
    commit = facts.pull_request.head_sha[:10]
    return tuple(
        EnsureReply(
            entry.comment_id,
            FIXED,
            f"Fixed as of {commit}: some of these lines were changed."
            if entry.is_quote_changed
            else f"Fixed in {commit}: this line was changed.",
        )
        for entry in result.ledger
        if entry.state == "fixed"
        and entry.comment_id is not None
        and entry.key not in facts.replied
        and not entry.dismissals
    )
