"""What follows from a failed attempt: retry, hold or dead letter; and the log line about a finished
delivery.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from hls_handler.engine.job import decide_retry
from hls_handler.errors import (
    AccountLimited,
    Dependency,
    DependencyDown,
    Retryable,
    StepFailed,
    StoreUnavailable,
)
from hls_handler.settings.model import Limits
from tests.engine.claude import CLAUDE_DOWN
from tests.engine.world import BUG, GUID, NOON, Ended, MakeWorld, World, settings
from tests.queue.builders import accept, queued

HOUR_S = 3600.0
OTHER: dict[Dependency, str] = {"github": "claude", "claude": "github"}


def run_and_fail(world: World, error: DependencyDown) -> None:
    """Run a delivery that fails with this error, in Claude or before the first write."""
    world.accept()
    if error.dependency == "claude":
        world.claude.replies = [error, BUG]
    else:
        world.github.raise_once(error, "POST /issues/1/labels")
    assert world.run() is None


@pytest.mark.parametrize("part", ["gather", "post"])
def test_dead_delivery_has_the_duration_and_the_failed_step_its_start(
    make_world: MakeWorld, part: str
) -> None:
    world = make_world(BUG)
    world.accept()
    if part == "gather":
        world.github.fail(403, "GET /issues/1")
    else:
        world.github.fail(403, "POST /issues/1/labels")
    verb, path = ("GET", "") if part == "gather" else ("POST", "/labels")
    reason = f"{verb} /repos/Codertocat/Hello-World/issues/1{path}: 403 Fault: the token or its account lacks a permission"
    assert world.run() == Ended(GUID, "dead", reason)
    row = world.row()
    assert (row.took_s is not None, row.failures) == (True, 1)
    (failed,) = (step for step in world.report().steps if step.status == "failed")
    assert (failed.name, failed.detail) == (part, reason)
    assert None not in (failed.started_at, failed.took_s, failed.github_requests)


def test_finished_step_restarts_the_time_of_an_outage(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, BUG, given=settings(limits={"give_up_after_h": 2}))
    world.accept()
    assert world.run() is None
    world.advance(2 * HOUR_S)
    world.github.fail(502, "POST /issues/1/labels", times=2)
    assert world.run() is None  # Claude has answered, and GitHub fails for the first time
    world.advance(2 * HOUR_S)
    assert world.run() == Ended(
        GUID,
        "dead",
        "still failing after 2 h (limits.give_up_after_h), last: POST"
        " /repos/Codertocat/Hello-World/issues/1/labels: 502 Fault; wait: GitHub is temporarily"
        " unavailable (https://www.githubstatus.com)",
    )


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_dependency_is_held_until_the_time_that_the_server_named(
    make_world: MakeWorld, dependency: Dependency
) -> None:
    world = make_world()
    until = world.store.now() + timedelta(hours=1)
    run_and_fail(
        world, DependencyDown("429", dependency=dependency, remedy="wait", not_before=until)
    )
    assert world.store.rate_limiter.held_until(dependency) == until
    assert world.store.rate_limiter.held_until(OTHER[dependency]) is None
    calls = (len(world.claude.asked), world.github.calls.count("POST /issues/1/labels"))
    world.accept(guid="second", number=7)
    assert world.run() is None
    assert world.row("second").due_at == until
    assert (len(world.claude.asked), world.github.calls.count("POST /issues/1/labels")) == calls


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
    part = world.component(dependency)
    assert (part.state, part.message, part.remedy) == ("degraded", "401", "replace the key")
    assert world.component("store").state == "unknown"


def test_unavailable_database_is_unhealthy_and_keeps_the_lease(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.raise_once(StoreUnavailable("the database is locked"), "GET /issues/1")
    assert world.run() is None
    part = world.component("store")
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
) -> datetime | str:
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
    ("failures", "jitter", "seconds"),
    [(1, 0, 2.5), (2, 0, 5), (2, 0.5, 7.5), (6, 0, 80), (7, 0, 150), (100_000, 0, 150)],
    ids=["first", "doubled", "with jitter", "below the cap", "capped", "far above the cap"],
)
def test_backoff_doubles_up_to_five_minutes(failures: int, jitter: float, seconds: float) -> None:
    assert decide(OUTAGE, failures=failures, jitter=jitter) == NOON + timedelta(seconds=seconds)


def test_retry_is_neither_before_the_backoff_nor_before_the_server_permits_it() -> None:
    in_an_hour, at_once = NOON + timedelta(hours=1), NOON + timedelta(seconds=1)
    assert decide(Retryable("422", not_before=in_an_hour)) == in_an_hour
    assert decide(Retryable("422", not_before=at_once)) == NOON + timedelta(seconds=2.5)


def test_outage_uses_no_attempt_but_ends_after_a_day() -> None:
    assert isinstance(decide(OUTAGE, attempts=99, failed_for=timedelta(hours=23)), datetime)
    reason = "still failing after 24 h (limits.give_up_after_h), last: 503; wait"
    assert decide(OUTAGE, attempts=99, failed_for=timedelta(hours=24)) == reason


def test_limit_of_an_account_is_waited_for_after_a_day_of_failures() -> None:
    in_an_hour = NOON + timedelta(hours=1)
    error = AccountLimited("400", dependency="claude", remedy="wait", not_before=in_an_hour)
    assert decide(error, attempts=99, failed_for=timedelta(hours=24)) == in_an_hour


def test_failure_at_the_last_attempt_gives_up() -> None:
    assert isinstance(decide(Retryable("422"), attempts=3), datetime)
    assert decide(Retryable("422"), attempts=4) == "failed 4 times (limits.max_attempts), last: 422"


# The log line about a finished delivery, and the requests to GitHub that it counts


FIELDS = (
    "state",
    "handler",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "github_requests",
    "attempts",
)


def finish_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "delivery finished"]


def test_finished_delivery_is_logged_once_with_its_cost(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world(CLAUDE_DOWN, BUG)
    world.accept()
    assert world.run() is None
    sent_first = world.github.requests_sent
    world.advance(3600)
    world.finish()
    (line,) = finish_lines(caplog)
    fields = line.__dict__
    assert line.levelname == "INFO"
    assert [fields[name] for name in FIELDS] == [
        "done",
        "IssueHandler",
        "claude-haiku-5-5",
        900,
        100,
        0.00014,
        world.github.requests_sent,
        2,
    ]
    assert 0 < sent_first < world.github.requests_sent
    assert fields["prompt"].startswith("issues/analyze@")
    assert fields["duration_ms"] >= 3_600_000
    assert fields["reason"] == world.row().reason
    assert world.row().github_requests == world.github.requests_sent
    gather = world.store.checkpoints.load(world.row().guid)["gather", 0]
    assert gather.started_at is not None
    assert 0 < (gather.github_requests or 0) < world.github.requests_sent


def test_superseded_delivery_and_one_whose_worker_died_are_logged(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world()
    accept(world.store, queued("g1", number=7))
    accept(world.store, queued("g2", number=7, action="closed", supersedes="all"))
    (superseded,) = finish_lines(caplog)
    assert (superseded.__dict__["delivery"], superseded.__dict__["state"]) == ("g1", "superseded")
    caplog.clear()
    world.store.queue.claim(worker="w", lease_s=30, max_crashes=1)
    world.advance(31)
    world.store.queue.claim(worker="w", lease_s=30, max_crashes=1)
    (dead,) = finish_lines(caplog)
    assert (dead.__dict__["delivery"], dead.__dict__["state"], dead.levelname) == (
        "g2",
        "dead",
        "ERROR",
    )
    assert dead.__dict__["reason"] == "its worker died 1 time without completing another step"
