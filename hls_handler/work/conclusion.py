"""What becomes of a delivery after one run: the one place that turns an outcome or an error into its next state."""

from __future__ import annotations

import logging
from datetime import timedelta

from hls_handler.deliveries import Finished, Lease
from hls_handler.errors import DependencyDown, LeaseLost, Postponed, Retryable, StepFailed, StoreUnavailable, Superseded
from hls_handler.handlers import handler_for
from hls_handler.history.calls import CLAUDE_RATE_LIMIT
from hls_handler.work.health import Health
from hls_handler.work.job import GITHUB_PACE
from hls_handler.work.pipeline import Ended, work_on
from hls_handler.work.ports import WorkerContext
from hls_handler.work.retry import GiveUp, after_failure

log = logging.getLogger(__name__)


def store_trouble(health: Health, exc: StoreUnavailable) -> None:
    """A worker could not write, so the door cannot either."""
    remedy = "see the message; work goes on when the database answers again"
    health.report_problem("store", str(exc), remedy, severity="unhealthy")


def attempt(lease: Lease, tools: WorkerContext) -> Finished | None:
    """Run a delivery and record what came of it. None: it isn't finished (it waits, or is not ours any more)."""
    try:
        return _finish(lease, tools, _run(lease, tools))
    except LeaseLost:
        log.warning("lease lost; another worker has the delivery")
    except StoreUnavailable as exc:
        store_trouble(tools.health, exc)
        log.error("store unavailable; the delivery is taken up again when its lease ends", extra={"error": str(exc)})
    return None


def _run(lease: Lease, tools: WorkerContext) -> Ended | Superseded | Postponed | StepFailed:
    try:
        return work_on(lease, tools)
    except (Superseded, Postponed, StepFailed) as exc:
        return exc
    except (LeaseLost, StoreUnavailable):
        raise
    except Exception as exc:  # the edge of a worker: a defect of ours must not end the thread or lose the delivery
        log.exception("defect while working on a delivery")
        return Retryable(f"defect in HLS, please report it: {type(exc).__name__} (the log has the trace)")


def _finish(lease: Lease, tools: WorkerContext, result: Ended | Superseded | Postponed | StepFailed) -> Finished | None:
    store = tools.store
    took_s = (store.now() - lease.received_at).total_seconds()
    match result:
        case Ended():
            store.queue.finish(
                lease,
                result.state,
                reason=result.reason,
                kind=result.kind,
                handler=result.handler,
                took_s=took_s,
                changes=result.kept,
                posting=result.posting,
            )
            log.info("delivery finished", extra={"state": result.state, "reason": result.reason, "took_s": took_s})
            return Finished(lease.guid, result.state, result.reason)
        case Superseded():
            store.queue.finish(lease, "superseded", reason=str(result), handler=_handler_of(lease), took_s=took_s)
            log.info("delivery superseded", extra={"reason": str(result)})
            return Finished(lease.guid, "superseded", str(result))
        case Postponed():
            if result.waiting_for is not None:
                tools.health.report_problem(
                    result.waiting_for, str(result), "wait, or raise the limit that the message names"
                )
            store.queue.reschedule(lease, at=result.at, reason=str(result), failed=False, counts=False)
            return None
        case StepFailed():
            return _failed(lease, tools, result)


def _handler_of(lease: Lease) -> str:
    return handler_for(lease.event).name


def _failed(lease: Lease, tools: WorkerContext, error: StepFailed) -> Finished | None:
    store, now = tools.store, tools.store.now()
    row = store.deliveries.find(lease.guid)  # as it is now: a step that was done meanwhile began the time anew
    down = isinstance(error, DependencyDown)
    decision = after_failure(
        error,
        attempts=lease.attempts + (0 if down else 1),
        failures=lease.failures + 1,
        first_failure_at=(row.first_failure_at if row else None) or now,
        now=now,
        jitter=tools.jitter(),
        limits=tools.now().settings.limits,
    )
    if isinstance(error, DependencyDown):
        tools.health.report_problem(error.dependency, str(error), error.remedy)
        pace = {"github": GITHUB_PACE, "claude": CLAUDE_RATE_LIMIT}[error.dependency]
        told = error.not_before if error.applies_to_all_calls else None
        until = told or now + timedelta(seconds=tools.now().settings.limits.retry_backoff_s)
        store.rate_limiter.hold(pace, until)  # nobody else needs to find out by asking too
    if isinstance(decision, GiveUp):
        store.queue.dead_letter(lease, reason=decision.reason, handler=_handler_of(lease))
        log.error("delivery is dead", extra={"reason": decision.reason})
        return Finished(lease.guid, "dead", decision.reason)
    store.queue.reschedule(lease, at=decision.at, reason=str(error), failed=True, counts=decision.counts)
    log.warning("delivery failed and is tried again", extra={"reason": str(error), "at": decision.at.isoformat()})
    return None
