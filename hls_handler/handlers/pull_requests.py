"""Handler for pull requests: selects the changes to review, and plans labels, one review and one
comment.

The first review reads all changes. A later review reads only lines that changed since, compared
patch against patch, and raises findings only on them, because a review must come to an end. Claude
is asked what became of an earlier finding if its lines changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hls_handler.actions import (
    Action,
    EnsureCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReply,
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
    Score,
    find_review,
    lowest_scores,
)
from hls_handler.deliveries import FIRST_PART, VERIFICATION, End
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.events import Event, PullRequest
from hls_handler.github.values import (
    GuidanceFile,
    LinkedIssue,
    MergeState,
    RepositoryLabel,
)
from hls_handler.handlers.asking import (
    VERIFY_PROMPT,
    Asking,
    Replies,
    describe_failure,
    join_replies,
)
from hls_handler.handlers.changed_files import (
    PatchedFile,
    leave_out,
)
from hls_handler.handlers.check import (
    EndedReview,
    plan_check,
    select_suggested_title,
)
from hls_handler.handlers.finding_views import (
    EarlierFinding,
    ShownFinding,
    list_asked,
    list_failing,
    list_known,
    list_open,
    list_unseen,
    show_dismissed,
    show_earlier,
    show_raised,
    show_unlocated,
    to_shown,
)
from hls_handler.handlers.handler import (
    Handler,
    SkipReason,
    find_conversation,
    plan_comment,
    web_url,
)
from hls_handler.handlers.job import Guard, Job
from hls_handler.handlers.labels import describe_missing, list_offered, plan_labels
from hls_handler.handlers.look_up import look_up
from hls_handler.handlers.pull_request_facts import (
    LookedUp,
    PullRequestFacts,
    Size,
    count_summarized,
    list_blocks,
    list_parts,
    list_summaries,
)
from hls_handler.handlers.pull_request_input import FAMILY, SUMMARIES, gather
from hls_handler.handlers.removed_lines import Removals
from hls_handler.handlers.review_input import (
    describe_context,
    describe_sites,
)
from hls_handler.handlers.second_look import (
    Candidate,
    apply_second_look,
    list_names,
    plan_second_look,
)
from hls_handler.handlers.skipped_files import SkippedFile
from hls_handler.prompting.agent_prompt import OpenFinding
from hls_handler.review.coverage import Coverage, count_reasons
from hls_handler.review.dismissals import FIXED, OPEN_AGAIN, STILL_THERE
from hls_handler.review.neighbourhood import SecondSite
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.review.reviewers import Reviewer
from hls_handler.untrusted.markdown import sanitize_inline
from hls_handler.wording import count, was_or_were

log = logging.getLogger(__name__)

VARIABLES: Mapping[str, tuple[object, Callable[[PullRequestFacts], object]]] = {
    "pull_request": (PullRequest, lambda facts: facts.pull_request),
    "files": (tuple[PatchedFile, ...], lambda facts: facts.files),
    "second_sites": (tuple[SecondSite, ...], lambda facts: facts.second_sites),
    "removals": (Removals, lambda facts: facts.removals),
    "skipped": (tuple[SkippedFile, ...], lambda facts: facts.selection.skipped),
    "unlisted": (int, lambda facts: facts.unlisted),
    "summarized_files": (int, count_summarized),
    "size": (Size, lambda facts: facts.size),
    "title_types": (str, lambda facts: _show_title_types(facts)),
    "round": (int, lambda facts: facts.round),
    "part": (int, lambda facts: (facts.call or 0) + 1),
    "parts": (int, lambda facts: len(facts.selection.calls)),
    "earlier_kind": (str, lambda facts: facts.record.kind),
    "earlier_summary": (str, lambda facts: facts.record.summary),
    "known_findings": (tuple[EarlierFinding, ...], list_known),
    "earlier_findings": (tuple[EarlierFinding, ...], list_asked),
    "guidance": (tuple[GuidanceFile, ...], lambda facts: facts.shown_context.guidance),
    "linked_issues": (tuple[LinkedIssue, ...], lambda facts: facts.shown_context.linked_issues),
    # only the prompt of the second look has some
    "candidates": (tuple[Candidate, ...], lambda _: ()),
    "repository_labels": (tuple[RepositoryLabel, ...], lambda facts: list_offered(facts.offer)),
}
"""The type and the value of each variable of prompts."""

COMMENT_VARIABLES: Mapping[str, tuple[object, Callable[[PullRequestFacts], object]]] = {
    "commit": (str, lambda facts: facts.pull_request.head_sha[:10]),
    "commit_url": (
        str,
        lambda facts: web_url(facts.pull_request.html_url, f"commit/{facts.pull_request.head_sha}"),
    ),
    "findings": (tuple[ShownFinding, ...], show_raised),
    "unlocated": (tuple[ShownFinding, ...], show_unlocated),
    "held_back": (int, lambda facts: facts.findings.held_back),
    "fixed": (int, lambda facts: facts.findings.count("fixed")),
    "still_open": (int, lambda facts: facts.findings.count("open")),
    "gone": (int, lambda facts: facts.findings.count("gone")),
    "dismissed": (int, lambda facts: facts.findings.count("dismissed")),
    "dismissals": (tuple[ShownFinding, ...], show_dismissed),
    "undecided": (int, lambda facts: sum(entry.is_undecided for entry in facts.findings.open)),
    "failing": (int, lambda facts: len(list_failing(facts))),
    "failing_undecided": (
        int,
        lambda facts: sum(one.is_undecided or one.has_vanished for one in list_failing(facts)),
    ),
    "unseen": (int, lambda facts: len(list_unseen(facts))),
    "open_findings": (tuple[OpenFinding, ...], list_open),
    "unrepeated": (tuple[ShownFinding, ...], show_earlier),
    "coverage": (Coverage, lambda facts: facts.coverage),
    "at_limit": (bool, lambda facts: facts.is_at_limit),
    "has_replies": (bool, lambda facts: facts.has_replies),
    "scores": (tuple[Score, ...], lambda facts: facts.record.scores),
    "file_summaries": (tuple[FileSummary, ...], lambda facts: list_summaries(facts, None)),
    "merge": (MergeState | None, lambda facts: facts.merge),
    "reviewers": (tuple[Reviewer, ...], lambda facts: facts.reviewers),
    "suggested_title": (str, lambda facts: _find_suggested_title(facts)),
}
"""The type and the value of each variable of comments."""


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
    review = ask_parts(job.asking, facts)
    looked = look_again(job, review)
    replies = job.asking.follow_up(review.reply, prompt_variables(looked.facts))
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


@dataclass(frozen=True, slots=True)
class AskedParts:
    """The joined reply about all parts of the changes, and the facts with the parts that were not
    answered or shown.
    """

    facts: PullRequestFacts
    reply: Reply
    missing: str  # a sentence about parts without a reply; "" if there are none


def ask_parts(asking: Asking, facts: PullRequestFacts) -> AskedParts:
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
            replies[number] = asking.ask(asking.first, prompt_variables(part), index)
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
    asking = job.asking
    if VERIFY_PROMPT not in asking.library.prompts:
        return SecondLookResult(review.facts)
    facts = _look_up(job, review.facts.with_reply(review.reply.fields))
    look_variables = verification_variables(facts, facts.reply)
    if look_variables is None:
        return SecondLookResult(facts)
    try:
        verdicts = asking.ask(VERIFY_PROMPT, look_variables, VERIFICATION)
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
    looked_up = job.look_up(LookedUp, partial(look_up, facts, names))
    return replace(facts, looked_up=looked_up or LookedUp())


def list_comment_variables(facts: PullRequestFacts, reply: ReplyFields) -> Mapping[str, object]:
    facts = facts.with_reply(reply)
    variables = {name: value(facts) for name, (_, value) in COMMENT_VARIABLES.items()}
    scores = lowest_scores([reply]) or facts.record.scores
    return {**variables, "scores": scores, "file_summaries": list_summaries(facts, reply)}


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
    replies = _plan_replies(facts)
    comments = _plan_comment(facts, analysis)
    requests = _plan_requests(facts, analysis)
    if not analysis.replies and not facts.unanswered:  # a reply that HLS wrote reviews nothing
        unasked = dict.fromkeys(range(len(facts.selection.calls)), "Claude was not asked")
        facts = replace(facts, unanswered=unasked)
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
    if facts.summary == "always" or facts.reviewers or _find_suggested_title(facts):
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


def list_inline(facts: PullRequestFacts) -> Mapping[str, Mapping[str, object]]:
    """Return the variables of the review comment for each finding that gets one, by the key of the
    finding.
    """
    return {
        entry.key: {"finding": to_shown(facts, entry, located, is_inline=False), "is_inline": True}
        for entry, located in facts.findings.inline
    }


def prompt_variables(facts: PullRequestFacts) -> Mapping[str, object]:
    return {name: value(facts) for name, (_, value) in VARIABLES.items()}


def verification_variables(
    facts: PullRequestFacts, reply: ReplyFields | None
) -> Mapping[str, object] | None:
    """Return the variables of the prompt `VERIFY_PROMPT`; None if there is nothing to look at
    again.
    """
    if not facts.is_review:
        return None
    look = plan_second_look(facts.with_reply(reply))
    if not look.candidates:
        return None
    texts = {"candidates": look.candidates, "files": look.files, "second_sites": look.second_sites}
    return {**prompt_variables(facts), **texts}


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
    asked_for = commit
    if receipt == NO_CALLS:  # of the last review: a title edit must not take it away
        receipt = facts.record.receipt
        asked_for = facts.record.asked_for
    if not facts.shows_cost:
        receipt = replace(receipt, cost_usd=None)
    ended = EndedReview(
        commit,
        facts.coverage,
        [*(entry for entry, _ in review.raised), *review.ledger],
        receipt,
        notes=_list_notes(facts, left_out),
        commented=[entry.key for entry, _ in review.inline],
        asked_for=asked_for,
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
        notes.append(_describe_limit(facts))
    if facts.second_sites:
        notes.append(f"Compared with {describe_sites(facts.second_sites)}.")
    if facts.unasked:
        notes.append(f"Claude was not asked about {sanitize_inline(facts.why_unasked)}.")
    return [*notes, *(f"{what}: {why}." for what, why in reasons.items() if why)]


def _describe_limit(facts: PullRequestFacts) -> str:
    reached = "This pull request has reached its limit on cost."
    if facts.has_replies:
        reached = (
            "This review was only partly done when the pull request reached its limit on cost."
        )
    return f"{reached} `/review` of a person with write permission continues for one more review."


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
    new_record = replace(
        record,
        blocks=list_blocks(facts),
        skipped=facts.skipped,
        suggested_title=_find_suggested_title(facts),
        ledger=(*_mark_told(facts), *raised),
        next_number=max([record.next_number, *(entry.number + 1 for entry in raised)]),
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


def _find_suggested_title(facts: PullRequestFacts) -> str:
    return select_suggested_title(facts.reply, facts.title_types, facts.record.suggested_title)


def _repeat_reply(facts: PullRequestFacts) -> ReplyFields:
    """Return the last review's type and summary as a reply without findings."""
    values: dict[str, Any] = {"type": facts.record.kind, "summary": facts.record.summary}
    return PullRequestAnalysis.model_construct(
        **values, earlier=[], findings=[], suggested_labels=[]
    )


