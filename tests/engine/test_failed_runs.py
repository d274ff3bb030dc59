"""Failed runs: the delivery's next attempt, holds of dependencies, health, and the decision to retry."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.deliveries import Finished
from hls_handler.engine.runner import GiveUp, Retry, decide_retry
from hls_handler.errors import Dependency, DependencyDown, Permanent, Retryable, StepFailed, StoreUnavailable
from hls_handler.reports.delivery_report import load_report
from hls_handler.settings.model import Limits
from tests.engine.fakes import CLAUDE_DOWN, GITHUB_DOWN
from tests.engine.world import BUG, GUID, NOON, MakeWorld, World, settings

HOUR_S = 3600.0
OTHER: dict[Dependency, str] = {"github": "claude", "claude": "github"}


def run_and_fail(world: World, error: DependencyDown) -> None:
    """Run a delivery that fails with this error, in Claude or before the first write."""
    world.accept()
    if error.dependency == "claude":
        world.claude.replies = [error, BUG]
    else:
        world.github.failing_writes = [error]
    assert world.run() is None


@pytest.mark.parametrize("part", ["gather", "post"])
def test_dead_delivery_has_the_duration_and_the_failed_step_its_start(make_world: MakeWorld, part: str) -> None:
    world = make_world(BUG)
    world.accept()
    if part == "gather":
        world.github.failing = [Permanent("GitHub answered 404")]
    else:
        world.github.failing_writes = [Permanent("GitHub answered 404")]
    assert world.run() == Finished(GUID, "dead", "GitHub answered 404")
    row = world.row()
    assert (row.took_s is not None, row.failures) == (True, 1)
    (failed,) = (step for step in load_report(world.store, row).steps if step.status == "failed")
    assert (failed.name, failed.detail) == (part, "GitHub answered 404")
    assert None not in (failed.started_at, failed.took_s, failed.github_requests)


def test_finished_step_restarts_the_time_of_an_outage(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, BUG, given=settings(limits={"give_up_after_h": 2}))
    world.accept()
    assert world.run() is None
    world.advance(2 * HOUR_S)
    world.github.failing_writes = [GITHUB_DOWN] * 2
    assert world.run() is None  # Claude has answered, and GitHub fails for the first time
    world.advance(2 * HOUR_S)
    assert world.run() == Finished(
        GUID, "dead", "still failing after 2 h (limits.give_up_after_h), last: GitHub answered 502"
    )


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_dependency_is_held_until_the_time_that_the_server_named(make_world: MakeWorld, dependency: Dependency) -> None:
    world = make_world()
    until = world.store.now() + timedelta(hours=1)
    run_and_fail(world, DependencyDown("429", dependency=dependency, remedy="wait", not_before=until))
    assert world.store.rate_limiter.held_until(dependency) == until
    assert world.store.rate_limiter.held_until(OTHER[dependency]) is None
    calls = (len(world.claude.asked), world.github.calls.count("write labels"))
    world.accept(guid="second", number=7)
    assert world.run() is None
    assert world.row("second").due_at == until
    assert (len(world.claude.asked), world.github.calls.count("write labels")) == calls


def test_write_with_unknown_result_delays_only_its_own_delivery(
    make_world: MakeWorld,
) -> None:
    world = make_world(given=settings(limits={"retry_backoff_s": 5}))
    until = world.store.now() + timedelta(seconds=60)
    run_and_fail(
        world,
        DependencyDown("no answer", dependency="github", remedy="wait", not_before=until, applies_to_all_calls=False),
    )
    assert world.row().due_at == until
    held_until = world.store.rate_limiter.held_until("github")
    assert held_until is not None
    assert held_until <= world.store.now() + timedelta(seconds=5)


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_dependency_is_held_for_the_backoff_and_reported_in_health(
    make_world: MakeWorld, dependency: Dependency
) -> None:
    world = make_world(given=settings(limits={"retry_backoff_s": 300}))
    before = world.store.now()
    run_and_fail(world, DependencyDown("401", dependency=dependency, remedy="replace the key"))
    until = world.store.rate_limiter.held_until(dependency)
    assert until is not None
    assert before <= until - timedelta(seconds=300) <= world.store.now()
    part = world.health.snapshot().components[dependency]
    assert (part.state, part.message, part.remedy) == ("degraded", "401", "replace the key")
    assert world.health.snapshot().components["store"].state == "unknown"


def test_unavailable_database_is_unhealthy_and_keeps_the_lease(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.failing = [StoreUnavailable("the database is locked")]
    assert world.run() is None
    part = world.health.snapshot().components["store"]
    assert (part.state, part.message) == ("unhealthy", "the database is locked")
    assert (world.row().state, world.row().failures) == ("running", 0)


# The decision to retry or to give up


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
