"""Run a claimed delivery and store its next state: finished, rescheduled or dead letter."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hls_handler.deliveries import Finished, Lease
from hls_handler.engine.active_config import WorkerContext
from hls_handler.engine.job import DeliveryResult
from hls_handler.engine.pipeline import process_delivery
from hls_handler.errors import (
    AppNotInstalled,
    DependencyDown,
    LeaseLost,
    Permanent,
    Postponed,
    Retryable,
    StepFailed,
    StoreUnavailable,
    Superseded,
)
from hls_handler.events import event_key
from hls_handler.handlers import handler_for
from hls_handler.settings.model import Limits
from hls_handler.store.calls import CLAUDE_RATE_LIMIT, CallRow
from hls_handler.tracing import annotate
from hls_handler.wording import count

log = logging.getLogger(__name__)

BACKOFF_CAP_S = 300.0
"""Longest pause between two attempts, in seconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    at: datetime  # aware UTC
    counts: bool  # whether the failure uses up one of `limits.max_attempts`


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def decide_retry(
    error: StepFailed,
    *,
    attempts: int,
    failures: int,
    first_failure_at: datetime,
    now: datetime,
    jitter: float,
    limits: Limits,
) -> Retry | GiveUp:
    """Return the time of the next attempt, or `GiveUp` with the reason.

    `failures` counts all failures of the delivery, including `error`; `attempts` does not count outages of
    GitHub and Claude. The pause before the retry is multiplied by (1 + `jitter`) / 2. The retry is never before
    `error.not_before`.
    """
    if isinstance(error, Permanent):
        return GiveUp(str(error))
    counts = not isinstance(error, DependencyDown)
    if counts and attempts >= limits.max_attempts:
        return GiveUp(f"failed {count(attempts, 'time')} (limits.max_attempts), last: {error}")
    if now - first_failure_at >= timedelta(hours=limits.give_up_after_h):
        return GiveUp(f"still failing after {limits.give_up_after_h:g} h (limits.give_up_after_h), last: {error}")
    doublings = min(failures - 1, 16)  # past the cap anyway, and 2.0 ** 2000 overflows
    pause_s = min(limits.retry_backoff_s * 2**doublings, BACKOFF_CAP_S)
    at = now + timedelta(seconds=pause_s * (0.5 + 0.5 * jitter))
    if isinstance(error, Retryable) and error.not_before is not None:
        at = max(at, error.not_before)
    return Retry(at=at, counts=counts)


def run_delivery(lease: Lease, context: WorkerContext) -> Finished | None:
    """Process a delivery and store its result. Return None if the delivery is not finished: it may be retried."""
    key = event_key(lease.event, lease.action)
    begun = {
        "hls.delivery": lease.guid,
        "hls.event": key,
        "hls.repository": lease.repository,
        "hls.number": lease.number,
        "hls.attempt": lease.attempt,
    }
    try:
        with context.tracing.trace(f"delivery {key}", begun):
            finished = _run(lease, context)
            annotate({"hls.state": finished.state if finished else "waiting"})
            return finished
    except LeaseLost:
        log.warning("lease lost; another worker may have the delivery")
    except StoreUnavailable as exc:
        context.health.report_store_problem(exc)
        log.error("store unavailable; the delivery is claimed again when its lease expires", extra={"error": str(exc)})
    return None


def _run(lease: Lease, context: WorkerContext) -> Finished | None:
    sent_before = context.github.requests_sent
    try:
        result = process_delivery(lease, context)
    except Superseded as exc:
        result = DeliveryResult("superseded", str(exc), handler=handler_for(lease.event).name)
    except Postponed as exc:
        if exc.waiting_for is not None:
            remedy = "wait, or raise the limit that the message names"
            context.health.report_problem(exc.waiting_for, str(exc), remedy)
        requests = context.github.requests_sent - sent_before
        context.store.queue.reschedule(
            lease, at=exc.at, reason=str(exc), failed=False, counts=False, github_requests=requests
        )
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
    took_s = (context.store.now() - lease.received_at).total_seconds()
    calls = context.store.calls.calls_of(lease.guid) if result.calls is None else result.calls
    context.store.queue.finish(
        lease,
        result.state,
        reason=result.reason,
        kind=result.kind,
        handler=result.handler,
        took_s=took_s,
        changes=result.changes,
        posting=result.posting,
        github_requests=requests,
    )
    finished = Finished(lease.guid, result.state, result.reason)
    log.info("delivery finished", extra=_describe_end(finished, lease, result.handler, calls, requests, took_s))
    return finished


def _describe_end(
    end: Finished, lease: Lease, handler: str | None, calls: Sequence[CallRow], requests: int, took_s: float
) -> dict[str, object]:
    """Return the fields of the log line about a finished delivery, over all of its attempts; add some to the span."""
    own = [call for call in calls if not call.of_shadow]
    numbers = {
        "input_tokens": sum(call.all_input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens or 0 for call in calls),
        "cost_usd": round(sum(call.cost_usd or 0 for call in calls), 6),
    }
    prompt = own[-1].prompt_id if own else None
    annotate({"hls.handler": handler, "hls.prompt": prompt, **{f"hls.{key}": n for key, n in numbers.items()}})
    return {
        "event": lease.event,
        "action": lease.action,
        "state": end.state,
        "reason": end.reason,
        "handler": handler,
        "prompt": prompt,
        "model": own[-1].model if own else None,
        **numbers,
        "github_requests": (lease.github_requests or 0) + requests,
        "duration_ms": round(took_s * 1000),
        "attempts": lease.failures + 1,
    }


def _fail(lease: Lease, context: WorkerContext, error: StepFailed, requests: int) -> Finished | None:
    annotate({"error.type": type(error).__name__}, failed=True)
    store, now = context.store, context.store.now()
    row = store.deliveries.find(lease.guid)  # current row: a successful step resets first_failure_at
    down = isinstance(error, DependencyDown)
    decision = decide_retry(
        error,
        attempts=lease.attempts + (0 if down else 1),
        failures=lease.failures + 1,
        first_failure_at=(row.first_failure_at if row else None) or now,
        now=now,
        jitter=context.jitter(),
        limits=context.config.settings.limits,
    )
    if isinstance(error, DependencyDown):
        context.health.report_problem(error.dependency, str(error), error.remedy)
        rate_limit = CLAUDE_RATE_LIMIT
        if error.dependency == "github":
            rate_limit = context.github.rate_limit(lease.repository or "")
        not_before = error.not_before if error.applies_to_all_calls else None
        until = not_before or now + timedelta(seconds=context.config.settings.limits.retry_backoff_s)
        if not isinstance(error, AppNotInstalled):  # which holds for one repository, and the limit for its owner
            store.rate_limiter.hold(rate_limit, until)  # so that other workers wait instead of failing, too
    if isinstance(decision, GiveUp):
        handler, calls = handler_for(lease.event).name, store.calls.calls_of(lease.guid)
        took_s = (now - lease.received_at).total_seconds()
        store.queue.dead_letter(lease, reason=decision.reason, took_s=took_s, handler=handler, github_requests=requests)
        finished = Finished(lease.guid, "dead", decision.reason)
        log.error("delivery finished", extra=_describe_end(finished, lease, handler, calls, requests, took_s))
        return finished
    store.queue.reschedule(
        lease, at=decision.at, reason=str(error), failed=True, counts=decision.counts, github_requests=requests
    )
    log.warning("delivery failed and is retried", extra={"reason": str(error), "at": decision.at.isoformat()})
    return None
