"""The background probe: which problem /health shows for each error of a check."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hls_handler.background.threads import Check, ProblemFound, probe_every_s, run_checks
from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def pass_check() -> None:
    pass


def make_health() -> Health:
    return Health(lambda: NOON)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            DependencyDown("401", dependency="github", remedy="set github.token"),
            ComponentHealth("degraded", NOON, "401", "set github.token"),
        ),
        (StoreUnavailable("disk full"), ComponentHealth("unhealthy", NOON, "disk full", "make the database writable")),
        (HlsError("stuck"), ComponentHealth("degraded", NOON, "stuck", "see the message")),
        (KeyError("x"), ComponentHealth("degraded", NOON, "the probe failed: KeyError", "see the log")),
    ],
    ids=["dependency", "store", "other", "defect"],
)
def test_failed_check_is_shown_and_the_next_check_runs(error: Exception, found: ComponentHealth) -> None:
    def check() -> None:
        raise error

    health = make_health()
    run_checks([Check("queue", check), Check("settings", pass_check)], health)
    components = health.snapshot().components
    assert (components["queue"], components["settings"].state) == (found, "healthy")


def test_figures_of_a_check_are_shown_until_the_next_success() -> None:
    health = make_health()
    found: list[dict[str, int]] = [{"database_bytes": 81920}]
    checks = [Check("store", lambda: found.pop())]
    run_checks(checks, health)
    run_checks(checks, health)  # fails: the list is empty
    store = health.snapshot().components["store"]
    assert (store.state, store.metrics) == ("degraded", {"database_bytes": 81920})


@pytest.mark.parametrize(("proves", "state"), [(True, "healthy"), (False, "degraded")])
def test_only_a_check_that_proves_use_clears_a_problem_of_use(proves: bool, state: str) -> None:
    health = make_health()
    health.report_problem("claude", "400: credit balance is too low", "add credit")
    run_checks([Check("claude", pass_check, proves_use=proves)], health)
    assert health.snapshot().components["claude"].state == state


def test_check_that_proves_use_clears_what_it_found_itself() -> None:
    found = [ProblemFound("everything is paused", remedy="resume")]

    def check() -> None:
        if found:
            raise found.pop()

    health = make_health()
    checks = [Check("queue", check, proves_use=True)]
    run_checks(checks, health)
    assert health.snapshot().components["queue"].state == "degraded"
    run_checks(checks, health)
    assert health.snapshot().components["queue"].state == "healthy"


def test_failed_check_does_not_replace_a_problem_of_use() -> None:
    def check() -> None:
        raise HlsError("the check failed")

    health = make_health()
    health.report_problem("claude", "400: credit balance is too low", "add credit")
    run_checks([Check("claude", check)], health)
    assert health.snapshot().components["claude"].message == "400: credit balance is too low"


def test_checks_run_more_often_while_the_service_is_unhealthy() -> None:
    health = make_health()
    health.report_problem("github", "502", "wait")
    assert probe_every_s(health) == 60
    health.report_problem("store", "locked", "wait", severity="unhealthy")
    assert probe_every_s(health) == 5
