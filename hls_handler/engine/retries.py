"""The decision when a failed delivery is tried again, for the pipeline and for the check that says
so.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hls_handler.errors import (
    AccountLimited,
    DependencyDown,
    Permanent,
    Retryable,
    StepFailed,
    with_remedy,
)
from hls_handler.settings.model import Limits
from hls_handler.wording import count

BACKOFF_CAP_S = 300.0
"""Longest pause between two attempts, in seconds."""


def decide_retry(
    error: StepFailed,
    *,
    attempts: int,
    failures: int,
    first_failure_at: datetime,
    now: datetime,
    jitter: float,
    limits: Limits,
) -> datetime | str:
    """Return the time of the next attempt, or the reason to give up.

    `failures` counts all failures of the delivery, including `error`; `attempts` does not count
    outages of GitHub and Claude. The pause before the retry is multiplied by (1 + `jitter`) / 2.
    The retry is never before `error.not_before`.
    """
    if isinstance(error, Permanent):
        return str(error)
    if isinstance(error, AccountLimited) and error.not_before is not None:
        return error.not_before
    if attempts >= limits.max_attempts and not isinstance(error, DependencyDown):
        return f"failed {count(attempts, 'time')} (limits.max_attempts), last: {error}"
    if now - first_failure_at >= timedelta(hours=limits.give_up_after_h):
        return (
            f"still failing after {limits.give_up_after_h:g} h (limits.give_up_after_h), last:"
            f" {with_remedy(error)}"
        )
    doublings = min(failures - 1, 16)  # past the cap anyway, and 2.0 ** 2000 overflows
    pause_s = min(limits.retry_backoff_s * 2**doublings, BACKOFF_CAP_S)
    at = now + timedelta(seconds=pause_s * (0.5 + 0.5 * jitter))
    return (
        max(at, error.not_before)
        if isinstance(error, Retryable) and error.not_before is not None
        else at
    )
