"""Health of the service's components."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from hls_handler.engine.health import Component, ComponentHealth, ComponentSeverity, Health, Overall
from tests.engine.world import NOON


class SteppedClock:
    """Clock that advances by one minute each time it is read."""

    def __init__(self) -> None:
        self.now = NOON - timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def test_weak_probe_does_not_replace_the_result_of_a_recent_use() -> None:
    now = [NOON]
    health = Health(lambda: now[0])
    health.report_problem("claude", "400: credit balance is too low", "add credit")
    now[0] += timedelta(minutes=10)
    health.probe_ok("claude")
    health.report_problem("claude", "nothing is asked of it until 12:20", "wait", by_probe=True)
    assert health.snapshot().components["claude"] == ComponentHealth(
        "degraded", NOON, "400: credit balance is too low", "add credit"
    )
    now[0] += timedelta(seconds=1)
    health.probe_ok("claude")  # the last use is too old to outweigh the probe
    assert health.snapshot().components["claude"].state == "healthy"
    health.report_problem("claude", "429", "wait", by_probe=True)
    # an old use does not outweigh it
    health.report_problem("claude", "401", "set claude.api_key", by_probe=True)
    assert health.snapshot().components["claude"].message == "401"


def test_successful_use_does_not_end_what_only_the_probe_can_see() -> None:
    health = Health(lambda: NOON)
    health.report_problem(
        "github", "the App lacks checks: write", "accept it", by_probe=True, is_lasting=True
    )
    health.ok("github")
    assert health.snapshot().components["github"].message == "the App lacks checks: write"
    health.report_problem("github", "502", "wait")
    health.ok("github")
    assert health.snapshot().components["github"].state == "healthy"  # until the next probe
    health.report_problem(
        "github", "the App lacks checks: write", "accept it", by_probe=True, is_lasting=True
    )
    health.probe_ok("github")
    health.report_problem("github", "401", "set github.token", by_probe=True)
    health.ok("github")
    assert health.snapshot().components["github"].state == "healthy"


@pytest.mark.parametrize(
    ("problems", "overall"),
    [
        ([], "healthy"),
        ([("github", "degraded")], "degraded"),
        ([("store", "unhealthy")], "unhealthy"),
        ([("github", "degraded"), ("store", "unhealthy"), ("claude", "degraded")], "unhealthy"),
    ],
    ids=["nothing", "one degraded", "store", "both"],
)
def test_overall_state_is_that_of_the_worst_component(
    problems: Sequence[tuple[Component, ComponentSeverity]], overall: Overall
) -> None:
    health = Health(SteppedClock())
    health.ok("queue")
    for component, severity in problems:
        health.report_problem(component, "m", "r", severity=severity)
    assert health.snapshot().overall == overall


def test_each_change_of_a_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(SteppedClock())
    for message in ("locked", "still locked"):
        health.report_problem("store", message, "stop the other program", severity="unhealthy")
    for message in ("502", "503"):
        health.report_problem("github", message, "wait")
    health.ok("store")
    health.ok("store")
    health.ok("github")
    assert [
        (record.levelname, record.message, record.__dict__["component"])
        for record in caplog.records
    ] == [
        ("ERROR", "unhealthy", "store"),
        ("WARNING", "degraded", "github"),
        ("WARNING", "healthy again", "store"),
        ("WARNING", "healthy again", "github"),
    ]
    assert caplog.records[0].__dict__["why"] == "locked"
    assert caplog.records[2].__dict__["unhealthy_for_s"] == 240
