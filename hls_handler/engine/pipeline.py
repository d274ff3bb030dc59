"""The pipeline: processes one claimed delivery, from its stored body to labels and a comment on GitHub.

    Event ─ route ─> Rule ─ gather ─> Facts ─ ask ─> Analysis ─ plan ─> [Action] ─ post ─> Outcome

`process_delivery` runs the steps up to the rule, `Handler.run` the others. A step's result is stored as a checkpoint
before the next call to Claude and the next write to GitHub, so a retry continues after the last stored step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import Any

import msgspec

from hls_handler.deliveries import Lease, Posted
from hls_handler.engine.active_config import WorkerContext
from hls_handler.engine.commands import find_finding, run_command
from hls_handler.engine.handler_job import HandlerJob, plan_check, require_runs_left
from hls_handler.engine.job import RULE, DeliveryResult, Job
from hls_handler.engine.posting import describe_label_correction, record_label_correction
from hls_handler.engine.repository_settings import load_repository_settings, route_with_repository_settings
from hls_handler.engine.unreviewed_checks import end_group_check, end_ignored_check, outdate_check
from hls_handler.errors import ConversationIgnored, PayloadError, Permanent, PromptError, Retryable, StepFailed
from hls_handler.events import REQUEST_KEY, Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.issues import has_open_requests
from hls_handler.routing import (
    Command,
    Ignored,
    IgnoredKind,
    LabelCorrection,
    QueueCheck,
    RoutingInput,
    Rule,
    from_event,
)
from hls_handler.settings.effective import without_entry

RECENT_S = 60.0
"""A payload that is younger than this is analysed as it is. Before posting, the state is read in any case."""

UNLESS_TAKING_OVER: frozenset[IgnoredKind] = frozenset({"event not enabled", "draft", "not requested"})
"""Kinds of reasons to ignore a push that do not apply if it superseded a review."""


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
    rate_limit = context.github.rate_limit(event.repository.full_name)
    situation = context.store.interruptions.load_situation(lease, rate_limit=rate_limit)
    job = Job(lease, context, context.config, event, chosen.bot, rule, handler, steps, chosen.others, situation)
    routing_input = from_event(event)
    try:
        result = _process(job, routing_input)
    except ConversationIgnored as exc:
        result = DeliveryResult("ignored", str(exc), kind=exc.kind, handler=handler.name)
    outcome = None if result.kind is None else end_ignored_check(job, routing_input, result.kind, result.reason)
    if outcome is not None:
        result = replace(result, reason=f"{result.reason}; {outcome.detail}")
    elif result.state == "ignored":
        return result  # without the notes for `hls why`
    return replace(result, changes=job.pending.take())


def _process(job: Job, routing_input: RoutingInput) -> DeliveryResult:
    """Process a delivery. The rule of `job` has the settings of the event's repository, and no prompt."""
    rule = job.router.route(routing_input)
    if isinstance(rule, Command) and rule.thread is not None and find_finding(job, rule) is None:
        rule = job.router.route(msgspec.structs.replace(routing_input, thread=None))  # the thread is not one of HLS
    if isinstance(rule, Ignored):
        wanted = _take_over_review(job, rule.kind)
        if wanted is not None:
            return _process(replace(job, event=wanted), from_event(wanted))
        return DeliveryResult("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, LabelCorrection):
        result = record_label_correction(job, rule)
        reason = describe_label_correction(result, rule.group)
        if not result.compared:
            return DeliveryResult("ignored", reason, kind="not a label of HLS")
        return DeliveryResult("done", reason)
    if isinstance(rule, QueueCheck):
        return _check_merge_group(job, rule)
    if isinstance(rule, Command):
        return run_command(job, rule)
    correction = job.router.find_label_correction(routing_input, rule.effective)
    if isinstance(correction, LabelCorrection):  # an event can be a correction and have a prompt
        record_label_correction(job, correction)
    job = replace(job, rule=rule, handler=_handler_for(rule))
    outdate_check(job, routing_input)
    if job.situation.stop is not None:
        return DeliveryResult("ignored", str(job.situation.stop), kind="stopped")
    answer_rule = _find_answer_rule(job, routing_input)
    if answer_rule is not None:
        job = replace(job, rule=answer_rule, handler=_handler_for(answer_rule))
    elif rule.is_author_comment:
        return DeliveryResult("ignored", "the issue has no open checklist for its author", kind="nothing asked")
    try:
        job = load_repository_settings(job)
    except StepFailed:
        plan_check(job)
        raise
    rule = route_with_repository_settings(job)
    if isinstance(rule, Ignored):
        return DeliveryResult("ignored", rule.reason, kind=rule.kind)
    require_runs_left(replace(job, rule=rule), job.situation.runs)
    if (RULE.name, 0) not in job.steps:
        job.note(RULE, 0, rule.why(job.config.settings.sources))
    return _run_handler(replace(job, rule=rule))


def _take_over_review(job: Job, kind: IgnoredKind) -> Event | None:
    """Return a push as a request for the review that it superseded; None if it superseded none that would have run.

    Otherwise a push after `/review`, or after the pull request was opened, would cancel the review, and be ignored.
    """
    event = job.event
    if event.key != "pull_request.synchronize" or kind not in UNLESS_TAKING_OVER or event.requested_review is not None:
        return None
    for guid in job.store.interruptions.superseded_since_review(job.lease):
        body = job.store.deliveries.body(guid)
        try:
            superseded = parse_event(event.name, guid, body or b"")
        except PayloadError:  # its body was deleted
            continue
        if isinstance(job.router.route(from_event(superseded)), Rule):
            request = {"review": superseded.requested_review or "new"}
            return replace(event, payload={**event.payload, REQUEST_KEY: request})
    return None


def _check_merge_group(job: Job, rule: QueueCheck) -> DeliveryResult:
    job.note(RULE, 0, rule.why(job.config.settings.sources))
    outcome = end_group_check(job)
    if outcome is None:
        return DeliveryResult("ignored", "the repository's settings allow no check", kind="repository disabled")
    posting: Posted = "dry_run" if outcome.kind == "dry_run" else "done"
    return DeliveryResult("done", outcome.detail, posting=posting)


def _run_handler(job: Job) -> DeliveryResult:
    work = HandlerJob(job)
    with job.record_failure(lambda: work.part):
        try:
            result = job.handler.run(work)
        except PromptError as exc:
            raise Retryable(str(exc)) from exc  # a retry succeeds after the template is corrected
    return DeliveryResult("done", result.reason, handler=job.handler.name, posting=result.posting, calls=work.calls)


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
    rule = job.router.route_author_comment(routing_input, job.rule.effective)
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
