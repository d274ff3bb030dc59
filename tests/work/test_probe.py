"""The background probe: what each kind of trouble says in /health."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from queue import SimpleQueue

import pytest

from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.work.health import ComponentHealth, Health
from hls_handler.work.probe import Check, Probe

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PATIENCE_S = 30.0


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
    Probe([Check("queue", look), Check("settings", fine)], told).look()
    components = told.snapshot().components
    assert (components["queue"], components["settings"].state) == (found, "healthy")


def test_figures_of_a_look_are_shown_until_the_next_one_whatever_the_state() -> None:
    told = health()
    found: list[dict[str, int]] = [{"database_bytes": 81920}]
    probe = Probe([Check("store", lambda: found.pop())], told)
    probe.look()
    probe.look()  # fails: there is nothing to find any more
    store = told.snapshot().components["store"]
    assert (store.state, store.figures) == ("degraded", {"database_bytes": 81920})


@pytest.mark.parametrize(("proves", "state"), [(True, "healthy"), (False, "degraded")])
def test_only_a_look_that_proves_as_much_as_a_use_ends_the_trouble_of_a_use(proves: bool, state: str) -> None:
    told = health()
    told.report_problem("claude", "400: credit balance is too low", "add credit")
    Probe([Check("claude", fine, proves=proves)], told).look()
    assert told.snapshot().components["claude"].state == state


def test_what_the_probe_finds_does_not_take_the_place_of_what_a_use_found() -> None:
    def look() -> None:
        raise HlsError("nothing is asked of it")

    told = health()
    told.report_problem("claude", "400: credit balance is too low", "add credit")
    Probe([Check("claude", look)], told).look()
    assert told.snapshot().components["claude"].message == "400: credit balance is too low"


def test_the_first_look_is_taken_at_the_start() -> None:
    looked = threading.Event()
    probe = Probe([Check("store", looked.set)], health())
    probe.start()
    assert looked.wait(PATIENCE_S)
    probe.stop()


def test_who_mended_something_need_not_wait_for_the_next_look() -> None:
    looks: SimpleQueue[str] = SimpleQueue()
    probe = Probe([Check("store", lambda: looks.put("a look"))], health())
    probe.start()
    assert looks.get(timeout=PATIENCE_S) == "a look"
    probe.look_soon()
    assert looks.get(timeout=PATIENCE_S) == "a look"
    probe.stop()


def test_while_the_service_is_unhealthy_it_looks_more_often() -> None:
    told = health()
    probe = Probe([], told)
    told.report_problem("github", "502", "wait")
    assert probe.pause_s == 60
    told.report_problem("store", "locked", "wait", severity="unhealthy")
    assert probe.pause_s == 5


def test_trouble_that_begins_between_two_looks_does_not_wait_for_the_minute_to_end() -> None:
    looks: SimpleQueue[str] = SimpleQueue()
    told = health()
    probe = Probe([Check("queue", lambda: looks.put("a look"))], told, soon_s=0.01)
    probe.start()
    assert looks.get(timeout=PATIENCE_S) == "a look"
    told.report_problem("store", "locked", "wait", severity="unhealthy")
    assert looks.get(timeout=PATIENCE_S) == "a look"
    probe.stop()
