"""Failed runs: the delivery's next attempt, holds of dependencies, and health."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.deliveries import Finished
from hls_handler.errors import Dependency, DependencyDown, StoreUnavailable
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN
from tests.work.world import BUG, GUID, MakeWorld, World, settings

HOUR_S = 3600.0
OTHER: dict[Dependency, str] = {"github": "claude", "claude": "github"}


def run_and_fail(one: World, error: DependencyDown) -> None:
    """Run a delivery that fails with this error, in Claude or before the first write."""
    one.accept()
    if error.dependency == "claude":
        one.claude.replies = [error, BUG]
    else:
        one.github.failing_writes = [error]
    assert one.run() is None


def test_delivery_is_dead_after_a_long_outage(make_world: MakeWorld) -> None:
    one = make_world(CLAUDE_DOWN, given=settings(limits={"give_up_after_h": 2}))
    one.accept()
    assert one.run() is None
    one.later(HOUR_S)
    assert one.run() is None
    one.later(HOUR_S)
    reason = "still failing after 2 h (limits.give_up_after_h), last: Claude answered 529"
    assert one.run() == Finished(GUID, "dead", reason)
    assert (one.row().state, one.row().reason) == ("dead", reason)
    assert one.store.statistics.counters()["handler", "IssueHandler:dead"] == 1


def test_finished_step_restarts_the_time_of_an_outage(make_world: MakeWorld) -> None:
    one = make_world(CLAUDE_DOWN, BUG, given=settings(limits={"give_up_after_h": 2}))
    one.accept()
    assert one.run() is None
    one.later(2 * HOUR_S)
    one.github.failing_writes = [GITHUB_DOWN] * 2
    assert one.run() is None  # Claude has answered, and GitHub fails for the first time
    one.later(2 * HOUR_S)
    assert one.run() == Finished(
        GUID, "dead", "still failing after 2 h (limits.give_up_after_h), last: GitHub answered 502"
    )


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_dependency_is_held_until_the_time_that_the_server_named(make_world: MakeWorld, dependency: Dependency) -> None:
    one = make_world()
    until = one.store.now() + timedelta(hours=1)
    run_and_fail(one, DependencyDown("429", dependency=dependency, remedy="wait", not_before=until))
    assert one.store.rate_limiter.held_until(dependency) == until
    assert one.store.rate_limiter.held_until(OTHER[dependency]) is None
    calls = (len(one.claude.asked), one.github.asked.count("write labels"))
    one.accept(guid="second", thread=7)
    assert one.run() is None
    assert one.row("second").due_at == until
    assert (len(one.claude.asked), one.github.asked.count("write labels")) == calls


def test_write_with_unknown_result_delays_only_its_own_delivery(
    make_world: MakeWorld,
) -> None:
    one = make_world(given=settings(limits={"retry_backoff_s": 5}))
    until = one.store.now() + timedelta(seconds=60)
    run_and_fail(
        one,
        DependencyDown("no answer", dependency="github", remedy="wait", not_before=until, applies_to_all_calls=False),
    )
    assert one.row().due_at == until
    held_until = one.store.rate_limiter.held_until("github")
    assert held_until is not None
    assert held_until <= one.store.now() + timedelta(seconds=5)


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_dependency_is_held_for_the_backoff_without_a_time_from_the_server(
    make_world: MakeWorld, dependency: Dependency
) -> None:
    one = make_world(given=settings(limits={"retry_backoff_s": 300}))
    before = one.store.now()
    run_and_fail(one, DependencyDown("503", dependency=dependency, remedy="wait"))
    until = one.store.rate_limiter.held_until(dependency)
    assert until is not None
    assert before <= until - timedelta(seconds=300) <= one.store.now()


@pytest.mark.parametrize("dependency", ["github", "claude"])
def test_outage_is_reported_in_health_with_its_remedy(make_world: MakeWorld, dependency: Dependency) -> None:
    one = make_world()
    run_and_fail(one, DependencyDown("401", dependency=dependency, remedy="replace the key"))
    part = one.health.snapshot().components[dependency]
    assert (part.state, part.message, part.remedy) == ("degraded", "401", "replace the key")
    assert one.health.snapshot().components["store"].state == "unknown"


def test_unavailable_database_is_unhealthy_and_keeps_the_lease(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.failing = [StoreUnavailable("the database is locked")]
    assert one.run() is None
    part = one.health.snapshot().components["store"]
    assert (part.state, part.message) == ("unhealthy", "the database is locked")
    assert (one.row().state, one.row().failures) == ("running", 0)
