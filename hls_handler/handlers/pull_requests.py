"""Handler for pull requests: selects the changes to review, and plans labels, one review and one
comment.

The first review reads all changes. A later review reads only lines that changed since, compared
patch against patch, and raises findings only on them, because a review must come to an end. Claude
is asked what became of an earlier finding if its lines changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from hls_handler.actions import (
    Action,
    EnsureCheck,
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
    Score,
    ValidReply,
    find_review,
    lowest_scores,
)
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.events import Event, PullRequest
from hls_handler.github.values import (
    NO_CONTEXT,
    ChangedFile,
    GuidanceFile,
    LinkedIssue,
    MergeState,
    RepositoryLabel,
    ReviewContext,
)
from hls_handler.handlers.asking import (
    FIRST_PART,
    NO_BUDGET,
    NO_REPLY,
    VERIFICATION,
    VERIFY_PROMPT,
    Answers,
    Asking,
    describe_failure,
    join_replies,
)
from hls_handler.handlers.changed_files import (
    MAX_CALLS,
    PatchedFile,
    Selection,
    leave_out,
    may_have_calls,
    number_patch,
    redact_patch,
    select_files,
)
from hls_handler.handlers.check import find_title_problem, plan_check, select_suggested_title
from hls_handler.handlers.committed_credentials import find_credentials, follow_credentials
from hls_handler.handlers.finding_views import (
    EarlierFinding,
    ShownFinding,
    list_asked,
    list_failing,
    list_known,
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
    check_conversation,
    find_conversation,
    parse_comment_state,
    plan_comment,
    read_offer,
    web_url,
)
from hls_handler.handlers.job import Guard, Job, PromptLimits, Result, Source
from hls_handler.handlers.labels import plan_labels
from hls_handler.handlers.linguist import parse_attributes
from hls_handler.handlers.present_lines import FoundLines, find_present_lines
from hls_handler.handlers.pull_request_facts import (
    EXCERPT_TOKENS,
    QUESTION_TOKENS,
    PullRequestFacts,
    ReviewFindings,
    Size,
    count_summarized,
    find_failing,
    list_blocks,
    list_parts,
    list_summaries,
    list_to_ask,
    plan_questions,
)
from hls_handler.handlers.reader import Reader
from hls_handler.handlers.review_input import (
    describe_context,
    find_present,
    limit_context,
    read_changed_files,
    read_context,
    read_discussion,
    read_merge_state,
    read_reviewers,
    read_surroundings,
    read_unshown,
)
from hls_handler.handlers.second_look import (
    Candidate,
    SecondLook,
    apply_second_look,
    plan_second_look,
)
from hls_handler.handlers.skipped_files import SkippedFile, count_lines
from hls_handler.review.coverage import Coverage, count_reasons
from hls_handler.review.dismissals import FIXED, OPEN_AGAIN, STILL_THERE
from hls_handler.review.ledger import PresentFiles, apply_threads, find_departed, follow
from hls_handler.review.record import NO_REVIEW, LedgerEntry, ReviewRecord
from hls_handler.review.reviewers import Reviewer
from hls_handler.review.second_sites import SecondSite, describe_sites
from hls_handler.untrusted.markdown import sanitize_inline
from hls_handler.wording import count, was_or_were

log = logging.getLogger(__name__)

FAMILY = "pull_requests"

SUMMARIES = TypeAdapter(tuple[FileSummary, ...])
"""The state of the comment: the sentences about changed files (`comments.files`)."""

VARIABLES: Mapping[str, tuple[object, Callable[[PullRequestFacts], object]]] = {
    "pull_request": (PullRequest, lambda facts: facts.pull_request),
    "files": (tuple[PatchedFile, ...], lambda facts: facts.files),
    "second_sites": (tuple[SecondSite, ...], lambda facts: facts.second_sites),
    "skipped": (tuple[SkippedFile, ...], lambda facts: facts.selection.skipped),
    "unlisted": (int, lambda facts: facts.unlisted),
    "summarized_files": (int, count_summarized),
    "size": (Size, lambda facts: facts.size),
    "title_types": (str, lambda facts: "" if facts.call else ", ".join(facts.title_types)),
    "round": (int, lambda facts: facts.round),
    "part": (int, lambda facts: 1 if facts.call is None else facts.call + 1),
    "parts": (int, lambda facts: len(facts.selection.calls)),
    "earlier_kind": (str, lambda facts: facts.record.kind),
    "earlier_summary": (str, lambda facts: facts.record.summary),
    "known_findings": (tuple[EarlierFinding, ...], list_known),
    "earlier_findings": (tuple[EarlierFinding, ...], list_asked),
    "guidance": (tuple[GuidanceFile, ...], lambda facts: facts.context.guidance),
    "linked_issues": (tuple[LinkedIssue, ...], lambda facts: facts.context.linked_issues),
    "candidates": (
        tuple[Candidate, ...],
        lambda _: (),
    ),  # only the prompt of the second look has some
    "repository_labels": (
        tuple[RepositoryLabel, ...],
        lambda facts: facts.offer.labels if facts.offer else (),
    ),
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
    "held_back": (int, lambda facts: facts.found.held_back),
    "fixed": (int, lambda facts: facts.found.count("fixed")),
    "still_open": (int, lambda facts: facts.found.count("open")),
    "gone": (int, lambda facts: facts.found.count("gone")),
    "dismissed": (int, lambda facts: facts.found.count("dismissed")),
    "dismissals": (tuple[ShownFinding, ...], show_dismissed),
    "undecided": (int, lambda facts: sum(entry.is_undecided for entry in facts.found.open)),
    "failing": (int, lambda facts: len(list_failing(facts))),
    "failing_undecided": (
        int,
        lambda facts: sum(one.is_undecided or one.has_vanished for one in list_failing(facts)),
    ),
    "unseen": (int, lambda facts: len(list_unseen(facts))),
    "still_counted": (
        int,
        lambda facts: facts.found.count("dismissed", by_readers=True) * facts.review.check,
    ),
    "unrepeated": (tuple[ShownFinding, ...], show_earlier),
    "coverage": (Coverage, lambda facts: facts.coverage),
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
    facts_version = 45
    facts_since = 38
    variable_types: Mapping[str, object] = {name: kind for name, (kind, _) in VARIABLES.items()}
    comment_variable_types: Mapping[str, object] = {
        name: kind for name, (kind, _) in COMMENT_VARIABLES.items()
    }
    superseded_by_push = True
    superseded_by_newer_answer = True

    def run(self, job: Job) -> Result:
        facts = job.record(PullRequestFacts, gather)
        guard = Guard(facts.pull_request.head_sha)
        job.require(guard)
        skipped = find_skip_reason(facts)
        if skipped is not None and skipped.reply is None:
            return job.post_check(plan_review_check(facts.without_inline, NO_CALLS), skipped.reason)
        job.choose(find_conversation(job.event, job.rule))
        if skipped is not None and skipped.reply is not None:
            return _post_static(job, facts, skipped.reply, skipped.reason)
        job.note(omitted=describe_omissions(facts), sent=describe_context(facts))
        if facts.check_commit is not None:
            job.begin_check(facts.check_commit)
        try:
            review = ask_review(job, facts)
        except BudgetExceeded as exc:
            unanswered = dict.fromkeys(range(len(list_parts(facts))), NO_BUDGET)
            reply = _repeat_reply(facts)
            return _post_static(job, replace(facts, unanswered=unanswered), reply, str(exc))
        return _post_review(job, review, guard)

    def variables(self, facts: PullRequestFacts) -> Mapping[str, object]:
        return prompt_variables(facts)


def _post_static(job: Job, facts: PullRequestFacts, reply: Reply, reason: str) -> Result:
    """Post what follows without a reply of Claude. `reply` takes its place in the comment."""
    facts = facts.without_inline
    guard = Guard(facts.pull_request.head_sha)
    variables = {**prompt_variables(facts), **list_comment_variables(facts, reply)}
    analysis = job.render_static(reply, variables)
    result = job.post(*plan(job.event, facts, analysis), reason=reason, unless=guard)
    if facts.is_review:
        job.store_review(make_record(facts, analysis, {}))
    return result


@dataclass(frozen=True, slots=True)
class AskedReview:
    """The replies to all prompts, what they decided, and the comments that show it."""

    facts: PullRequestFacts
    answers: Answers
    analysis: Analysis


def ask_review(job: Job, facts: PullRequestFacts) -> AskedReview:
    """Ask about the parts of the changes, for a second look, and the follow-up prompts.

    Raises `BudgetExceeded` if no part gets a reply because of it.
    """
    review = ask_parts(job.asking, facts)
    looked = look_again(job.asking, review)
    job.note(unanswered=review.missing, unverified=looked.unverified)
    answers = job.asking.follow_up(review.reply, prompt_variables(looked.facts))
    last = find_review(answers.answers)
    facts = looked.facts.with_reply(last.reply if last is not None else None)
    return AskedReview(facts, answers, _render(job, facts, answers))


def _render(job: Job, facts: PullRequestFacts, answers: Answers) -> Analysis:
    variables = {**prompt_variables(facts), **list_comment_variables(facts, answers.shown)}
    return job.render(answers, variables, list_inline(facts))


def _post_review(job: Job, review: AskedReview, guard: Guard) -> Result:
    """Post the review, and then what depends on the comments that GitHub accepted."""
    facts = review.facts
    reason = review.answers.left_out
    actions = plan(job.event, facts, review.analysis)
    if not any(isinstance(action, EnsureReview) for action in actions):
        result = job.post(*actions, reason=reason, unless=guard)
        if facts.is_review:
            job.store_review(make_record(facts, review.analysis, {}))
        return result
    first, later = _split(actions)
    outcome = job.write(*first, later=later, unless=guard)[-1]
    if facts.is_review:
        job.store_review(make_record(facts, review.analysis, outcome.comment_ids))
    if outcome.rejected:
        rejected = frozenset(outcome.rejected)
        now = replace(facts, not_inline=rejected, comment_ids=dict(outcome.comment_ids))
        _, later = _split(plan(job.event, now, _render(job, now, review.answers)))
    return job.post(*later, reason=reason, unless=guard)


def _split(actions: Sequence[Action]) -> tuple[list[Action], list[Action]]:
    """Return labels and the review, and the actions that depend on what GitHub does with it."""
    first: list[Action] = [one for one in actions if isinstance(one, EnsureLabels | EnsureReview)]
    later: list[Action] = [
        one for one in actions if not isinstance(one, EnsureLabels | EnsureReview)
    ]
    return first, later


def gather(source: Source) -> PullRequestFacts:
    """Read the pull request, its changes and what is known of earlier reviews."""
    event = source.event
    reader = source.reader
    history = source.history
    limits = source.limits
    # parse_event rejects a `pull_request` event without one
    assert event.pull_request is not None
    payload = event.pull_request
    pull_request = payload if event.is_recent else reader.pull_request(payload.number)
    check_conversation(event, pull_request)
    listed = read_changed_files(event, pull_request, reader)
    texts = {file.path: number_patch(file.patch) for file in listed if file.patch}
    patches = {path: redact_patch(text) for path, text in texts.items()}
    unlisted = max(pull_request.changed_files - len(listed), 0)
    is_review = limits.is_review and not event.is_closing
    is_full = event.is_full_review_requested
    record = history.review(pull_request.number) if is_review else NO_REVIEW
    discussion = read_discussion(pull_request.number, reader, record.ledger)
    ignored = limits.ignored_paths
    unshown = read_unshown(listed, pull_request, reader, ignored) if is_review else {}
    files = find_present(listed, patches, unlisted, record, unshown)
    credentials = find_credentials(texts, limits.ignored_paths)
    ledger = follow_credentials(follow(record, files), credentials, files)
    ledger = apply_threads(ledger, discussion.threads, writers=discussion.writers)
    followed = replace(record, ledger=ledger)
    in_vain = discussion.find_resolved_in_vain(ledger)
    fail_on = limits.review.fail_on if limits.review.check else None
    is_requested = event.requested_review in ("new", "full")
    wanted = list_to_ask(followed.ledger, fail_on=fail_on, asks_all=is_requested)
    new = files.find_new({} if is_full else record.read_blocks)
    tokens = max(limits.input_tokens - QUESTION_TOKENS * len(wanted), limits.input_tokens // 2)
    most = MAX_CALLS if is_review else 1
    select = partial(
        select_files,
        listed,
        patches,
        new=new,
        ignored_paths=ignored,
        max_calls=most,
        unshown=unshown,
    )
    selection = select(tokens=tokens)
    context = NO_CONTEXT
    problem = ""
    if is_review and may_have_calls(selection):
        selection, context, problem = _add_context(
            selection, select, pull_request, reader, limits, tokens
        )
    reads_merge = is_review and limits.review.merge_state
    merge, merge_problem = (
        read_merge_state(pull_request, reader, discussion.threads) if reads_merge else (None, "")
    )
    resolved = in_vain if event.requested_review == "conclude" else frozenset()
    departed = find_departed(record.ledger, ledger, files)
    is_push = event.requested_review is None and record.asked_for != pull_request.head_sha
    failing = find_failing(wanted, fail_on) if is_push else frozenset()
    selection = _with_call_for(
        selection, wanted, is_requested=is_requested, urgent=resolved | departed | failing
    )
    now = FoundLines()
    if selection.calls:
        now = find_present_lines(
            wanted, followed, files, listed, reader.files_at(pull_request.head_sha)
        )
        wanted = [one for one in wanted if one.number in now.lines]
        selection = selection if wanted or any(selection.calls) else replace(selection, calls=())
    reviewers = record.reviewers if limits.reviewers else ()
    is_first = not record.rounds
    if limits.reviewers and is_first and selection.calls:
        reviewers = read_reviewers(pull_request, selection.files, reader)
    posted = history.comment_state(pull_request.number, FAMILY) if limits.sums_up_files else None
    return PullRequestFacts(
        pull_request,
        selection,
        unlisted=unlisted,
        size=_to_size(count_lines(listed, selection.skipped)),
        left_out_by=limits.ignored_paths.where,
        shown=limits.shown,
        review=limits.review,
        summary=limits.summary,
        record=followed,
        credentials=credentials,
        skipped=_list_skipped(listed, files, selection),
        is_review=is_review,
        is_full=is_full,
        context=replace(context, attributes=""),
        context_problem=problem,
        own_replies=discussion.own_replies,
        resolved_in_vain=in_vain,
        unread=frozenset(files.unread),
        questions=plan_questions(selection, wanted),
        present_lines=now.lines,
        code_lines=now.code,
        unasked=now.unread,
        offer=read_offer(reader, limits),
        merge=merge,
        merge_problem=merge_problem,
        title_types=(
            limits.title_types if find_title_problem(pull_request.title, limits.title_types) else ()
        ),
        file_summaries=parse_comment_state(SUMMARIES, posted) if limits.sums_up_files else None,
        reviewers=reviewers,
        requests_reviewers=is_first and limits.reviewers == "request",
        look_tokens=min(EXCERPT_TOKENS, limits.input_tokens),
    )


def find_skip_reason(facts: PullRequestFacts) -> SkipReason | None:
    selection = facts.selection
    if selection.calls:
        return None
    if facts.record.rounds and facts.is_review:
        what = (
            "nothing that fits into a call changed"
            if any(selection.new.values())
            else "nothing changed"
        )
        return SkipReason(
            f"{what} since the last review, so Claude was not asked", _repeat_reply(facts)
        )
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
    reasons = [file.reason for file in files if file.reason] + [
        "beyond those that GitHub lists"
    ] * facts.unlisted
    number = len(reasons)
    total = count(len(files) + facts.unlisted, "file")
    shown = f"{number} of {total} {was_or_were(number)} not shown as a whole"
    described = f"{shown}: {count_reasons(reasons)}" if reasons else ""
    return "; ".join(part for part in (described, facts.unlisted_labels) if part)


@dataclass(frozen=True, slots=True)
class AskedParts:
    """The joined reply about all parts of the changes, and the facts with the parts that were not
    answered or shown.
    """

    facts: PullRequestFacts
    reply: ValidReply
    missing: str  # a sentence about parts without a reply; "" if there are none


def ask_parts(asking: Asking, facts: PullRequestFacts) -> AskedParts:
    """Ask about each part of the changes. If a part gets no usable reply, the others count.

    Raises the last error if no part gets one.
    """
    parts = list_parts(facts)
    failed: Permanent | None = None
    replies: dict[int, ValidReply] = {}
    unanswered: dict[int, str] = {}
    for number, part in enumerate(parts):
        index = FIRST_PART + number if number else 0
        try:
            replies[number] = asking.ask(asking.first, prompt_variables(part), index)
        except BudgetExceeded as exc:
            failed = exc
            unanswered |= dict.fromkeys(range(number, len(parts)), NO_BUDGET)
            break
        except Permanent as exc:
            failed = exc
            unanswered[number] = NO_REPLY
    if not replies:
        assert failed is not None
        raise failed
    unshown = {number: reply.unshown for number, reply in replies.items() if reply.unshown}
    lost = {
        number: reply.lost["findings"]
        for number, reply in replies.items()
        if "findings" in reply.lost
    }
    selection = leave_out(facts.selection, unshown) if unshown else facts.selection
    missing = ""
    if unanswered:
        missing = f"{len(unanswered)} of {len(parts)} parts of the changes: {failed}"
    facts = replace(facts, unanswered=unanswered, selection=selection, lost=lost)
    return AskedParts(facts, join_replies(list(replies.values())), missing)


@dataclass(frozen=True, slots=True)
class SecondLookResult:
    """The facts with what the second look decided."""

    facts: PullRequestFacts
    unverified: str = ""  # why the findings were not verified; "" if they were


def look_again(asking: Asking, review: AskedParts) -> SecondLookResult:
    """Ask Claude to refute the findings of the reply, and earlier ones of which some lines changed.

    Without a usable reply, all are kept.
    """
    if not asking.is_verified or VERIFY_PROMPT not in asking.library.prompts:
        return SecondLookResult(review.facts)
    facts = review.facts.with_reply(review.reply.reply)
    asked = verification_variables(facts, facts.reply)
    if asked is None:
        return SecondLookResult(facts)
    try:
        verdicts = asking.ask(VERIFY_PROMPT, asked, VERIFICATION)
    except Permanent as exc:
        log.warning("findings were not verified", extra={"reason": str(exc)})
        return SecondLookResult(replace(facts, unverified=describe_failure(exc)), str(exc))
    if not isinstance(verdicts.reply, FindingVerdicts):
        return SecondLookResult(facts)
    return SecondLookResult(apply_second_look(facts, verdicts.reply))


def list_comment_variables(facts: PullRequestFacts, reply: Reply) -> Mapping[str, object]:
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
    review = find_review(analysis.answers)
    facts = facts.with_reply(review.reply if review is not None else None)
    result = facts.found
    is_found = result.raised or result.unlocated or result.open or not facts.coverage.is_complete
    suggests = bool(facts.reviewers or _find_suggested_title(facts))
    is_shown = review is not None and analysis.answers[analysis.comment_index] is review
    create = (
        facts.summary == "always"
        or suggests
        or bool(is_found if is_shown else analysis.worth_saying)
    )
    comments = plan_comment(analysis, FAMILY, create=create and bool(analysis.answers))
    if facts.file_summaries is not None:
        state = SUMMARIES.dump_json(list_summaries(facts, facts.reply)).decode()
        comments = tuple(replace(comment, state=state) for comment in comments)
    comments_inline = tuple(
        InlineComment(
            entry.key,
            found.path,
            found.side,
            found.start_line,
            found.line,
            analysis.inline[entry.key],
        )
        for entry, found in ((entry, located.finding) for entry, located in result.inline)
        if entry.key in analysis.inline
    )
    reviews = (
        (EnsureReview(facts.pull_request.head_sha, comments_inline),) if comments_inline else ()
    )
    if not analysis.answers and not facts.unanswered:  # a reply that HLS wrote reviews nothing
        facts = replace(
            facts,
            unanswered=dict.fromkeys(range(len(facts.selection.calls)), "Claude was not asked"),
        )
    checks = plan_review_check(facts, analysis.receipt, left_out=analysis.left_out)
    people = (
        tuple(one.name for one in facts.reviewers if one.is_person)
        if facts.requests_reviewers
        else ()
    )
    requests = (RequestReviewers(people),) if people and analysis.answers else ()
    return (*labels, *reviews, *_plan_replies(facts, result), *comments, *requests, *checks)


def list_inline(facts: PullRequestFacts) -> Mapping[str, Mapping[str, object]]:
    """Return the variables of the review comment for each finding that gets one, by the key of the
    finding.
    """
    return {
        entry.key: {"finding": to_shown(facts, entry, located, is_inline=False), "is_inline": True}
        for entry, located in facts.found.inline
    }


def prompt_variables(facts: PullRequestFacts) -> Mapping[str, object]:
    return {name: value(facts) for name, (_, value) in VARIABLES.items()}


def verification_variables(
    facts: PullRequestFacts, reply: Reply | None
) -> Mapping[str, object] | None:
    """Return the variables of the prompt `VERIFY_PROMPT`; None if there is nothing to look at
    again.
    """
    look = plan_second_look(facts.with_reply(reply)) if facts.is_review else SecondLook(())
    shown = {"candidates": look.candidates, "files": look.files, "second_sites": look.second_sites}
    return {**prompt_variables(facts), **shown} if look.candidates else None


def plan_review_check(
    facts: PullRequestFacts, receipt: Receipt, *, left_out: str = ""
) -> tuple[EnsureCheck, ...]:
    """Return the check of a review; () if it sets none. `left_out` is a follow-up prompt without a
    reply, and why.
    """
    commit = facts.check_commit
    if commit is None:
        return ()
    found = facts.found
    asked_for = commit
    not_again = "; ".join(dict.fromkeys(facts.incomplete.values())) if facts.known_blocks else ""
    if receipt == NO_CALLS:  # of the last review: a title edit must not take it away
        receipt = facts.record.receipt
        asked_for = facts.record.asked_for
    reasons = {
        "The findings were not verified": facts.unverified,
        "Labels were not listed": facts.unlisted_labels,
        "Guidance, issues and `.gitattributes` are missing": sanitize_inline(facts.context_problem),
        "What prevents the merge was not read": sanitize_inline(facts.merge_problem),
        "Other places of the repository were not read": sanitize_inline(facts.selection.unsearched),
        "A follow-up prompt was left out": left_out,
        "Not everything was read again, so earlier reviews count": not_again,
    }
    notes = [f"Compared with {describe_sites(facts.second_sites)}."] if facts.second_sites else []
    if facts.unasked:
        notes.append(f"Claude was not asked about {sanitize_inline(facts.why_unasked)}.")
    findings = [*(entry for entry, _ in found.raised), *found.ledger]
    check = plan_check(
        commit,
        facts.coverage,
        findings,
        facts.review,
        receipt,
        notes=[*notes, *(f"{what}: {why}." for what, why in reasons.items() if why)],
        commented=[entry.key for entry, _ in found.inline],
        asked_for=asked_for,
    )
    return (check,)


def make_record(
    facts: PullRequestFacts, analysis: Analysis, comment_ids: Mapping[str, int]
) -> ReviewRecord:
    """Return what to store of a review. `comment_ids` are the ids of its review comments, by key of
    the finding.
    """
    answer = find_review(analysis.answers)
    facts = facts.with_reply(answer.reply if answer is not None else None)
    reply = facts.reply
    record = facts.record
    was_asked = analysis.receipt != NO_CALLS
    raised = tuple(
        replace(
            entry,
            prompt_id=answer.prompt_id if answer else "",
            comment_id=comment_ids.get(entry.key),
        )
        for entry, _ in facts.found.raised
    )
    return ReviewRecord(
        rounds=record.rounds + (reply is not None),
        blocks=list_blocks(facts),
        skipped=facts.skipped,
        receipt=analysis.receipt if was_asked else record.receipt,
        asked_for=facts.pull_request.head_sha if was_asked else record.asked_for,
        kind=reply.type if reply is not None else record.kind,
        summary=reply.summary if reply is not None else record.summary,
        suggested_title=_find_suggested_title(facts),
        ledger=(*facts.found.ledger, *raised),
        next_number=max([record.next_number, *(entry.number + 1 for entry in raised)]),
        scores=lowest_scores([reply]) or record.scores,
        reviewers=facts.reviewers,
    )


def _find_suggested_title(facts: PullRequestFacts) -> str:
    return select_suggested_title(facts.reply, facts.title_types, facts.record.suggested_title)


def _repeat_reply(facts: PullRequestFacts) -> Reply:
    """Return the last review's type and summary as a reply without findings."""
    known: dict[str, Any] = {"type": facts.record.kind, "summary": facts.record.summary}
    return PullRequestAnalysis.model_construct(
        **known, earlier=[], findings=[], suggested_labels=[]
    )


