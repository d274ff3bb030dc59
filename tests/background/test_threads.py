"""The background threads: when they run, what a failed check shows in /health, and how old rows are
deleted.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue

import pytest

from hls_handler.background.threads import (
    Check,
    PeriodicThread,
    ProblemFound,
    delete_old,
    probe_every_s,
    run_checks,
)
from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.settings.model import Settings, StorageSettings
from hls_handler.store.retention import RetentionStore
from tests.engine.world import settings as base_settings

TIMEOUT_S = 30.0


def test_thread_runs_at_the_start_and_when_asked() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: 60.0)
    thread.start()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.run_soon()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.stop()


def test_check_that_does_not_prove_use_leaves_the_problem_of_a_worker() -> None:
    health = Health(lambda: datetime(2026, 3, 1, tzinfo=UTC))
    states = []
    for proves_use in (False, True):
        health.report_problem("github", "502", "wait")
        run_checks([Check("github", lambda: None, proves_use=proves_use)], health)
        states.append(health.snapshot().components["github"].state)
    assert states == ["degraded", "healthy"]


def test_thread_that_was_asked_once_pauses_after_the_run() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    pauses: SimpleQueue[str] = SimpleQueue()

    def every_s() -> float:
        pauses.put("a pause")
        return 60.0

    thread = PeriodicThread("test", lambda: runs.put("a run"), every_s)
    thread.run_soon()  # before the start
    thread.start()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    assert pauses.get(timeout=TIMEOUT_S) == "a pause"
    thread.stop()
    assert runs.empty()


def test_shorter_interval_ends_the_current_pause() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    every_s = [60.0]
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: every_s[0], poll_s=0.01)
    thread.start()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    every_s[0] = 0.01
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.stop()


def test_exception_is_logged_and_the_thread_continues(caplog: pytest.LogCaptureFixture) -> None:
    runs: SimpleQueue[int] = SimpleQueue()
    errors = [KeyError("a defect")]

    def run() -> None:
        runs.put(len(errors))
        if errors:
            raise errors.pop()

    thread = PeriodicThread("test", run, lambda: 0.001)
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert [runs.get(timeout=TIMEOUT_S) for _ in range(2)] == [1, 0]
        thread.stop()
    assert [record.message for record in caplog.records] == ["defect in a background thread"]


def test_stop_ends_a_wait_inside_run() -> None:
    waits: SimpleQueue[bool] = SimpleQueue()

    def run() -> None:
        waits.put(False)
        waits.put(thread.wait(TIMEOUT_S))

    thread = PeriodicThread("test", run, lambda: 60.0)
    thread.start()
    assert waits.get(timeout=TIMEOUT_S) is False
    thread.stop()
    assert waits.get(timeout=TIMEOUT_S) is True


NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def make_health() -> Health:
    return Health(lambda: NOON)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            DependencyDown("401", dependency="github", remedy="set github.token"),
            ComponentHealth("degraded", NOON, "401", "set github.token"),
        ),
        (
            StoreUnavailable("disk full"),
            ComponentHealth("unhealthy", NOON, "disk full", "make the database writable"),
        ),
        (HlsError("stuck"), ComponentHealth("degraded", NOON, "stuck", "see the message")),
        (
            KeyError("x"),
            ComponentHealth("degraded", NOON, "the probe failed: KeyError", "see the log"),
        ),
    ],
    ids=["dependency", "store", "other", "defect"],
)
def test_failed_check_is_shown_and_the_next_check_runs(
    error: Exception, found: ComponentHealth
) -> None:
    def pass_check() -> None:
        pass

    def check() -> None:
        raise error

    health = make_health()
    run_checks([Check("queue", check), Check("settings", pass_check)], health)
    components = health.snapshot().components
    assert (components["queue"], components["settings"].state) == (found, "healthy")


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


def test_checks_run_more_often_while_the_service_is_unhealthy() -> None:
    health = make_health()
    health.report_problem("github", "502", "wait")
    assert probe_every_s(health) == 60
    health.report_problem("store", "locked", "wait", severity="unhealthy")
    assert probe_every_s(health) == 5


DAY = timedelta(days=1)


class FakeStore(RetentionStore):
    """A store with this many old rows."""

    def __init__(self, *, deliveries: int = 0, bodies: int = 0) -> None:
        self.left = {"deliveries": deliveries, "bodies": bodies}
        self.calls: list[tuple[str, timedelta, int]] = []
        self.marked = 0

    def delete_deliveries(
        self, *, after: timedelta, limit: int, cached_for: timedelta = timedelta()
    ) -> int:
        self.cached_for = cached_for
        return self._delete("deliveries", after, limit)

    def delete_bodies(self, *, after: timedelta, limit: int) -> int:
        return self._delete("bodies", after, limit)

    def mark_ignored_findings(self) -> None:
        self.marked += 1

    def delete_system_texts(self) -> None:
        self.are_system_texts_deleted = bool(self.calls)

    def delete_counter_hours(self, *, after: timedelta) -> None:
        self.hours_after = after

    def _delete(self, table: str, after: timedelta, limit: int) -> int:
        self.calls.append((table, after, limit))
        deleted = min(limit, self.left[table])
        self.left[table] -= deleted
        return deleted


def make_settings(*, keep_days: int = 90, body_days: int = 14) -> Settings:
    storage = StorageSettings(keep_days=keep_days, body_days=body_days)
    return base_settings().model_copy(update={"storage": storage})


def retain(store: FakeStore, pauses: list[float], settings: Settings | None = None) -> None:
    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    delete_old(store, settings or make_settings(), wait)


def test_batches_are_deleted_until_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    store, pauses = FakeStore(deliveries=41, bodies=3), list[float]()
    with caplog.at_level(logging.INFO):
        retain(store, pauses)
    of_90_days = [("deliveries", 90 * DAY, 20)] * 3
    assert store.calls == [("bodies", 14 * DAY, 20), *of_90_days]
    assert store.left == {"deliveries": 0, "bodies": 0}
    assert pauses == [0.5] * 2
    assert (store.marked, store.hours_after) == (1, 400 * DAY)
    assert (store.cached_for, store.are_system_texts_deleted) == (7 * DAY, True)
    deleted = [
        (
            record.message,
            *(vars(record)[name] for name in ("deliveries", "bodies")),
        )
        for record in caplog.records
    ]
    assert deleted == [("old deliveries deleted", 41, 3)]


def test_rows_are_deleted_after_the_days_of_the_settings() -> None:
    store = FakeStore()
    retain(store, [], make_settings(keep_days=31, body_days=60))
    assert [(table, after) for table, after, _ in store.calls] == [
        ("bodies", 60 * DAY),
        ("deliveries", 31 * DAY),
    ]


def test_unavailable_store_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class UnavailableStore(FakeStore):
        def delete_bodies(self, *, after: timedelta, limit: int) -> int:
            raise StoreUnavailable("locked")

    with caplog.at_level(logging.WARNING):
        retain(UnavailableStore(), [])
    assert [record.message for record in caplog.records] == ["old deliveries could not be deleted"]
