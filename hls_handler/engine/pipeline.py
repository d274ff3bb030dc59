"""The pipeline: processes one claimed delivery, from its stored body to labels and a comment on GitHub.

    Event ─ route ─> Rule ─ gather ─> Facts ─ ask ─> Analysis ─ plan ─> [Action] ─ post ─> Outcome

`process_delivery` runs the steps up to the rule, `run_job` the others. A step's result is stored as a checkpoint before
the next call to Claude and the next write to GitHub, so a retry continues after the last stored step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, Literal

import msgspec
from pydantic import TypeAdapter

from hls_handler.actions import Action, EnsureLabels, Outcome
from hls_handler.analysis import Analysis
from hls_handler.deliveries import Lease
from hls_handler.engine.active_config import WorkerContext
from hls_handler.engine.asking import NO_BUDGET, Answers, analyse, analyse_static_reply, ask, prompt_limits
from hls_handler.engine.calls import OMISSIONS
from hls_handler.engine.commands import find_finding, run_command
from hls_handler.engine.commit_checks import begin_check
from hls_handler.engine.ignored_heads import end_ignored_check, outdate_check
from hls_handler.engine.job import ASK, Codec, Job, facts_codec
from hls_handler.engine.merge_groups import end_group_check
from hls_handler.engine.posting import (
    describe_label_correction,
    is_check_ended,
    post,
    post_unasked,
    record_label_correction,
    store_unposted,
)
from hls_handler.engine.repository_settings import (
    load_repository_settings,
    report_settings_problems,
    route_with_repository_settings,
)
from hls_handler.engine.shadow import prompt_result, run_shadow
from hls_handler.errors import BudgetExceeded, ConversationIgnored, PayloadError, Permanent, StepFailed, Superseded
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Conversation, Handler, SkipReason, check_conversation
from hls_handler.handlers.issues import has_open_requests
from hls_handler.queue.changes import Change, ConversationRef, Posted, ReviewChange
from hls_handler.routing import (
    Command,
    Ignored,
    IgnoredKind,
    LabelCorrection,
    QueueCheck,
    RoutingInput,
    Rule,
    find_label_correction,
    from_event,
    route,
    route_author_comment,
)
from hls_handler.settings.effective import without_entry
from hls_handler.store.calls import make_receipt
from hls_handler.tracing import span
from hls_handler.wording import count

RECENT_S = 60.0
"""A payload that is younger than this is analysed as it is. Before posting, the state is read in any case."""

RULE = Codec("route", 1, TypeAdapter(str))
"""Checkpoint of a sentence for `hls why`: the rule and the settings that admitted the event."""

CONTEXT = Codec("context", 1, TypeAdapter(str))
"""A sentence part about what Claude gets besides the event: "AGENTS.md (about 120 tokens)"."""


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of a delivery in which no step failed."""

    state: Literal["done", "ignored", "superseded"]
    reason: str  # a sentence
    kind: IgnoredKind | None = None  # the counter of an ignored delivery
    handler: str | None = None  # "IssueHandler"
    posting: Posted | None = None  # None if there was nothing to post
    changes: tuple[Change, ...] = ()  # to store in the transaction that finishes the delivery


def process_delivery(lease: Lease, context: WorkerContext) -> DeliveryResult:
    """Process a delivery and return the result. Raises `Postponed`, `Superseded`, `LeaseLost` or a `StepFailed`.

    The event is routed again, because settings, prompts and the bot account may have changed since it was received.
    """
    chosen = context.choose_account(lease.repository_id, lease.number)
    context = replace(context, github=chosen.github)
    event = _parse_event(lease)
    if event.installation_id is not None:
        context.github.remember_installation(event.repository.full_name, event.installation_id)
    if lease.attempt == 1 and _age_s(event, context.store.now()) < RECENT_S:
        event = replace(event, is_recent=True)
    steps = context.store.checkpoints.load(lease.guid) if lease.attempt > 1 else {}
    found = context.config.table.find(event.repository.full_name)
    effective = found or replace(without_entry(context.config.settings), enabled=False)
    rule, handler = Rule(event.key, prompt="", effective=effective, file=""), handler_for(event.name)
    job = Job(lease, context, context.config, event, chosen.bot, rule, handler, steps, others=chosen.others)
    routing_input = from_event(event)
    try:
        result = _process(job, routing_input)
    except ConversationIgnored as exc:
        result = DeliveryResult("ignored", str(exc), kind=exc.kind, handler=handler.name)
    outcome = None if result.kind is None else end_ignored_check(job, routing_input, result.kind, result.reason)
    if outcome is None:
        return result
    return replace(result, reason=f"{result.reason}; {outcome.detail}", changes=(*result.changes, *job.pending.take()))