def _show_title_types(facts: PullRequestFacts) -> str:
    if facts.call:  # only the first call is asked for a title
        return ""
    return ", ".join(facts.title_types)


def _plan_replies(facts: PullRequestFacts) -> tuple[EnsureReply, ...]:
    """Return at most one reply for each thread, so that its last word is true, and one for all
    findings that this push removed from the diff.
    """
    gone = _list_newly_gone(facts)
    replies: list[EnsureReply] = []
    for entry in facts.findings.ledger:
        if entry.comment_id is not None and entry.key in facts.own_replies:
            replies += _plan_reply(entry, entry.comment_id, gone, facts)
    return tuple(replies)


def _list_newly_gone(facts: PullRequestFacts) -> tuple[LedgerEntry, ...]:
    """Return the entries that are gone, and whose threads do not say so.

    The first one's thread may say so although no review has stored it: a review wrote that for all
    of them, and was killed before it stored its record.
    """
    entries: list[LedgerEntry] = []
    untold: list[LedgerEntry] = []
    for entry in facts.findings.ledger:
        has_thread = entry.comment_id is not None and entry.key in facts.own_replies
        if entry.state != "gone" or not entry.resolution or not has_thread or entry.dismissals:
            continue
        if not _last_word(entry, facts).startswith(FIXED):
            untold.append(entry)
        elif not entry.gone_at:
            entries.append(entry)
    return (*entries, *untold)


