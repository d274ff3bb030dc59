"""Deletion of old deliveries: in batches with pauses, by the active settings, also after errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from queue import SimpleQueue

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import Limits, Settings, Storage
from hls_handler.work.retention import BATCH, Retention, Spans, spans
from tests.work.world import FOREVER_S, TIMEOUT_S, settings

DAY = timedelta(days=1)


class FakeStore:
    """Has a number of old deliveries and bodies; each batch takes `batch_s` by the fake's clock."""

    def __init__(self, *, deliveries: int = 0, bodies: int = 0, batch_s: float = 0.0) -> None:
        self.remaining = {"deliveries": deliveries, "bodies": bodies}
        self.calls: list[tuple[str, timedelta, int]] = []
        self.batches: SimpleQueue[str] = SimpleQueue()  # kind of each finished batch
        self.is_locked = False  # another process holds the lock
        self.batch_s, self.now = batch_s, 0.0

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None:
        return self._delete("deliveries", after, most)

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        return self._delete("bodies", after, most)

    def clock(self) -> float:
        return self.now

    def _delete(self, kind: str, after: timedelta, most: int) -> int | None:
        self.calls.append((kind, after, most))
        self.now += self.batch_s
        if self.is_locked:
            return None
        deleted = min(most, self.remaining[kind])
        self.remaining[kind] -= deleted
        self.batches.put(kind)
        return deleted


def make_settings(*, keep_days: int = 90, body_days: int = 14, replay_window_h: float = 72) -> Settings:
    storage = Storage(keep_days=keep_days, body_days=body_days)
    return settings().model_copy(update={"storage": storage, "limits": Limits(replay_window_h=replay_window_h)})


def retention(store: FakeStore, pauses: list[float]) -> Retention:
    return Retention(store, make_settings, clock=store.clock, pause=pauses.append)


def test_old_deliveries_are_deleted_in_batches_until_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    store, pauses = FakeStore(deliveries=41, bodies=3), list[float]()
    with caplog.at_level(logging.INFO):
        retention(store, pauses).look()
    assert store.calls == [("bodies", 14 * DAY, 20)] + [("deliveries", 90 * DAY, 20)] * 3
    assert store.remaining == {"deliveries": 0, "bodies": 0}
    assert [(record.message, vars(record)["deliveries"], vars(record)["bodies"]) for record in caplog.records] == [
        ("old deliveries deleted", 41, 3)
    ]


def test_nothing_is_logged_if_nothing_is_deleted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        retention(FakeStore(), []).look()
    assert caplog.records == []


@pytest.mark.parametrize(("batch_s", "pause_s"), [(0.001, 0.05), (0.5, 4.5)], ids=["quick", "slow"])
def test_pause_between_batches_is_longer_than_a_batch(batch_s: float, pause_s: float) -> None:
    store, pauses = FakeStore(deliveries=2 * BATCH, batch_s=batch_s), list[float]()
    retention(store, pauses).look()
    assert pauses == pytest.approx([pause_s, pause_s])


def test_run_ends_if_another_process_is_deleting() -> None:
    store, pauses = FakeStore(deliveries=1000, bodies=1000), list[float]()
    store.is_locked = True
    retention(store, pauses).look()
    assert [kind for kind, _, _ in store.calls] == ["bodies", "deliveries"]
    assert pauses == []


def test_stop_ends_the_run_between_two_batches() -> None:
    store = FakeStore(bodies=1000, batch_s=FOREVER_S)  # the pause after a batch is longer than the batch
    retention_job = Retention(store, make_settings, clock=store.clock)
    retention_job.start()
    assert store.batches.get(timeout=TIMEOUT_S) == "bodies"
    retention_job.stop()
    assert store.batches.empty()
    assert store.remaining == {"bodies": 1000 - BATCH, "deliveries": 0}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (make_settings(), Spans(90 * DAY, 14 * DAY)),
        (make_settings(keep_days=31, body_days=60), Spans(31 * DAY, 60 * DAY)),
        (make_settings(replay_window_h=8760), Spans(365 * DAY, 14 * DAY)),
    ],
    ids=["default", "configured", "replays"],
)
def test_deliveries_are_stored_at_least_for_the_replay_window(settings: Settings, expected: Spans) -> None:
    assert spans(settings) == expected


class FailingStore(FakeStore):
    """Raises two errors, and then succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: Iterator[Exception] = iter([KeyError("a defect of ours"), StoreUnavailable("locked")])
        self.runs: SimpleQueue[str] = SimpleQueue()

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        self.runs.put("look")
        for error in self.errors:
            raise error
        return super().delete_bodies(after=after, most=most)


def test_retention_continues_after_errors(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    retention_job = Retention(store, make_settings, pause=lambda _: None)
    with caplog.at_level(logging.WARNING):
        retention_job.start()
        assert [store.runs.get(timeout=TIMEOUT_S) for _ in range(3)] == ["look"] * 3
        retention_job.stop()
    assert [record.message for record in caplog.records] == [
        "defect while deleting old deliveries",
        "old deliveries could not be deleted",
    ]
