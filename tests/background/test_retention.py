"""Retention: old rows are deleted in batches with pauses, by the current settings."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from hls_handler.background.threads import BATCH, delete_old
from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import Limits, Settings, Storage
from hls_handler.store.retention import RetentionStore
from tests.engine.world import settings as base_settings

DAY = timedelta(days=1)


class FakeStore(RetentionStore):
    """A store with this many old rows; each batch takes `took_s` seconds on its own clock."""

    def __init__(self, *, deliveries: int = 0, bodies: int = 0, replies: int = 0, took_s: float = 0.0) -> None:
        self.left = {"deliveries": deliveries, "bodies": bodies, "replies": replies}
        self.calls: list[tuple[str, timedelta, int]] = []
        self.marked = 0
        self.calls_when_versions_were_deleted = 0
        self.is_locked = False  # another process deletes
        self.took_s, self.now = took_s, 0.0

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None:
        return self._delete("deliveries", after, most)

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        return self._delete("bodies", after, most)

    def mark_ignored_findings(self) -> None:
        self.marked += 1

    def delete_cached_replies(self, *, after: timedelta, most: int) -> int | None:
        return self._delete("replies", after, most)

    def delete_prompt_versions(self) -> int | None:
        self.calls_when_versions_were_deleted = len(self.calls)
        return 0

    def delete_counter_hours(self, *, after: timedelta) -> None:
        self.hours_after = after

    def clock(self) -> float:
        return self.now

    def _delete(self, table: str, after: timedelta, most: int) -> int | None:
        self.calls.append((table, after, most))
        self.now += self.took_s
        if self.is_locked:
            return None
        deleted = min(most, self.left[table])
        self.left[table] -= deleted
        return deleted


def make_settings(*, keep_days: int = 90, body_days: int = 14, replay_window_h: float = 72) -> Settings:
    storage = Storage(keep_days=keep_days, body_days=body_days)
    return base_settings().model_copy(update={"storage": storage, "limits": Limits(replay_window_h=replay_window_h)})


def retain(store: FakeStore, pauses: list[float], settings: Settings | None = None, *, stopping: bool = False) -> None:
    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return stopping

    delete_old(store, settings or make_settings(), wait, clock=store.clock)


def test_batches_are_deleted_until_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    store, pauses = FakeStore(deliveries=41, bodies=3, replies=21), list[float]()
    with caplog.at_level(logging.INFO):
        retain(store, pauses)
    assert (
        store.calls == [("bodies", 14 * DAY, 20)] + [("deliveries", 90 * DAY, 20)] * 3 + [("replies", 7 * DAY, 20)] * 2
    )
    assert store.left == {"deliveries": 0, "bodies": 0, "replies": 0}
    assert store.calls_when_versions_were_deleted == 6  # after the calls of old deliveries
    assert (store.marked, store.hours_after) == (1, 400 * DAY)
    deleted = [
        (record.message, *(vars(record)[name] for name in ("deliveries", "bodies", "cached_replies")))
        for record in caplog.records
    ]
    assert deleted == [("old deliveries deleted", 41, 3, 21)]


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.001, 0.05), (0.5, 4.5)], ids=["quick", "slow"])
def test_pause_after_a_batch_is_nine_times_its_duration(took_s: float, pause_s: float) -> None:
    store, pauses = FakeStore(deliveries=2 * BATCH, took_s=took_s), list[float]()
    retain(store, pauses)
    assert pauses == pytest.approx([pause_s, pause_s])


def test_retention_stops_if_another_process_deletes() -> None:
    store, pauses = FakeStore(deliveries=1000, bodies=1000), list[float]()
    store.is_locked = True
    retain(store, pauses)
    assert [table for table, _, _ in store.calls] == ["bodies", "deliveries", "replies"]
    assert pauses == []


def test_stopping_ends_retention_between_two_batches() -> None:
    store = FakeStore(bodies=1000)
    retain(store, [], stopping=True)
    assert store.left == {"bodies": 1000 - BATCH, "deliveries": 0, "replies": 0}


@pytest.mark.parametrize(
    ("settings", "ages"),
    [
        (make_settings(), (14 * DAY, 90 * DAY)),
        (make_settings(keep_days=31, body_days=60), (60 * DAY, 31 * DAY)),
        (make_settings(replay_window_h=8760), (14 * DAY, 365 * DAY)),
    ],
    ids=["default", "from settings", "replays"],
)
def test_rows_are_deleted_only_after_the_replay_window(settings: Settings, ages: tuple[timedelta, timedelta]) -> None:
    store = FakeStore()
    retain(store, [], settings)
    assert [(table, after) for table, after, _ in store.calls] == [
        ("bodies", ages[0]),
        ("deliveries", ages[1]),
        ("replies", 7 * DAY),
    ]


class UnavailableStore(FakeStore):
    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        raise StoreUnavailable("locked")


def test_unavailable_store_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        retain(UnavailableStore(), [])
    assert [record.message for record in caplog.records] == ["old deliveries could not be deleted"]
