"""The background probe: the health that each kind of error reports."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest

from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.work.health import ComponentHealth, Health
from hls_handler.work.probe import Check, Probe
from tests.work.world import NOON, TIMEOUT_S


def succeed() -> None:
    pass


def health() -> Health:
    return Health(lambda: NOON)


@pytest.mark.parametrize(
    ("error", "expected"),
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
def test_error_is_reported_with_its_remedy_and_later_checks_run(error: Exception, expected: ComponentHealth) -> None:
    def fail() -> None:
        raise error

    reported = health()
    Probe([Check("queue", fail), Check("settings", succeed)], reported).look()
    components = reported.snapshot().components
    assert (components["queue"], components["settings"].state) == (expected, "healthy")


def test_figures_remain_after_a_failed_check() -> None:
    reported = health()
    expected: list[dict[str, int]] = [{"database_bytes": 81920}]
    probe = Probe([Check("store", lambda: expected.pop())], reported)
    probe.look()
    probe.look()  # fails: the list is empty
    store = reported.snapshot().components["store"]
    assert (store.state, store.figures) == ("degraded", {"database_bytes": 81920})


@pytest.mark.parametrize(("proves", "state"), [(True, "healthy"), (False, "degraded")])
def test_only_a_proving_check_ends_a_problem_found_by_a_use(proves: bool, state: str) -> None:
    reported = health()
    reported.report_problem("claude", "400: credit balance is too low", "add credit")
    Probe([Check("claude", succeed, proves=proves)], reported).look()
    assert reported.snapshot().components["claude"].state == state


def test_probe_does_not_replace_a_problem_found_by_a_use() -> None:
    def fail() -> None:
        raise HlsError("no requests")

    reported = health()
    reported.report_problem("claude", "400: credit balance is too low", "add credit")
    Probe([Check("claude", fail)], reported).look()
    assert reported.snapshot().components["claude"].message == "400: credit balance is too low"


def test_first_check_runs_at_the_start() -> None:
    has_checked = threading.Event()
    probe = Probe([Check("store", has_checked.set)], health())
    probe.start()
    assert has_checked.wait(TIMEOUT_S)
    probe.stop()


def test_look_soon_runs_the_checks_at_once() -> None:
    checks: SimpleQueue[str] = SimpleQueue()
    probe = Probe([Check("store", lambda: checks.put("checked"))], health())
    probe.start()
    assert checks.get(timeout=TIMEOUT_S) == "checked"
    probe.look_soon()
    assert checks.get(timeout=TIMEOUT_S) == "checked"
    probe.stop()


def test_probe_runs_more_often_while_unhealthy() -> None:
    reported = health()
    probe = Probe([], reported)
    reported.report_problem("github", "502", "wait")
    assert probe.pause_s == 60
    reported.report_problem("store", "locked", "wait", severity="unhealthy")
    assert probe.pause_s == 5


def test_new_problem_shortens_the_pause() -> None:
    checks: SimpleQueue[str] = SimpleQueue()
    reported = health()
    probe = Probe([Check("queue", lambda: checks.put("checked"))], reported, soon_s=0.01)
    probe.start()
    assert checks.get(timeout=TIMEOUT_S) == "checked"
    reported.report_problem("store", "locked", "wait", severity="unhealthy")
    assert checks.get(timeout=TIMEOUT_S) == "checked"
    probe.stop()
