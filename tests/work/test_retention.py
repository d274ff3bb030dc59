"""When the store is told to forget: in batches with pauses, by the settings of now, whatever it meets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from queue import SimpleQueue

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import Limits, Settings, Storage
from hls_handler.work.retention import BATCH, Retention, Spans, spans
from tests.work.world import settings

PATIENCE_S = 30.0
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


def retention(store: FakeStore, pauses: list[float]) -> Retention:
    return Retention(store, given, clock=store.clock, pause=pauses.append)


def test_it_forgets_batch_after_batch_until_there_is_no_more(caplog: pytest.LogCaptureFixture) -> None:
    store, pauses = FakeStore(deliveries=41, bodies=3), list[float]()
    with caplog.at_level(logging.INFO):
        retention(store, pauses).look()
    assert store.asked == [("bodies", 14 * DAY, 20)] + [("deliveries", 90 * DAY, 20)] * 3
    assert store.left == {"deliveries": 0, "bodies": 0}
    assert [(record.message, vars(record)["deliveries"], vars(record)["bodies"]) for record in caplog.records] == [
        ("old deliveries deleted", 41, 3)
    ]


def test_where_there_is_nothing_to_forget_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        retention(FakeStore(), []).look()
    assert caplog.records == []


@pytest.mark.parametrize(("took_s", "rests_s"), [(0.001, 0.05), (0.5, 4.5)], ids=["quick", "slow"])
def test_others_have_most_of_the_time_between_two_batches(took_s: float, rests_s: float) -> None:
    store, pauses = FakeStore(deliveries=2 * BATCH, took_s=took_s), list[float]()
    retention(store, pauses).look()
    assert pauses == pytest.approx([rests_s, rests_s])


def test_where_another_process_is_at_it_nothing_is_asked_again() -> None:
    store, pauses = FakeStore(deliveries=1000, bodies=1000), list[float]()
    store.others = True
    retention(store, pauses).look()
    assert [what for what, _, _ in store.asked] == ["bodies", "deliveries"]
    assert pauses == []


def test_it_ends_between_two_batches() -> None:
    store = FakeStore(bodies=1000)
    ending = Retention(store, given, clock=store.clock, pause=lambda _: ending._ended.set())
    ending.look()
    assert store.left == {"bodies": 1000 - BATCH, "deliveries": 0}


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (given(), Spans(90 * DAY, 14 * DAY)),
        (given(keep_days=31, body_days=60), Spans(31 * DAY, 60 * DAY)),
        (given(replay_window_h=8760), Spans(365 * DAY, 14 * DAY)),
    ],
    ids=["default", "as said", "replays"],
)
def test_a_delivery_is_kept_as_long_as_a_replay_of_it_is_to_be_known(settings: Settings, kept: Spans) -> None:
    assert spans(settings) == kept


class FailingStore(FakeStore):
    """Fails in different ways, and then does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.report_problem: Iterator[Exception] = iter([KeyError("a defect of ours"), StoreUnavailable("locked")])
        self.looks: SimpleQueue[str] = SimpleQueue()

    def delete_bodies(self, *, after: timedelta, most: int) -> int | None:
        self.looks.put("look")
        for error in self.report_problem:
            raise error
        return super().delete_bodies(after=after, most=most)


def test_it_goes_on_whatever_it_meets(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    going_on = Retention(store, given, pause=lambda _: None)
    with caplog.at_level(logging.WARNING):
        going_on.start()
        assert [store.looks.get(timeout=PATIENCE_S) for _ in range(3)] == ["look"] * 3
        going_on.stop()
    assert [record.message for record in caplog.records] == [
        "defect while deleting old deliveries",
        "old deliveries could not be deleted",
    ]
