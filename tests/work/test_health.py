"""How the service's parts are."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.work.health import COMPONENTS, Component, ComponentHealth, Health, Overall, Severity

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class SteppedClock:
    """Moves on by one minute each time it is read."""

    def __init__(self) -> None:
        self.now = NOON - timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def test_a_component_that_was_not_used_yet_is_unknown_and_counts_as_healthy() -> None:
    snapshot = Health(SteppedClock()).snapshot()
    assert dict(snapshot.components) == {name: ComponentHealth("unknown", NOON) for name in COMPONENTS}
    assert COMPONENTS == ("store", "queue", "github", "claude", "prompts", "settings", "webhooks")
    assert snapshot.overall == "healthy"


def test_trouble_says_what_is_wrong_since_when_and_what_to_do() -> None:
    health = Health(SteppedClock())
    health.report_problem("claude", "401: invalid key", "set claude.api_key")
    assert health.snapshot().components["claude"] == ComponentHealth(
        "degraded", NOON + timedelta(minutes=1), "401: invalid key", "set claude.api_key"
    )


def test_since_is_kept_while_the_state_stays_and_the_words_are_renewed() -> None:
    health = Health(SteppedClock())
    health.report_problem("github", "503", "wait")
    health.report_problem("github", "502", "wait on")
    assert health.snapshot().components["github"] == ComponentHealth(
        "degraded", NOON + timedelta(minutes=1), "502", "wait on"
    )
    health.ok("github")
    health.ok("github")
    assert health.snapshot().components["github"] == ComponentHealth("healthy", NOON + timedelta(minutes=3))


def test_a_probe_that_sees_less_does_not_outdo_what_a_use_saw() -> None:
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
    health.probe_ok("claude")  # nobody has tried for so long that the probe is all there is
    assert health.snapshot().components["claude"].state == "healthy"
    health.report_problem("claude", "429", "wait", by_probe=True)
    health.report_problem(
        "claude", "401", "set claude.api_key", by_probe=True
    )  # nor does what a use once saw stand against it
    assert health.snapshot().components["claude"].message == "401"


def test_a_use_that_works_ends_what_a_use_saw_at_once() -> None:
    health = Health(lambda: NOON)
    health.report_problem("claude", "529", "wait")
    health.ok("claude")
    health.report_problem("claude", "401", "set claude.api_key", by_probe=True)
    assert health.snapshot().components["claude"].message == "401"
    health.probe_ok("claude")
    assert health.snapshot().components["claude"].state == "healthy"


def test_a_use_that_had_begun_before_the_trouble_does_not_end_it() -> None:
    health = Health(SteppedClock())
    begun_at = health.moment()
    health.report_problem("claude", "the hourly budget is used up", "raise it")
    health.ok("claude", begun_at=begun_at)
    assert health.snapshot().components["claude"].state == "degraded"
    health.ok("claude", begun_at=health.moment())
    assert health.snapshot().components["claude"].state == "healthy"


def test_a_worse_state_begins_anew() -> None:
    health = Health(SteppedClock())
    health.report_problem("store", "slow", "look")
    health.report_problem("store", "disk full", "make room", severity="unhealthy")
    assert health.snapshot().components["store"].since == NOON + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("troubles", "overall"),
    [
        ([], "healthy"),
        ([("github", "degraded")], "degraded"),
        ([("store", "unhealthy")], "unhealthy"),
        ([("github", "degraded"), ("store", "unhealthy"), ("claude", "degraded")], "unhealthy"),
    ],
    ids=["nothing", "one degraded", "store", "both"],
)
def test_the_worst_component_decides_the_whole(
    troubles: Sequence[tuple[Component, Severity]], overall: Overall
) -> None:
    health = Health(SteppedClock())
    health.ok("queue")
    for component, severity in troubles:
        health.report_problem(component, "m", "r", severity=severity)
    assert health.snapshot().overall == overall


def test_a_component_that_is_another_by_now_counts_as_not_used_yet() -> None:
    health = Health(SteppedClock())
    health.report_problem("github", "401: bad credentials", "give a token")
    health.forget("github")
    assert health.snapshot().components["github"].state == "unknown"
    health.probe_ok("github")
    assert health.snapshot().components["github"].state == "healthy"


def test_a_snapshot_does_not_change_afterwards() -> None:
    health = Health(SteppedClock())
    before = health.snapshot()
    health.report_problem("store", "disk full", "make room", severity="unhealthy")
    assert before.overall == "healthy"


def test_every_thread_may_tell_how_it_went() -> None:
    health = Health(SteppedClock())

    def use(component: Component) -> None:
        for _ in range(500):
            health.report_problem(component, "down", "wait")
            health.ok(component)
        health.report_problem(component, "down", "wait")

    threads = [threading.Thread(target=use, args=(name,)) for name in COMPONENTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {component.state for component in health.snapshot().components.values()} == {"degraded"}


def test_the_log_says_when_nothing_can_be_taken_in_and_when_again(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(SteppedClock())
    for message in ("locked", "still locked"):
        health.report_problem("store", message, "stop the other program", severity="unhealthy")
    health.report_problem("github", "502", "wait")
    health.ok("store")
    health.ok("store")
    health.ok("github")
    assert [(record.levelname, record.message, record.__dict__["component"]) for record in caplog.records] == [
        ("ERROR", "unhealthy", "store"),
        ("WARNING", "healthy again", "store"),
    ]
    assert caplog.records[0].__dict__["why"] == "locked"
    assert caplog.records[1].__dict__["unhealthy_for_s"] == 240
