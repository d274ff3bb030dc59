"""The pipeline: processes one claimed delivery, from its stored body to labels and a comment on
GitHub.

    Event ─ route ─> Rule ─ gather ─> Facts ─ ask ─> Analysis ─ plan ─> [Action] ─ post ─> Outcome

`run_delivery` stores the end of an attempt: finished, rescheduled or dead letter.
`process_delivery` runs the steps up to the rule, `Handler.run` the others. A step's result is
stored as a checkpoint before the next call to Claude and the next write to GitHub, so a retry
continues after the last stored step.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf

import msgspec

from hls_handler.claude.provider import LIMIT_RETRY
from hls_handler.deliveries import NO_RESULT, UNDO, Checkpoint, End, Lease, Posted
from hls_handler.engine.codecs import RULE
from hls_handler.engine.commands import find_finding, run_command, take_over_review
from hls_handler.engine.handler_job import HandlerJob, require_runs_left
from hls_handler.engine.job import Attempt, DeliveryJob, WorkerContext, decide_retry, require_open
from hls_handler.engine.posting import correct_label
from hls_handler.engine.repository_settings import (
    load_repository_settings,
    route_with_repository_settings,
)
from hls_handler.engine.shown_check import (
    check_title,
    end_group_check,
    end_ignored_check,
    leave_commit,
    outdate_check,
    plan_check,
)
from hls_handler.errors import (
    AccountLimited,
    AppNotInstalled,
    ConversationIgnored,
    DependencyDown,
    Forbidden,
    LeaseLost,
    NotFound,
    PayloadError,
    Permanent,
    Postponed,
    PromptError,
    Retryable,
    SlowResponse,
    StepFailed,
    StoreUnavailable,
    Superseded,
    with_remedy,
)
from hls_handler.events import Event, parse_event
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.issues import has_open_requests
from hls_handler.handlers.registry import handler_for
from hls_handler.routing import (
    Command,
    Ignored,
    LabelCorrection,
    QueueCheck,
    RoutingInput,
    Rule,
    from_event,
)
from hls_handler.settings.effective import Origin, without_entry
from hls_handler.store.batches import Batch
from hls_handler.store.call_rows import NO_REPLIES, CallRow
from hls_handler.store.calls import CLAUDE_RATE_LIMIT

log = logging.getLogger(__name__)

RECENT_S = 60.0
"""A payload that is younger than this is analysed as it is. Before posting, the state is read in
any case.
"""

THREAD_OF_OTHERS = "HLS did not open the review thread, and answers only in its own"


COMMENTS = "features.auto_commenting"
FIRST_WAIT_S = 2.0


def run_delivery(lease: Lease, context: WorkerContext) -> End | None:
    """Process a delivery and store its end. Return None if the delivery is not finished: it may
    be retried.
    """
    try:
        context.leases.secure(lease)  # the claim may have waited: the lease counts from before it
        return _run(lease, context)
    except LeaseLost:
        log.warning("lease lost; another worker may have the delivery")
    except StoreUnavailable as exc:
        context.health.report_store_problem(exc)
        log.error(
            "store unavailable; the delivery is claimed again when its lease expires",
            extra={"error": str(exc)},
        )
    return None


def _run(lease: Lease, context: WorkerContext) -> End | None:
    store = context.store
    sent_before = context.github.requests_sent
    attempt = Attempt()
    try:
        end = process_delivery(lease, context, attempt)
    except Superseded as exc:
        attempt.calls = None
        attempt.pending.take()
        end = End("superseded", str(exc), handler=handler_for(lease.event).name)
    except Postponed as exc:
        if exc.waiting_for is not None:
            remedy = "wait, or raise the limit that the message names"
            context.health.report_problem(exc.waiting_for, str(exc), remedy)
        requests = context.github.requests_sent - sent_before
        store.queue.postpone(lease, at=exc.at, reason=str(exc), github_requests=requests)
        return None
    except StepFailed as exc:
        return _fail(lease, context, exc, context.github.requests_sent - sent_before)
    except (LeaseLost, StoreUnavailable):
        raise
    except Exception as exc:  # a defect must neither end the thread nor lose the delivery
        log.exception("defect while processing a delivery")
        reason = f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)"
        return _fail(lease, context, Retryable(reason), context.github.requests_sent - sent_before)
    requests = context.github.requests_sent - sent_before
    took_s = (store.now() - lease.received_at).total_seconds()
    calls = attempt.calls
    if calls is None:
        calls = store.calls.calls_of(lease.guid)
    changes = attempt.pending.take()
    store.queue.finish(lease, end, took_s=took_s, changes=changes, github_requests=requests)
    _log_end(lease, end, calls, requests, took_s)
    return end


def _fail(lease: Lease, context: WorkerContext, error: StepFailed, requests: int) -> End | None:
    """Store a failed attempt: the delivery is retried, or becomes a dead letter."""
    store = context.store
    now = context.store.now()
    limits = context.config.settings.limits
    # current row: a successful step resets first_failure_at
    row = store.deliveries.find(lease.guid)
    counts = not isinstance(error, DependencyDown)
    decision = decide_retry(
        error,
        attempts=lease.attempts + counts,
        failures=lease.failures + 1,
        first_failure_at=(row.first_failure_at if row else None) or now,
        now=now,
        jitter=context.jitter(),
        limits=limits,
    )
    if isinstance(error, SlowResponse):
        context.health.report_problem("claude", str(error), error.remedy)
    if isinstance(error, DependencyDown):
        context.health.report_problem(error.dependency, str(error), error.remedy)
        # which holds for one repository, and the limit for its owner
        if not isinstance(error, AppNotInstalled):
            _hold_requests(lease, context, error, now)
    if isinstance(decision, str):
        if lease.batch_id is not None and isinstance(error, Forbidden):
            store.batches.halt(lease.batch_id, f"batch {lease.batch_id} was stopped: {decision}")
        end = End("dead", decision, handler=handler_for(lease.event).name)
        if lease.is_recorded:  # it needs no person: the batch shows it
            end = replace(end, state="ignored", kind=NO_RESULT)
        calls = store.calls.calls_of(lease.guid)
        took_s = (now - lease.received_at).total_seconds()
        store.queue.finish(lease, end, took_s=took_s, github_requests=requests)
        _log_end(lease, end, calls, requests, took_s)
        return end
    failed = not isinstance(error, AccountLimited)
    store.queue.reschedule(
        lease,
        at=decision,
        reason=with_remedy(error),  # for the person who looks at what waits
        failed=failed,
        counts=counts,
        github_requests=requests,
    )
    level = logging.WARNING
    if isinstance(error, DependencyDown):  # the change of /health has a line for the outage
        level = logging.DEBUG
    fields = {"reason": str(error), "at": decision.isoformat()}
    log.log(level, "delivery failed and is retried", extra=fields)
    return None


def _hold_requests(
    lease: Lease, context: WorkerContext, error: DependencyDown, now: datetime
) -> None:
    """Hold the rate limit of GitHub or Claude, so that other workers wait instead of failing,
    too.
    """
    until = error.not_before if error.applies_to_all_calls else None
    if isinstance(error, AccountLimited) and until is not None:
        until = min(until, now + LIMIT_RETRY)
    if until is None:
        until = now + timedelta(seconds=context.config.settings.limits.retry_backoff_s)
    rate_limit = CLAUDE_RATE_LIMIT
    if error.dependency == "github":
        rate_limit = context.github.rate_limit(lease.repository or "")
    context.store.rate_limiter.hold(rate_limit, until)


def _log_end(
    lease: Lease, end: End, calls: Sequence[CallRow], requests: int, took_s: float
) -> None:
    """Log that a delivery is finished, with figures over all of its attempts."""
    prompt = None
    model = None
    if calls:
        prompt = calls[-1].prompt_id
        model = calls[-1].model
    fields = {
        "event": lease.event,
        "action": lease.action,
        "number": lease.number,
        "state": end.state,
        "reason": end.reason,
        "handler": end.handler,
        "prompt": prompt,
        "model": model,
        "input_tokens": sum(call.all_input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens or 0 for call in calls),
        "cost_usd": round(sum(call.cost_usd or 0 for call in calls), 6),
        "github_requests": (lease.github_requests or 0) + requests,
        "duration_ms": round(took_s * 1000),
        "attempts": lease.failures + 1,
    }
    level = logging.INFO
    if end.state == "dead":
        level = logging.ERROR
    log.log(level, "delivery finished", extra=fields)


def process_delivery(lease: Lease, context: WorkerContext, attempt: Attempt) -> End:
    """Process a delivery and return its end. Raises `Postponed`, `Superseded`, `LeaseLost` or a
    `StepFailed`.

    The event is routed again, because settings, prompts and the bot account may have changed since
    it was received.
    """
    chosen = context.choose_account(lease.repository_id, lease.number)
    context = replace(context, github=chosen.github)
    event = _parse_event(lease)
    if event.installation_id is not None:
        context.github.remember_installation(event.repository.full_name, event.installation_id)
    # which a closing may have followed
    is_first = lease.attempt == 1 and lease.action != "reopened"
    if is_first and _age_s(event, context.store.now()) < RECENT_S:
        event = replace(event, is_recent=True)
    steps: Mapping[tuple[str, int], Checkpoint] = {}
    replies = NO_REPLIES
    if lease.attempt > 1 or lease.is_recorded:  # which may have copied facts
        steps = context.store.checkpoints.load(lease.guid)
        replies = context.store.replies.of(lease.guid)
    found = context.config.table.find(event.repository.full_name)
    effective = found or replace(without_entry(context.config.settings), enabled=False)
    rule = Rule(event.key, prompt="", effective=effective, file="")
    handler = handler_for(event.name)
    rate_limit = context.github.rate_limit(event.repository.full_name)
    situation = context.store.interruptions.load_situation(lease, rate_limit=rate_limit)
    job = DeliveryJob(
        lease,
        context,
        context.config,
        event,
        chosen.bot,
        rule,
        handler,
        steps,
        chosen.others,
        situation,
        replies=replies,
        batch=_find_batch(lease, context),
        attempt=attempt,
    )
    if lease.is_recorded:
        return context.runs.run_recorded(job)
    routing_input = from_event(event)
    leave_commit(job, routing_input)
    job, title_outcome = check_title(job, routing_input)
    try:
        end = _process(job, routing_input)
    except ConversationIgnored as exc:
        end = End("ignored", str(exc), kind=exc.kind, handler=handler.name)
    outcome = None
    if end.kind is not None:
        outcome = end_ignored_check(job, routing_input, end.kind, end.reason)
    if outcome is None and end.state == "ignored":
        job.pending.take()  # no notes for `hls why`
    for part in filter(None, (outcome, title_outcome)):
        end = replace(end, reason=f"{end.reason}; {part.detail}")
    return end


def _find_batch(lease: Lease, context: WorkerContext) -> Batch | None:
    if lease.batch_id is None:
        return None
    return context.store.batches.find(lease.batch_id)


def _process(job: DeliveryJob, routing_input: RoutingInput) -> End:
    """Process a delivery. The rule of `job` has the settings of the event's repository, and no
    prompt.
    """
    if job.lease.request_id == UNDO:
        return job.context.runs.undo_issue(job)
    if job.batch is not None:
        require_open(job.batch)
        _wait_for_first(job, job.batch)
    rule = job.router.route(routing_input)
    thread = rule.thread if isinstance(rule, Command | Rule) else None
    if thread is not None and find_finding(job, thread=thread) is None:
        elsewhere = job.router.route(msgspec.structs.replace(routing_input, thread=None))
        if isinstance(rule, Rule) and isinstance(elsewhere, Ignored):
            return End("ignored", THREAD_OF_OTHERS, kind="nothing asked")
        rule = elsewhere
    if isinstance(rule, Ignored):
        review = take_over_review(job, rule.kind)
        if review is not None:
            return _process(replace(job, event=review), from_event(review))
        return End("ignored", rule.reason, kind=rule.kind)
    if isinstance(rule, LabelCorrection):
        return correct_label(job, rule)
    if isinstance(rule, QueueCheck):
        return _check_merge_group(job, rule)
    if isinstance(rule, Command):
        done = run_command(job, rule)
        return _run_handler(done) if isinstance(done, DeliveryJob) else done
    correction = job.router.find_label_correction(routing_input, rule.effective)
    if isinstance(correction, LabelCorrection):  # an event can be a correction and have a prompt
        correct_label(job, correction)
    job = replace(job, rule=rule, handler=_handler_for(rule))
    outdate_check(job, routing_input)
    if job.situation.stop is not None:
        return End("ignored", str(job.situation.stop), kind="stopped")
    answer_rule = _find_answer_rule(job, routing_input)
    if answer_rule is not None:
        job = replace(job, rule=answer_rule, handler=_handler_for(answer_rule))
    elif rule.is_author_comment:
        return End(
            "ignored", "the issue has no open checklist for its author", kind="nothing asked"
        )
    try:
        job = load_repository_settings(job)
    except StepFailed:
        plan_check(job)
        raise
    rule = route_with_repository_settings(job)
    if isinstance(rule, Ignored):
        return End("ignored", rule.reason, kind=rule.kind)
    if job.batch is not None:
        rule = _limit_rule(rule, job.batch)
    require_runs_left(replace(job, rule=rule), job.situation.runs)
    if (RULE.name, 0) not in job.steps:
        job.note(RULE, 0, rule.why(job.config.settings.sources))
    return _run_handler(replace(job, rule=rule))


def _wait_for_first(job: DeliveryJob, batch: Batch) -> None:
    """Raise `Postponed` until one issue of the batch is done: if HLS may not write, one call is
    paid.
    """
    first = job.store.batches.find_first(batch.id)
    if first is None or first.guid == job.lease.guid:
        return
    at = max(first.due_at, job.store.now()) + timedelta(seconds=FIRST_WAIT_S)
    raise Postponed(f"the first issue of batch {batch.id} is processed alone", at=at)


def _limit_rule(rule: Rule, batch: Batch) -> Rule:
    """Return the rule without comments, unless the batch has them."""
    effective = rule.effective
    if batch.terms["comments"] or not effective.features.auto_commenting:
        return rule
    features = effective.features.model_copy(update={"auto_commenting": False})
    origin = Origin((COMMENTS,), person=f"batch {batch.id}, which has no --comments")
    origins = {**effective.origins, COMMENTS: origin}
    return replace(rule, effective=replace(effective, features=features, origins=origins))


def _check_merge_group(job: DeliveryJob, rule: QueueCheck) -> End:
    job.note(RULE, 0, rule.why(job.config.settings.sources))
    outcome = end_group_check(job)
    if outcome is None:
        return End(
            "ignored", "the repository's settings allow no check", kind="repository disabled"
        )
    posting: Posted = "dry_run" if outcome.kind == "dry_run" else "done"
    return End("done", outcome.detail, posting=posting)


def _run_handler(job: DeliveryJob) -> End:
    work = HandlerJob(job)
    with job.record_failure(lambda: work.part):
        try:
            end = job.handler.run(work)
        except PromptError as exc:
            work.end_failed_analysis(exc)
            raise Retryable(str(exc)) from exc  # a retry succeeds after the template is corrected
        except Exception as exc:  # raised again: a defect must not lose what was paid for
            work.end_failed_analysis(exc)
            if isinstance(exc, NotFound):
                _ignore_deleted(job, exc)
            raise
    return replace(end, handler=job.handler.name)


def _ignore_deleted(job: DeliveryJob, error: NotFound) -> None:
    """Raise `ConversationIgnored` if the delivery's issue was deleted.

    Of a 404, only a read counts: a write gets it without permission, too. The repository is read,
    which a token that lost its permission cannot.
    """
    repository = job.event.repository.full_name
    number = job.lease.number
    if re.search(rf"/(issues|pulls)/{number}(/|$)", error.call) is None:
        return
    is_read = error.call.startswith("GET ")
    if error.is_gone or (is_read and job.context.github.has_repository(repository)):
        raise ConversationIgnored(f"{repository}#{number} was deleted", "conversation deleted")


def _parse_event(lease: Lease) -> Event:
    if not lease.body:
        raise Permanent(
            "the stored body is missing or damaged: check the database, then redeliver the delivery"
            " from GitHub"
        )
    try:
        return parse_event(lease.event, lease.guid, lease.body)
    except PayloadError as exc:
        raise Permanent(str(exc)) from exc


def _handler_for(rule: Rule) -> Handler:
    return handler_for(rule.event_key.partition(".")[0])


def _find_answer_rule(job: DeliveryJob, routing_input: RoutingInput) -> Rule | None:
    """Return the rule that evaluates a comment by an issue's author, if HLS asked them for
    something; else None.

    This rule takes precedence over a reply to the comment.
    """
    rule = job.router.route_author_comment(routing_input, job.rule.effective)
    if not isinstance(rule, Rule) or job.lease.number is None:
        return None
    history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
    return rule if has_open_requests(history, job.lease.number) else None


def _age_s(event: Event, now: datetime) -> float:
    """Return the seconds since GitHub changed the event's issue or pull request; infinity if that
    is unknown.
    """
    changed = event.payload.get("pull_request") or event.payload.get("issue")
    try:
        updated_at = (
            datetime.fromisoformat(changed["updated_at"]) if isinstance(changed, Mapping) else None
        )
        return abs((now - updated_at).total_seconds()) if updated_at else inf
    except (KeyError, TypeError, ValueError):
        return inf