def _process(job: Job, routing_input: RoutingInput) -> DeliveryResult:
    """Process a delivery. The rule of `job` has the settings of the event's repository, and no prompt."""
    lease, event, bot, config, store = job.lease, job.event, job.bot, job.config, job.store
    settings, table, catalogue = config.settings, config.table, config.library
    decide = partial(route, settings=settings, table=table, catalogue=catalogue, bot=bot, others=job.others)
    rule = decide(routing_input)
    if isinstance(rule, Command) and rule.thread is not None and find_finding(store, lease, bot, rule) is None:
        rule = decide(msgspec.structs.replace(routing_input, thread=None))  # the thread is not one of HLS
    if isinstance(rule, Ignored):
        return DeliveryResult("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, LabelCorrection):
        result = record_label_correction(store.corrections, lease, event, bot, rule, config.library)
        reason = describe_label_correction(result, rule.group)
        if not result.compared:
            return DeliveryResult("ignored", reason, kind="not a label of HLS")
        return DeliveryResult("done", reason)
    if isinstance(rule, QueueCheck):
        return _check_merge_group(job, rule)
    if isinstance(rule, Command):
        return _run_command(job, rule)
    correction = find_label_correction(
        routing_input, rule.effective, config.library, settings=config.settings, bot=bot, others=job.others
    )
    if isinstance(correction, LabelCorrection):  # an event can be a correction and have a prompt
        record_label_correction(store.corrections, lease, event, bot, correction, config.library)
    job = replace(job, rule=rule, handler=_handler_for(rule))
    outdate_check(job, routing_input)
    stop = store.stops.find(event.repository.id, lease.number) if lease.number is not None else None
    if stop is not None:
        return DeliveryResult("ignored", str(stop), kind="stopped")
    answer_rule = _find_answer_rule(job, routing_input)
    if answer_rule is not None:
        job = replace(job, rule=answer_rule, handler=_handler_for(answer_rule))
    elif rule.is_author_comment:
        return DeliveryResult("ignored", "the issue has no open checklist for its author", kind="nothing asked")
    try:
        with span("repository_settings"):
            job = load_repository_settings(job)
    except StepFailed:
        _plan_check(job)
        raise
    rule = route_with_repository_settings(job)
    if isinstance(rule, Ignored):
        return DeliveryResult("ignored", rule.reason, kind=rule.kind)
    ignored = _check_run_limit(replace(job, rule=rule))
    if ignored is not None:
        return ignored
    if (RULE.name, 0) not in job.steps:
        job.note(RULE, 0, rule.why(job.config.settings.sources))
    return run_job(replace(job, rule=rule))


def _check_merge_group(job: Job, rule: QueueCheck) -> DeliveryResult:
    job.note(RULE, 0, rule.why(job.config.settings.sources))
    outcome = end_group_check(job)
    if outcome is None:
        return DeliveryResult("ignored", "the repository's settings allow no check", kind="repository disabled")
    posting: Posted = "dry_run" if outcome.kind == "dry_run" else "done"
    return DeliveryResult("done", outcome.detail, posting=posting, changes=job.pending.take())


def _run_command(job: Job, command: Command) -> DeliveryResult:
    with span("repository_settings"):
        job = load_repository_settings(job)
    job.note(RULE, 0, command.why(job.config.settings.sources))
    with span("command", {"hls.command": command.name}):
        result = run_command(job, command)
    if isinstance(result, Ignored):
        return DeliveryResult("ignored", result.reason, kind=result.kind)
    return DeliveryResult("done", result.reason, posting=result.posting, changes=job.pending.take())


def run_job(job: Job) -> DeliveryResult:
    """Run all steps after routing. Raises `Postponed`, `Superseded`, `LeaseLost` or a `StepFailed`."""
    result = _run_steps(job)
    return replace(result, changes=job.pending.take())


def _run_steps(job: Job) -> DeliveryResult:
    with job.record_failure("analysis"):
        facts = _gather(job)
        _require_not_superseded(job, facts)
        skip_reason = job.handler.skip_reason(facts)
        conversation = job.handler.conversation(job.event, facts, job.rule)
        end_reason = _find_end_reason(job.handler, skip_reason, conversation)
    if end_reason is not None:
        return _end_unasked(job, facts, end_reason)
    with job.record_failure("analysis"):
        # The facts or the settings name the conversation, not the event.
        if conversation is not None and (job.lease.number is None or conversation.is_fallback_issue):
            job = _store_conversation_number(job, conversation)
            ignored = _check_run_limit(job)
            if ignored is not None:
                return ignored
            _check_fallback_issue(job, conversation)
        if skip_reason is not None and skip_reason.reply is not None:
            analysis, answered = analyse_static_reply(job, facts, skip_reason.reply), None
        else:
            omitted = job.handler.describe_omissions(facts)
            if omitted is not None:
                job.note(OMISSIONS, 0, omitted)
            sent = job.handler.describe_context(facts)
            if sent is not None:
                job.note(CONTEXT, 0, sent)
            commit = job.handler.check_commit(facts)
            if commit is not None and not is_check_ended(job):
                begin_check(job, commit)
            try:
                answered = ask(job, facts)
            except BudgetExceeded as exc:
                facts = job.handler.with_unanswered(
                    facts, dict.fromkeys(range(len(job.handler.split(facts))), NO_BUDGET)
                )
                reply = job.handler.static_reply(facts)
                if reply is None:
                    return _end_unasked(job, facts, str(exc))
                skip_reason = SkipReason(str(exc), reply)
                analysis, answered = analyse_static_reply(job, facts, reply), None
            else:
                facts = answered.facts
                analysis = analyse(job, answered, facts)
    analysis = _with_receipt(job, analysis)
    actions = _plan(job, facts, analysis, conversation)
    with job.record_failure("posting"), span("posting"):
        outcomes, posting = _post(job, facts, analysis, answered, actions, conversation)
    if analysis.answers:
        is_cached = any(answer.cached_at is not None for answer in analysis.answers)
        run_shadow(job, facts, prompt_result(analysis, actions), posting, is_cached=is_cached)
    reasons = [skip_reason.reason if skip_reason else "", answered.left_out if answered else ""]
    reasons = [*filter(None, reasons), *(outcome.detail for outcome in outcomes)]
    reason = "; ".join(reasons) or "analysed; nothing to post"
    return DeliveryResult("done", reason, handler=job.handler.name, posting=posting)


def _end_unasked(job: Job, facts: Any, reason: str) -> DeliveryResult:
    actions = job.handler.plan_unasked(facts)
    if not actions:
        return DeliveryResult("done", reason, handler=job.handler.name)
    with job.record_failure("posting"), span("posting"):
        outcomes = post_unasked(job, actions)
    reason = "; ".join([reason, *(outcome.detail for outcome in outcomes)])
    posting: Posted = "dry_run" if job.rule.effective.features.dry_run else "done"
    return DeliveryResult("done", reason, handler=job.handler.name, posting=posting)


def _parse_event(lease: Lease) -> Event:
    if not lease.body:
        raise Permanent(
            "the stored body is missing or damaged: check the database, then redeliver the delivery from GitHub"
        )
    try:
        return parse_event(lease.event, lease.guid, lease.body)
    except PayloadError as exc:
        raise Permanent(str(exc)) from exc


def _handler_for(rule: Rule) -> Handler[Any]:
    return handler_for(rule.event_key.partition(".")[0])


def _find_answer_rule(job: Job, routing_input: RoutingInput) -> Rule | None:
    """Return the rule that evaluates a comment by an issue's author, if HLS asked them for something; else None.

    This rule takes precedence over a reply to the comment.
    """
    rule = route_author_comment(
        routing_input,
        job.rule.effective,
        settings=job.config.settings,
        catalogue=job.config.library,
        bot=job.bot,
        others=job.others,
    )
    if not isinstance(rule, Rule) or job.lease.number is None:
        return None
    history = job.store.repositories.history(job.lease, job.bot.login)
    return rule if has_open_requests(history, job.lease.number) else None


def _age_s(event: Event, now: datetime) -> float:
    """Return the seconds since GitHub changed the event's issue or pull request; infinity if that is unknown."""
    changed = event.payload.get("pull_request") or event.payload.get("issue")
    try:
        updated_at = datetime.fromisoformat(changed["updated_at"]) if isinstance(changed, Mapping) else None
        return abs((now - updated_at).total_seconds()) if updated_at else inf
    except (KeyError, TypeError, ValueError):
        return inf


def _check_run_limit(job: Job) -> DeliveryResult | None:
    """Return the result of a delivery whose conversation had too many runs; None if it may run.

    A review that a person requested runs in any case.
    """
    if job.event.requested_review is not None:
        return None
    settings = job.config.settings
    runs, most = job.store.calls.count_conversation_runs(job.lease), settings.limits.thread_runs_per_hour
    if runs < most or (ASK, 0) in job.steps:  # a stored reply of Claude was paid for
        return None
    where = settings.sources.where("limits.thread_runs_per_hour")
    reason = f"this conversation was processed {count(runs, 'time')} within the hour, and {where} allows {most}"
    return DeliveryResult("ignored", reason, kind="too many runs")


def _plan_check(job: Job) -> None:
    """Record that the head commit should get a check, if the delivery is a review that sets one."""
    event, effective = job.event, job.rule.effective
    is_review = job.config.library.prompts[job.rule.prompt].reply == "pull_request_analysis" and not event.is_closing
    if event.pull_request is None or not is_review or not effective.review.check or effective.features.dry_run:
        return
    job.store.commit_checks.plan(job.lease, event.pull_request.head_sha)


def _gather(job: Job) -> Any:
    handler, event = job.handler, job.event
    limits = prompt_limits(job.config.settings, job.config.library, event.name, job.rule.effective, job.rule.prompt)

    def read() -> Any:
        _plan_check(job)  # a delivery that ends here for good has a check, too
        job.require_reads_allowed()
        reader = job.context.github.reader(event.repository.full_name, bot=job.bot)
        history = job.store.repositories.history(job.lease, job.bot.login)
        facts = handler.gather(event, reader, history, limits)
        job.store.repositories.save(job.lease, handler.history_update(event, facts))
        job.context.health.ok("github")
        return facts

    return job.run_step(facts_codec(handler), 0, read)


def _require_not_superseded(job: Job, facts: Any) -> None:
    job.require_newest(job.handler.head_commit(facts))
    history = job.store.repositories.history(job.lease, job.bot.login)
    reason = job.handler.find_superseded_reason(job.event, facts, history)
    if reason is not None:
        raise Superseded(reason)


def _find_end_reason(
    handler: Handler[Any], skip_reason: SkipReason | None, conversation: Conversation | None
) -> str | None:
    if skip_reason is not None and skip_reason.reply is None:
        return skip_reason.reason
    return handler.no_conversation_reason if conversation is None else None


def _store_conversation_number(job: Job, conversation: Conversation) -> Job:
    job.store.queue.set_posted_on(job.lease, conversation.number)
    return replace(job, lease=replace(job.lease, number=conversation.number)).with_account_for(conversation.number)


def _check_fallback_issue(job: Job, conversation: Conversation) -> None:
    if not conversation.is_fallback_issue or (ASK, 0) in job.steps:
        return
    job.require_reads_allowed()
    try:
        reader = job.context.github.reader(job.event.repository.full_name)
        check_conversation(job.event, reader.issue(conversation.number))
    except (Superseded, Permanent) as exc:
        where = job.config.settings.sources.where(f"{job.rule.effective.key}.comments.post_to")
        raise type(exc)(f"{exc}; {where} chooses issue {conversation.number} for the comment") from exc


def _with_receipt(job: Job, analysis: Analysis) -> Analysis:
    """Return the analysis with the calls of this delivery."""
    receipt = make_receipt(job.store.calls.calls_of(job.lease.guid))
    # A reply from the cache has no call.
    prompt_ids = dict.fromkeys([*(answer.prompt_id for answer in analysis.answers), *receipt.prompt_ids])
    return replace(analysis, receipt=replace(receipt, prompt_ids=tuple(prompt_ids)))


def _plan(job: Job, facts: Any, analysis: Analysis, conversation: Conversation | None) -> tuple[Action, ...]:
    actions = job.handler.plan(job.event, facts, analysis)
    if conversation is None or conversation.is_fallback_issue:
        return tuple(action for action in actions if not isinstance(action, EnsureLabels))
    return actions


def _post(
    job: Job,
    facts: Any,
    analysis: Analysis,
    answered: Answers | None,
    actions: tuple[Action, ...],
    conversation: Conversation | None,
) -> tuple[tuple[Outcome, ...], Posted | None]:
    if conversation is None:
        return store_unposted(job, actions), None

    def after_review(outcome: Outcome | None) -> tuple[Action, ...]:
        """Store the record of the review, and return the actions for the findings that GitHub rejected."""
        ids, rejected = (outcome.comment_ids, outcome.rejected) if outcome is not None else ({}, ())
        now, record = job.handler.after_review(facts, analysis, comment_ids=ids, rejected=rejected)
        if record is not None and conversation is not None and not job.rule.effective.features.dry_run:
            ref = ConversationRef(job.event.repository.id, job.bot.login, conversation.number)
            job.pending.add(ReviewChange(ref, record))
        if not rejected or answered is None:
            return actions
        return _plan(job, now, _with_receipt(job, analyse(job, answered, now)), conversation)

    require_not_superseded = partial(_require_not_superseded, job, facts)
    outcomes = post(
        job, conversation, actions, require_not_superseded=require_not_superseded, after_review=after_review
    )
    report_settings_problems(job, conversation)
    return outcomes, "dry_run" if job.rule.effective.features.dry_run else "done"
