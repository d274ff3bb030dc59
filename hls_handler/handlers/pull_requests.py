"""Handler for pull requests: selects the changes to review, and plans labels, one review and one
comment.

The first review reads all changes. A later review reads only lines that changed since, compared
patch against patch, and raises findings only on them, because a review must come to an end. Claude
is asked what became of an earlier finding if its lines changed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    FindingVerdicts,
    PullRequestAnalysis,
    Receipt,
    Reply,
    ReplyFields,
    find_review,
    lowest_scores,
)
from hls_handler.deliveries import FIRST_PART, VERIFICATION, End
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.events import Event
from hls_handler.handlers.handler import Handler, SkipReason, find_conversation, plan_comment
from hls_handler.handlers.job import (
    VERIFY_PROMPT,
    Asking,
    FactSource,
    Guard,
    Job,
    Replies,
    describe_failure,
    join_replies,
)
from hls_handler.handlers.labels import describe_missing, plan_labels
from hls_handler.handlers.pull_request_input import (
    FAMILY,
    SUMMARIES,
    describe_context,
    describe_sites,
    gather,
)
from hls_handler.review.blocks import Block, match_blocks
from hls_handler.review.coverage import count_reasons, find_unread, leave_out
from hls_handler.review.facts import LookedUp, PullRequestFacts, list_parts
from hls_handler.review.finding_views import find_urls, mark_mentioned, plan_replies
from hls_handler.review.record import ReviewRecord
from hls_handler.review.second_look import apply_second_look, list_names
from hls_handler.review.surroundings import look_up
from hls_handler.review.variables import (
    COMMENT_VARIABLES,
    VARIABLES,
    find_suggested_title,
    list_comment_variables,
    list_inline,
    list_summaries,
    prompt_variables,
    verification_variables,
)
from hls_handler.review.wanted_check import EndedReview, plan_check
from hls_handler.untrusted.markdown import sanitize_inline
from hls_handler.wording import count, was_or_were


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
        notes.append(_describe_limit(facts))
    if facts.second_sites:
        notes.append(f"Compared with {describe_sites(facts.second_sites)}.")
    if facts.unread_findings:
        findings = sanitize_inline(facts.describe_unread_findings())
        notes.append(f"Claude was not asked about {findings}.")
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


MAX_PAST_BLOCKS = 500  # of a file, that were reviewed and are not in its patch any more


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
        of_file = blocks.get(name, ())
        same = match_blocks(of_file, read)
        current: list[Block] = []
        # indexes of known blocks; one that was away in between is there anew
        stayed: set[int] = set()
        for index, placed in enumerate(read):
            at = same.get(index)
            if at is not None and not of_file[at].until:
                stayed.add(at)
                current.append(replace(placed.block, round=of_file[at].round))
            else:
                current.append(replace(placed.block, round=facts.round))
        past = [
            replace(block, until=block.until or facts.record.rounds)
            for index, block in enumerate(of_file)
            if index not in stayed
        ]
        if current or past:
            blocks[name] = (*current, *past[:MAX_PAST_BLOCKS])
    return blocks


log = logging.getLogger(__name__)


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

    def read(source: FactSource) -> LookedUp:
        head = source.reader.files_at(facts.pull_request.head_sha)
        return look_up(facts, names, head, source.limits.ignored_paths)

    looked_up = job.look_up(LookedUp, read)
    return replace(facts, looked_up=looked_up or LookedUp())
