"""When to try again, or never: a pure decision over the error, the counts so far and the clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed
from hls_handler.settings.model import Limits

BACKOFF_CAP_S = 300.0


@dataclass(frozen=True, slots=True)
class TryAgain:
    at: datetime  # aware UTC
    counts: bool  # whether the failure uses up one of `limits.max_attempts`


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def after_failure(
    error: StepFailed,
    *,
    attempts: int,
    failures: int,
    first_failure_at: datetime,
    now: datetime,
    jitter: float,
    limits: Limits,
) -> TryAgain | GiveUp:
    """Decide what follows a failed step.

    `attempts` are the delivery's own failures and `failures` all of them, a dependency's too; both include this one.
    `jitter` is in [0, 1) and spreads the second half of the pause. A server's `not_before` is never shortened.
    """
    if isinstance(error, Permanent):
        return GiveUp(str(error))
    counts = not isinstance(error, DependencyDown)
    if counts and attempts >= limits.max_attempts:
        return GiveUp(f"failed {attempts} times (limits.max_attempts), last: {error}")
    if now - first_failure_at >= timedelta(hours=limits.give_up_after_h):
        return GiveUp(f"still failing after {limits.give_up_after_h:g} h (limits.give_up_after_h), last: {error}")
    doublings = min(failures - 1, 16)  # past the cap anyway, and 2.0 ** 2000 overflows
    pause_s = min(limits.retry_backoff_s * 2**doublings, BACKOFF_CAP_S)
    at = now + timedelta(seconds=pause_s * (0.5 + 0.5 * jitter))
    if isinstance(error, Retryable) and error.not_before is not None:
        at = max(at, error.not_before)
    return TryAgain(at=at, counts=counts)
