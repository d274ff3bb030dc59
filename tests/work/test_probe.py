"""The background probe: what each kind of trouble says in /health."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.work.background import Check, probe_every_s, run_checks
from hls_handler.work.health import ComponentHealth, Health

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def fine() -> None:
    pass


def health() -> Health:
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
def test_trouble_is_told_with_its_remedy_and_the_next_check_is_made(error: Exception, found: ComponentHealth) -> None:
    def look() -> None:
        raise error

    told = health()
    run_checks([Check("queue", look), Check("settings", fine)], told)
    components = told.snapshot().components
    assert (components["queue"], components["settings"].state) == (found, "healthy")


def test_figures_of_a_look_are_shown_until_the_next_one_whatever_the_state() -> None:
    told = health()
    found: list[dict[str, int]] = [{"database_bytes": 81920}]
    checks = [Check("store", lambda: found.pop())]
    run_checks(checks, told)
    run_checks(checks, told)  # fails: there is nothing to find any more
    store = told.snapshot().components["store"]
    assert (store.state, store.figures) == ("degraded", {"database_bytes": 81920})


@pytest.mark.parametrize(("proves", "state"), [(True, "healthy"), (False, "degraded")])
def test_only_a_look_that_proves_as_much_as_a_use_ends_the_trouble_of_a_use(proves: bool, state: str) -> None:
    told = health()
    told.report_problem("claude", "400: credit balance is too low", "add credit")
    run_checks([Check("claude", fine, proves_use=proves)], told)
    assert told.snapshot().components["claude"].state == state


def test_what_the_probe_finds_does_not_take_the_place_of_what_a_use_found() -> None:
    def look() -> None:
        raise HlsError("nothing is asked of it")

    told = health()
    told.report_problem("claude", "400: credit balance is too low", "add credit")
    run_checks([Check("claude", look)], told)
    assert told.snapshot().components["claude"].message == "400: credit balance is too low"


def test_checks_run_more_often_while_the_service_is_unhealthy() -> None:
    told = health()
    told.report_problem("github", "502", "wait")
    assert probe_every_s(told) == 60
    told.report_problem("store", "locked", "wait", severity="unhealthy")
    assert probe_every_s(told) == 5