def _to_size(lines: int) -> Size:
    return "small" if lines < 50 else "medium" if lines < 200 else "large"


def _list_skipped(
    listed: Sequence[ChangedFile], files: PresentFiles, selection: Selection
) -> dict[str, tuple[str, int]]:
    """Return `ReviewRecord.skipped`, without files that add no text: that does not show that their
    code was there.
    """
    adding = [
        file for file in listed if file.status != "renamed" or file.additions or file.deletions
    ]
    skipped = {one.path for one in selection.skipped if one.reason != "changed in blank lines only"}
    return {
        file.path: (file.sha or "", files.skipped[file.path])
        for file in adding
        if file.path in skipped
    }


def _add_context(
    selection: Selection,
    select: Callable[..., Selection],
    pull_request: PullRequest,
    reader: Reader,
    limits: PromptLimits,
    tokens: int,
) -> tuple[Selection, ReviewContext, str]:
    """Return the selection with the lines around its hunks, what a review shows besides, and what
    could not be read.

    `select` is called again if the context leaves fewer tokens, or if `.gitattributes` excludes
    files.
    """
    context, problem = read_context(pull_request, reader, limits.review)
    context, used = limit_context(context, limits.input_tokens // 2)
    tokens -= used
    attributes = None if problem else parse_attributes(context.attributes)
    if used or attributes is None or attributes.rules:
        selection = select(tokens=tokens, attributes=attributes)
    if limits.review.functions:
        files = reader.files_at(pull_request.head_sha)
        most = limits.review.context_tokens
        selection = read_surroundings(
            selection, files, limits.ignored_paths, tokens=tokens, most=most
        )
    return selection, context, problem


def _with_call_for(
    selection: Selection,
    wanted: Sequence[LedgerEntry],
    *,
    is_requested: bool,
    urgent: Collection[str],
) -> Selection:
    """Return the selection. If nothing is new but a finding needs a verdict, it has a call without
    files.

    A finding needs a verdict if a person asks for it, if the proof of its fix left the patch, or if
    it is undecided and `urgent` has its key: a person has just resolved its thread, its file has
    just become as in the base, or it fails the check of a commit for which Claude was not asked.
    """
    if selection.calls:
        return selection
    has_lost_proof = any(one.has_lost_proof and not one.is_absent for one in wanted)
    is_undecided = any(
        one.key in urgent and (one.has_vanished or one.is_undecided) for one in wanted
    )
    is_needed = wanted and (is_requested or has_lost_proof or is_undecided)
    return replace(selection, calls=((),)) if is_needed else selection


def _plan_replies(facts: PullRequestFacts, result: ReviewFindings) -> tuple[EnsureReply, ...]:
    """Return at most one reply for each thread, so that its last word is true."""
    replies: list[EnsureReply] = []
    for entry in result.ledger:
        reply = _choose_reply(entry, facts)
        if reply is not None and entry.comment_id is not None and entry.key in facts.own_replies:
            replies.append(EnsureReply(entry.comment_id, reply.key, reply.text))
    return tuple(replies)


@dataclass(frozen=True, slots=True)
class _Reply:
    key: str
    text: str


def _choose_reply(entry: LedgerEntry, facts: PullRequestFacts) -> _Reply | None:
    said = facts.own_replies.get(entry.key, ())
    last = next((key for key in reversed(said) if key.startswith((FIXED, OPEN_AGAIN))), "")
    commit = facts.pull_request.head_sha[:7]
    where = "" if entry.line is None else f", line {entry.line}"
    if entry.is_closed and not entry.dismissals and not last.startswith(FIXED):
        return (
            _Reply(f"{FIXED}-{commit}" if last else FIXED, entry.resolution)
            if entry.resolution
            else None
        )
    if not entry.is_closed and last.startswith(FIXED):
        return _Reply(f"{OPEN_AGAIN}-{commit}", f"Open again since {commit}{where}.")
    is_decided = not entry.is_closed and not entry.is_undecided and not entry.has_vanished
    if is_decided and entry.key in facts.resolved_in_vain and STILL_THERE not in said:
        text = f"Still there{where}; `/dismiss {entry.number}` if it is not to be fixed."
        return _Reply(STILL_THERE, text)
    return None
