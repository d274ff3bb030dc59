"""Snapshot the counters for `/stats`."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.web.stats import Snapshot, StatsReader, Throughput
from tests.web.fakes import FakeClock, FakeStore


class Around:
    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), FakeClock()
        self.reader = StatsReader(self.store.counters, self.store.queue, self.clock)

    async def after(self, seconds: float, *, webhooks: int, done: int = 0) -> Snapshot:
        self.clock.now += seconds
        self.store.counted = {("webhooks", ""): webhooks, ("outcome", "done"): done, ("outcome", "dead"): 1}
        return await self.reader.read()


def test_the_store_is_read_at_most_once_a_second() -> None:
    async def readings() -> list[int]:
        around = Around()
        seen = [
            await around.after(0, webhooks=1),
            await around.after(0.9, webhooks=2),
            await around.after(0.1, webhooks=3),
        ]
        assert around.store.reads == 2
        return [reading.counters["webhooks", ""] for reading in seen]

    assert asyncio.run(readings()) == [1, 1, 3]


def test_many_at_once_wait_for_one_reading() -> None:
    async def reads() -> int:
        around = Around()
        await asyncio.gather(*(around.reader.read() for _ in range(10)))
        return around.store.reads

    assert asyncio.run(reads()) == 1


def test_the_store_is_not_read_on_the_event_loop() -> None:
    threads: list[int] = []

    class Watching(FakeStore):
        def counters(self) -> dict[tuple[str, str], int]:
            threads.append(threading.get_ident())
            return {}

    store = Watching()
    asyncio.run(StatsReader(store.counters, store.queue, FakeClock()).read())
    assert threads
    assert threads != [threading.get_ident()]


def test_throughput_is_over_the_last_five_minutes() -> None:
    async def throughputs() -> list[Throughput | None]:
        around = Around()
        steps = [(0, 100, 10), (60, 160, 40), (240, 400, 50), (60, 460, 60), (3600, 461, 60)]
        return [(await around.after(s, webhooks=w, done=d)).throughput for s, w, d in steps]

    assert asyncio.run(throughputs()) == [
        None,
        Throughput(window_s=60, webhooks=60, processed=30),
        Throughput(window_s=300, webhooks=300, processed=40),
        Throughput(window_s=300, webhooks=300, processed=20),
        Throughput(window_s=3600, webhooks=1, processed=0),
    ]


def test_a_store_that_comes_back_is_read_again() -> None:
    async def come_back() -> int:
        around = Around()
        around.store.broken = "disk full"
        with pytest.raises(StoreUnavailable):
            await around.reader.read()
        around.store.broken = None
        return (await around.after(0, webhooks=7)).counters["webhooks", ""]

    assert asyncio.run(come_back()) == 7


def test_a_store_that_hangs_is_given_up_and_asked_by_one_thread_only() -> None:
    async def asked_twice() -> int:
        around, go_on = Around(), threading.Event()

        def counters() -> dict[tuple[str, str], int]:
            around.store.reads += 1
            go_on.wait(30)
            return {("webhooks", ""): 7}

        counting = StatsReader(counters, dict, around.clock, timeout_s=0.01)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.01 s"):
                await counting.read()
        go_on.set()
        while True:
            try:
                assert (await counting.read()).counters["webhooks", ""] == 7
            except StoreUnavailable:
                continue
            return around.store.reads

    assert asyncio.run(asked_twice()) == 1
