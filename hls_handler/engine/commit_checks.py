"""The check on a commit: begun before Claude is asked, ended with the result, or with the reason why there is none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from hls_handler.actions import CommitCheck, Conclusion, EnsureCheck, Outcome, WrittenCheck
from hls_handler.analysis import Receipt
from hls_handler.engine.active_config import Checks
from hls_handler.engine.job import Job
from hls_handler.errors import (
    AppNotInstalled,
    DependencyDown,
    LeaseLost,
    Postponed,
    StepFailed,
    StoreUnavailable,
    TokenReplaced,
)
from hls_handler.handlers.check import plan_unreviewed_check
from hls_handler.queue.locks import WriteCompleted
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Review, Settings
from hls_handler.storage import Storage
from hls_handler.store.calls import make_receipt
from hls_handler.store.commit_checks import CheckChange, UnendedCheck

log = logging.getLogger(__name__)

END_EVERY_S = 30.0
"""Seconds between two searches for checks of finished deliveries."""
ENDING_S = 60.0
"""Time in which a process ends one check; then another process may."""
MAX_WAIT_S = 15.0
"""Longest wait for a slot of the rate limit."""
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


class Connection(Protocol):
    """The connection to GitHub of the thread that ends checks."""

    def rate_limit(self, repository: str) -> str: ...

    def checks(
        self, repository: str, *, begin_write: Callable[[], None], check_lease: Callable[[], None]
    ) -> Checks: ...


class CheckEnder:
    """Ends the checks of finished deliveries that have not set a result: dead, superseded, ignored or killed ones."""

    def __init__(
        self,
        store: Storage,
        connect: Callable[[], Connection],
        *,
        settings: Callable[[], Settings],
        wait: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wait` sleeps for the given seconds, and returns True to stop."""
        self._store, self._connect, self._settings = store, connect, settings
        self._wait, self._clock = wait, clock

    def run(self) -> None:
        """Try to end each such check once. After a failure, a check is tried again after `ENDING_S`."""
        try:
            while not self._wait(0.0) and self._end_next():
                pass
        except StoreUnavailable as exc:  # receiver and workers report the problem to /health
            log.warning("checks of finished deliveries are ended later", extra={"why": str(exc)})

    def _end_next(self) -> bool:
        settings = self._settings()
        slowest_write_s = settings.github.slowest_write_s
        unended = self._store.commit_checks.claim_unended(lease_s=ENDING_S, slowest_write_s=slowest_write_s)
        if unended is None:
            return False
        until = self._clock() + ENDING_S
        conclusion: Conclusion | None = None
        try:
            action = self._end(unended, settings, until)
            result, conclusion = f"{action.conclusion}: {action.title}", action.conclusion
        except (DependencyDown, Postponed, LeaseLost) as exc:
            if not isinstance(exc, AppNotInstalled):
                log.warning("the check is ended later", extra={"delivery": unended.guid, "why": str(exc)})
                return True
            log.warning("the check cannot be ended", extra={"delivery": unended.guid, "error": str(exc)})
            result = f"failed: {exc}"
        except StepFailed as exc:  # a retry would fail, too
            log.warning("the check cannot be ended", extra={"delivery": unended.guid, "error": str(exc)})
            result = f"failed, because GitHub rejected it: {exc}"
        self._store.commit_checks.mark_ended(unended, result, conclusion)
        return True

    def _end(self, unended: UnendedCheck, settings: Settings, until: float) -> EnsureCheck:
        """End the check on GitHub, and return how."""
        github, limiter = self._connect(), self._store.rate_limiter
        rate_limit = github.rate_limit(unended.repository)
        held_until = limiter.held_until(rate_limit)
        if held_until is not None:
            raise Postponed("GitHub failed or asked to wait", at=held_until)

        def begin_write() -> None:
            interval_s = settings.github.min_seconds_between_writes
            at = limiter.reserve_slot(rate_limit, interval_s=interval_s, within_s=MAX_WAIT_S)
            if self._wait(max((at - self._store.now()).total_seconds(), 0.0)):
                raise Postponed("the service is stopping", at=at)

        def check_lease() -> None:
            if self._clock() > until - ENDING_S / 2:
                raise LeaseLost("too little time is left to end the check; the next run tries again")

        effective = RepositoryTable(settings).find(unended.repository) or without_entry(settings)
        receipt = make_receipt(self._store.calls.calls_of(unended.guid))
        action = plan_end(unended, effective.review, settings.shorten_paths, receipt)
        try:
            checks = github.checks(unended.repository, begin_write=begin_write, check_lease=check_lease)
            checks.end(unended.check, action)
        except DependencyDown as exc:
            limiter.hold(rate_limit, exc.not_before or self._store.now() + timedelta(seconds=END_EVERY_S))
            raise
        log.info("check ended", extra={"delivery": unended.guid, "conclusion": action.conclusion})
        return action


def plan_end(
    unended: UnendedCheck, review: Review, shorten_paths: Callable[[str], str], receipt: Receipt
) -> EnsureCheck:
    """Return the check of a delivery that ended without a result. It is never a success.

    `shorten_paths` removes folders of this machine from a text.
    """
    reason = shorten_paths(unended.reason or "no reason was stored")
    if unended.state == "done":
        reason = "the last event of the pull request caused no review"
    conclusion: Conclusion = "cancelled" if unended.state == "superseded" else review.incomplete
    title, details = "Not reviewed", ""
    if unended.state == "dead":
        title = "The review failed"
        reason, _, details = reason.partition("; ")  # errors say behind it what the operator should do
    if unended.check.rejected is not None:
        title, details = "The result was not set", ""
        reason = shorten_paths(f"GitHub rejected it: {unended.check.rejected}")
    return plan_unreviewed_check(unended.check.commit, conclusion, title, reason, receipt, details=details)
