"""Decision to retry a failed delivery or to give up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.engine.runner import GiveUp, Retry, decide_retry
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed
from hls_handler.settings.model import Limits
from tests.engine.world import NOON

LIMITS = Limits(max_attempts=4, retry_backoff_s=5, give_up_after_h=24)
OUTAGE = DependencyDown("503", dependency="github", remedy="wait")


def decide(
    error: StepFailed,
    *,
    attempts: int = 1,
    failures: int = 1,
    failed_for: timedelta = timedelta(),
    jitter: float = 0.0,
) -> Retry | GiveUp:
    return decide_retry(
        error,
        attempts=attempts,
        failures=failures,
        first_failure_at=NOON - failed_for,
        now=NOON,
        jitter=jitter,
        limits=LIMITS,
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 2.5), (2, 5), (3, 10), (6, 80), (7, 150), (100_000, 150)],
    ids=["first", "doubled", "doubled again", "below the cap", "capped", "far above the cap"],
)
def test_backoff_doubles_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert decide(OUTAGE, failures=failures) == Retry(at=NOON + timedelta(seconds=seconds), counts=False)


def test_jitter_spreads_the_second_half_of_the_backoff() -> None:
    assert decide(OUTAGE, failures=2, jitter=0.5) == Retry(at=NOON + timedelta(seconds=7.5), counts=False)


def test_not_before_of_the_server_is_not_shortened() -> None:
    in_an_hour = NOON + timedelta(hours=1)
    assert decide(Retryable("422", not_before=in_an_hour)) == Retry(at=in_an_hour, counts=True)


def test_not_before_of_the_server_does_not_shorten_the_backoff() -> None:
    at_once = NOON + timedelta(seconds=1)
    assert decide(Retryable("422", not_before=at_once)) == Retry(at=NOON + timedelta(seconds=2.5), counts=True)


def test_outage_uses_no_attempt_but_ends_after_a_day() -> None:
    assert isinstance(decide(OUTAGE, attempts=99, failed_for=timedelta(hours=23)), Retry)
    assert decide(OUTAGE, attempts=99, failed_for=timedelta(hours=24)) == GiveUp(
        "still failing after 24 h (limits.give_up_after_h), last: 503"
    )


def test_failure_at_the_last_attempt_gives_up() -> None:
    assert isinstance(decide(Retryable("422"), attempts=3), Retry)
    assert decide(Retryable("422"), attempts=4) == GiveUp("failed 4 times (limits.max_attempts), last: 422")


def test_permanent_failure_is_not_retried() -> None:
    assert decide(Permanent("issue is locked")) == GiveUp("issue is locked")
