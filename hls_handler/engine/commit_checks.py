"""The check on a commit: begun before Claude is asked, ended with the result, or with the reason why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from hls_handler.actions import CommitCheck, EnsureCheck, Outcome, WrittenCheck
from hls_handler.engine.active_config import Checks
from hls_handler.engine.job import Job
from hls_handler.errors import (
    DependencyDown,
    StepFailed,
    TokenReplaced,
)
from hls_handler.queue.locks import WriteCompleted
from hls_handler.store.commit_checks import CheckChange

log = logging.getLogger(__name__)

LOCK_S = 120.0
"""Seconds after which another delivery may take over the lock of a check."""


def begin_check(job: Job, commit: str) -> None:
    """Show the check in progress, unless an earlier attempt did. If GitHub rejects it, the delivery goes on without."""
    if job.rule.effective.features.dry_run:
        return
    check = _record(job, commit)
    if not check.is_shown and check.rejected is None:
        if not check.is_new:  # a new one is only written, for which no slot is granted during a hold
            job.require_reads_allowed()
        _write(job, check, lambda checks: checks.begin(check))


def ensure_check(job: Job, action: EnsureCheck) -> Outcome:
    """End the check as planned. If GitHub rejects it, the outcome is "withheld", and the delivery does not fail."""
    if job.rule.effective.features.dry_run:
        return preview_check(action)
    detail = _describe(action)
    check = _record(job, action.commit)
    result: WrittenCheck | str | None = check.rejected
    if result is None:
        result = _write(job, check, lambda checks: checks.end(check, action), action)
    if isinstance(result, str):
        return Outcome("check", "withheld", f"the check was not set: {result}", body=action.summary)
    if result.state not in (None, action.conclusion):
        conclusion = f"{result.state} (a commit status has no {action.conclusion})"
        detail = f"set the check to {conclusion}: {action.title}"
    return Outcome("check", "changed", detail, url=result.url, body=action.summary)


def preview_check(action: EnsureCheck) -> Outcome:
    return Outcome("check", "dry_run", f"would have {_describe(action)}", body=action.summary)


def _describe(action: EnsureCheck) -> str:
    return f"set the check to {action.conclusion}: {action.title}"


def _record(job: Job, commit: str) -> CommitCheck:
    return job.store.commit_checks.begin(job.lease, commit, changes=job.pending.take())


def _write(
    job: Job, check: CommitCheck, write: Callable[[Checks], WrittenCheck], ending: EnsureCheck | None = None
) -> WrittenCheck | str:
    """Write the check, which `ending` ends; return GitHub's confirmation, or why GitHub rejected it."""
    lock = f"{job.lease.conversation_key}/check"
    if not check.is_new:  # the creation by an earlier attempt may still take effect
        job.store.locks.acquire(job.lease, lock, ttl_s=LOCK_S, changes=job.pending.take())
    checks = job.context.github.checks(
        job.event.repository.full_name, begin_write=lambda: job.begin_write(lock), check_lease=job.check_lease
    )
    completed = WriteCompleted(lock)
    try:
        written = write(checks)
    except (DependencyDown, TokenReplaced) as exc:
        if not (isinstance(exc, DependencyDown) and exc.may_have_succeeded):
            job.pending.add(completed)
        raise
    except StepFailed as exc:
        job.pending.add(completed)
        # A check that is in progress, perhaps since an earlier attempt without a response, must not stay so:
        # `CheckEnder` ends it after the delivery.
        is_ended = check.is_new and not check.is_shown
        rejected = CheckChange(check.commit, check.check_run_id, is_ended=is_ended, rejected=str(exc))
        job.pending.add(rejected)
        log.warning("GitHub rejected the check", extra={"error": str(exc)})
        return str(exc)
    job.pending.add(completed)
    change = CheckChange(check.commit, written.check_run_id, is_ended=ending is not None)
    if ending is not None:
        change = replace(change, conclusion=ending.conclusion, is_exempt=ending.is_exempt)
    job.pending.add(change)
    return written
