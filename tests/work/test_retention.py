"""When the store is told to forget: in batches with pauses, by the settings of now, whatever it meets."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import Limits, Settings, Storage
from hls_handler.work.background import BATCH, delete_old
from tests.work.world import settings

DAY = timedelta(days=1)


class FakeStore:
    """Has so much to forget; `took_s` is how long each batch takes by its own clock."""

    def __init__(self, *, deliveries: int = 0, bodies: int = 0, took_s: float = 0.0) -> None:
        self.left = {"deliveries": deliveries, "bodies": bodies}
        self.asked: list[tuple[str, timedelta, int]] = []
        self.others = False  # another process is at it
        self.took_s, self.now = took_s, 0.0

    def delete_deliveries(self, *, after: timedelta, most: int) -> int | None:
        return self._forget("deliveries", after, most)

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        return self._forget("bodies", after, most)

    def clock(self) -> float:
        return self.now

    def _forget(self, what: str, after: timedelta, most: int) -> int | None:
        self.asked.append((what, after, most))
        self.now += self.took_s
        if self.others:
            return None
        forgotten = min(most, self.left[what])
        self.left[what] -= forgotten
        return forgotten


def given(*, keep_days: int = 90, body_days: int = 14, replay_window_h: float = 72) -> Settings:
    storage = Storage(keep_days=keep_days, body_days=body_days)
    return settings().model_copy(update={"storage": storage, "limits": Limits(replay_window_h=replay_window_h)})


def retain(store: FakeStore, pauses: list[float], settings: Settings | None = None, *, stopping: bool = False) -> None:
    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return stopping

    delete_old(store, settings or given(), wait, clock=store.clock)


def test_it_forgets_batch_after_batch_until_there_is_no_more(caplog: pytest.LogCaptureFixture) -> None:
    store, pauses = FakeStore(deliveries=41, bodies=3), list[float]()
    with caplog.at_level(logging.INFO):
        retain(store, pauses)
    assert store.asked == [("bodies", 14 * DAY, 20)] + [("deliveries", 90 * DAY, 20)] * 3
    assert store.left == {"deliveries": 0, "bodies": 0}
    assert [(record.message, vars(record)["deliveries"], vars(record)["bodies"]) for record in caplog.records] == [
        ("old deliveries deleted", 41, 3)
    ]


def test_where_there_is_nothing_to_forget_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        retain(FakeStore(), [])
    assert caplog.records == []


@pytest.mark.parametrize(("took_s", "rests_s"), [(0.001, 0.05), (0.5, 4.5)], ids=["quick", "slow"])
def test_others_have_most_of_the_time_between_two_batches(took_s: float, rests_s: float) -> None:
    store, pauses = FakeStore(deliveries=2 * BATCH, took_s=took_s), list[float]()
    retain(store, pauses)
    assert pauses == pytest.approx([rests_s, rests_s])


def test_where_another_process_is_at_it_nothing_is_asked_again() -> None:
    store, pauses = FakeStore(deliveries=1000, bodies=1000), list[float]()
    store.others = True
    retain(store, pauses)
    assert [what for what, _, _ in store.asked] == ["bodies", "deliveries"]
    assert pauses == []


def test_it_ends_between_two_batches() -> None:
    store = FakeStore(bodies=1000)
    retain(store, [], stopping=True)
    assert store.left == {"bodies": 1000 - BATCH, "deliveries": 0}


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (given(), (14 * DAY, 90 * DAY)),
        (given(keep_days=31, body_days=60), (60 * DAY, 31 * DAY)),
        (given(replay_window_h=8760), (14 * DAY, 365 * DAY)),
    ],
    ids=["default", "as said", "replays"],
)
def test_a_delivery_is_kept_as_long_as_a_replay_of_it_is_to_be_known(
    settings: Settings, kept: tuple[timedelta, timedelta]
) -> None:
    store = FakeStore()
    retain(store, [], settings)
    assert [(what, after) for what, after, _ in store.asked] == [("bodies", kept[0]), ("deliveries", kept[1])]


class UnavailableStore(FakeStore):
    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        raise StoreUnavailable("locked")


def test_an_unavailable_store_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        retain(UnavailableStore(), [])
    assert [record.message for record in caplog.records] == ["old deliveries could not be deleted"]
