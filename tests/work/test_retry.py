"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed
from hls_handler.settings.model import Limits
from hls_handler.work.runner import GiveUp, TryAgain, after_failure

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LIMITS = Limits(max_attempts=4, retry_backoff_s=5, give_up_after_h=24)
OUTAGE = DependencyDown("503", dependency="github", remedy="wait")


def decide(
    error: StepFailed,
    *,
    attempts: int = 1,
    failures: int = 1,
    failing_for: timedelta = timedelta(),
    jitter: float = 0.0,
) -> TryAgain | GiveUp:
    return after_failure(
        error,
        attempts=attempts,
        failures=failures,
        first_failure_at=NOON - failing_for,
        now=NOON,
        jitter=jitter,
        limits=LIMITS,
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 2.5), (2, 5), (3, 10), (6, 80), (7, 150), (100_000, 150)],
    ids=["first", "doubled", "doubled again", "below the cap", "capped", "capped for good"],
)
def test_pause_doubles_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert decide(OUTAGE, failures=failures) == TryAgain(at=NOON + timedelta(seconds=seconds), counts=False)


def test_jitter_spreads_the_second_half_of_the_pause() -> None:
    assert decide(OUTAGE, failures=2, jitter=0.5) == TryAgain(at=NOON + timedelta(seconds=7.5), counts=False)


def test_a_time_that_the_server_names_is_not_shortened() -> None:
    in_an_hour = NOON + timedelta(hours=1)
    assert decide(Retryable("422", not_before=in_an_hour)) == TryAgain(at=in_an_hour, counts=True)


def test_a_time_that_the_server_names_does_not_shorten_our_own_pause() -> None:
    at_once = NOON + timedelta(seconds=1)
    assert decide(Retryable("422", not_before=at_once)) == TryAgain(at=NOON + timedelta(seconds=2.5), counts=True)


def test_an_outage_uses_up_no_attempt_but_ends_after_a_day() -> None:
    assert isinstance(decide(OUTAGE, attempts=99, failing_for=timedelta(hours=23)), TryAgain)
    assert decide(OUTAGE, attempts=99, failing_for=timedelta(hours=24)) == GiveUp(
        "still failing after 24 h (limits.give_up_after_h), last: 503"
    )


def test_own_failures_are_given_up_at_the_last_attempt() -> None:
    assert isinstance(decide(Retryable("422"), attempts=3), TryAgain)
    assert decide(Retryable("422"), attempts=4) == GiveUp("failed 4 times (limits.max_attempts), last: 422")


def test_permanent_failures_are_not_tried_again() -> None:
    assert decide(Permanent("issue is locked")) == GiveUp("issue is locked")
