"""Ends the checks of finished deliveries that have set no result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hls_handler.actions import Conclusion, EnsureCheck
from hls_handler.analysis import Receipt
from hls_handler.engine.checks import CommitHeads
from hls_handler.errors import (
    AppNotInstalled,
    DependencyDown,
    LeaseLost,
    Postponed,
    StepFailed,
    StoreUnavailable,
)
from hls_handler.github.api import WriteGuard
from hls_handler.github.client import Github
from hls_handler.queue.leases import EXPIRY
from hls_handler.review.wanted_check import NO_RESULT, plan_unreviewed_check, rank, show_other
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.store.call_rows import make_receipt
from hls_handler.store.commit_checks import UnendedCheck
from hls_handler.store.storage import Storage

log = logging.getLogger(__name__)

END_EVERY_S = 30.0
"""Seconds between two searches for checks of finished deliveries."""

ENDING_S = 60.0
"""Time in which a process ends one check; then another process may."""

MAX_WAIT_S = 15.0
"""Longest wait for a slot of the rate limit."""


class CheckEnder:
    """Ends the checks of finished deliveries that have not set a result: dead, superseded, ignored
    or killed ones.
    """

    def __init__(
        self,
        store: Storage,
        connect: Callable[[], Github],
        *,
        settings: Callable[[], Settings],
        wait: Callable[[float], bool],
        slowest_write_s: float = EXPIRY.slowest_write_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wait` sleeps for the given seconds, and returns True to stop."""
        self._slowest_write_s = slowest_write_s
        self._store = store
        self._connect = connect
        self._settings = settings
        self._wait = wait
        self._clock = clock

    def run(self) -> None:
        """Try to end each such check once. After a failure, a check is tried again after
        `ENDING_S`.
        """
        try:
            while not self._wait(0.0):
                unended = self._store.commit_checks.claim_unended(
                    lease_s=ENDING_S, slowest_write_s=self._slowest_write_s
                )
                if unended is None:
                    return
                self._try_to_end(unended)
        except StoreUnavailable as exc:  # receiver and workers report the problem to /health
            log.warning("checks of finished deliveries are ended later", extra={"why": str(exc)})

    def _try_to_end(self, unended: UnendedCheck) -> None:
        until = self._clock() + ENDING_S
        conclusion: Conclusion | None = None
        try:
            action = self._end(unended, until)
            if action is None:  # another pull request of the commit is being reviewed
                return
            result = f"{action.conclusion}: {action.title}"
            conclusion = unended.conclusion or action.conclusion
        except (StepFailed, Postponed, LeaseLost) as exc:
            fields = {"delivery": unended.guid, "why": str(exc)}
            if isinstance(exc, DependencyDown | Postponed | LeaseLost) and not isinstance(
                exc, AppNotInstalled
            ):
                log.warning("the check is ended later", extra=fields)
                return
            log.warning("the check cannot be ended", extra=fields)  # a retry would fail, too
            result = f"failed: {exc}"
        self._store.commit_checks.mark_ended(unended, result, conclusion)

    def _end(self, unended: UnendedCheck, until: float) -> EnsureCheck | None:
        """End the check on GitHub, and return how; None if it stays in progress."""
        settings = self._settings()
        github = self._connect()
        limiter = self._store.rate_limiter
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
                raise LeaseLost(
                    "too little time is left to end the check; the next run tries again"
                )

        action = _plan_end(
            unended, settings, make_receipt(self._store.calls.calls_of(unended.guid))
        )
        shown = self._choose_shown(unended, action, github)
        if shown is None:
            return None
        try:
            checks = github.checks(unended.repository, WriteGuard(begin_write, check_lease))
            checks.end(unended.check, shown)
        except DependencyDown as exc:
            limiter.hold(
                rate_limit, exc.not_before or self._store.now() + timedelta(seconds=END_EVERY_S)
            )
            raise
        log.info("check ended", extra={"delivery": unended.guid, "conclusion": action.conclusion})
        return action

    def _choose_shown(
        self, unended: UnendedCheck, action: EnsureCheck, github: Github
    ) -> EnsureCheck | None:
        """Return the check to show: that of the worst pull request that is open at the commit; None
        if another one's review is in progress.
        """
        commit = unended.check.commit
        others = self._store.commit_checks.list_others(
            unended.repository_id, commit, unended.number
        )
        if not others or unended.number is None:
            return action
        heads = CommitHeads(github.reader(unended.repository), commit)
        own = NO_RESULT
        if heads.find_open(unended.number) is not None:
            own = rank(action.conclusion, is_exempt=action.is_exempt)
        worst = heads.find_worst(others, own)
        if worst is None:
            return action
        if worst.conclusion is None:
            return None
        return show_other(action, worst.number, worst.conclusion)


def _plan_end(unended: UnendedCheck, settings: Settings, receipt: Receipt) -> EnsureCheck:
    """Return the check of a delivery that ended without a result. It is never a success."""
    if unended.conclusion is not None:
        title = f"Pull request {unended.number} ended with {unended.conclusion}"
        check = plan_unreviewed_check(
            unended.check.commit, unended.conclusion, title, "the review comment has the details"
        )
        return replace(check, is_exempt=unended.is_exempt)
    effective = RepositoryTable(settings).find(unended.repository) or without_entry(settings)
    if not effective.comments.show_cost:
        receipt = replace(receipt, cost_usd=None)
    reason = settings.shorten_paths(unended.reason or "no reason was stored")
    if unended.state == "done":
        reason = "the last event of the pull request caused no review"
    conclusion: Conclusion = (
        "cancelled" if unended.state == "superseded" else effective.review.incomplete
    )
    title = "Not reviewed"
    details = ""
    if unended.state == "dead":
        details = "`/review` of a person with write permission tries again"
        title = "The review failed"
        reason = reason.partition("; ")[0]  # behind it, errors say what the operator should do
    if unended.check.rejected is not None:
        title = "The result was not set"
        reason = settings.shorten_paths(f"GitHub rejected it: {unended.check.rejected}")
    return plan_unreviewed_check(
        unended.check.commit, conclusion, title, reason, receipt, details=details
    )