def _last_word(entry: LedgerEntry, facts: PullRequestFacts) -> str:
    """Return the key of the last reply about the state of a finding; "" if there is none."""
    if entry.told_elsewhere:
        return FIXED
    replies = reversed(facts.own_replies[entry.key])
    return next((key for key in replies if key.startswith((FIXED, OPEN_AGAIN))), "")


def _plan_reply(
    entry: LedgerEntry, thread: int, gone: Sequence[LedgerEntry], facts: PullRequestFacts
) -> tuple[EnsureReply, ...]:
    last = _last_word(entry, facts)
    commit = facts.pull_request.head_sha[:7]
    where = ""
    if entry.line is not None:
        where = f", line {entry.line}"
    if entry.is_closed:
        is_told = entry.dismissals or last.startswith(FIXED) or entry in gone[1:]
        if is_told or not entry.resolution:
            return ()
        key = FIXED
        if last:
            key = f"{FIXED}-{commit}"
        text = entry.resolution
        if entry in gone:
            text = _describe_gone(gone)
        return (EnsureReply(thread, key, text, ends_footer=True),)
    if last.startswith(FIXED):
        text = f"Open again since {commit}{where}."
        return (EnsureReply(thread, f"{OPEN_AGAIN}-{commit}", text),)
    is_decided = not entry.is_undecided and not entry.has_vanished
    replies = facts.own_replies[entry.key]
    if is_decided and entry.key in facts.resolved_in_vain and STILL_THERE not in replies:
        command = f"`/dismiss {entry.number}` of a person with write permission"
        text = f"Still there{where}. If it is not to be fixed: {command}."
        return (EnsureReply(thread, STILL_THERE, text),)
    return ()


def _describe_gone(gone: Sequence[LedgerEntry]) -> str:
    """Return the reply in the thread of the first of these findings, for all of them."""
    first, *others = gone
    numbers = [str(entry.number) for entry in others]
    if not numbers:
        return first.resolution
    if len(numbers) == 1:
        return f"No longer in the diff, nor is finding {numbers[0]}."
    numbers_text = f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"No longer in the diff, nor are findings {numbers_text}."


def _mark_told(facts: PullRequestFacts) -> tuple[LedgerEntry, ...]:
    """Return the ledger with when entries were gone, and whether a reply in another thread says
    so.
    """
    gone = _list_newly_gone(facts)
    entries: list[LedgerEntry] = []
    for entry in facts.findings.ledger:
        is_told = (entry.told_elsewhere and entry.is_closed) or entry in gone[1:]
        gone_at = 0
        if entry.state == "gone":
            gone_at = entry.gone_at or facts.round
        entries.append(replace(entry, told_elsewhere=is_told, gone_at=gone_at))
    return tuple(entries)
