"""The cache of values that pages read from the database."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.web.single_flight import SingleFlightCache
from tests.web.fakes import FakeClock

TIMEOUT_S = 30.0


class Source:
    """Returns the number of its readings. `let_end` is cleared for readings that hang."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.error: Exception | None = None
        self.let_end = threading.Event()
        self.let_end.set()
        self.threads: set[int] = set()

    def read(self, key: str) -> int:
        self.threads.add(threading.get_ident())
        self.keys.append(key)
        number = len(self.keys)
        assert self.let_end.wait(TIMEOUT_S)
        if self.error is not None:
            raise self.error
        return number


def cache_of(
    source: Source, clock: FakeClock, *, timeout_s: float = TIMEOUT_S
) -> SingleFlightCache[int, str]:
    return SingleFlightCache(source.read, clock, max_age_s=10, timeout_s=timeout_s)


@pytest.mark.parametrize(("passed_s", "expected"), [(0, 1), (9.9, 1), (10, 2), (-1, 2)])
def test_value_is_read_again_when_it_is_old_or_the_clock_was_set_back(
    passed_s: float, expected: int
) -> None:
    async def values() -> list[int]:
        clock = FakeClock()
        cache = cache_of(Source(), clock)
        first = await cache.get("a")
        clock.now += passed_s
        return [first, await cache.get("a")]

    assert asyncio.run(values()) == [1, expected]


def test_each_key_is_read_once_for_all_outside_of_the_event_loop() -> None:
    source = Source()

    async def values() -> list[int]:
        cache = cache_of(source, FakeClock())
        return await asyncio.gather(*(cache.get(key) for key in "abab"))

    assert asyncio.run(values()) == [1, 2, 1, 2]
    assert source.keys == ["a", "b"]
    assert threading.get_ident() not in source.threads


def test_error_reaches_all_who_wait_and_is_not_cached() -> None:
    async def values() -> list[object]:
        source = Source()
        cache = cache_of(source, FakeClock())
        source.error = StoreUnavailable("disk full")
        failed = await asyncio.gather(cache.get("a"), cache.get("a"), return_exceptions=True)
        source.error = None
        return [*map(str, failed), await cache.get("a")]

    assert asyncio.run(values()) == ["disk full", "disk full", 2]


def test_reading_that_hangs_times_out_and_no_other_one_begins() -> None:
    source = Source()

    async def value() -> int:
        cache = cache_of(source, FakeClock(), timeout_s=0.01)
        source.let_end.clear()
        for key in "aba":
            with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.01 s"):
                await cache.get(key)
        source.let_end.set()
        while True:
            try:
                return await cache.get("a")
            except StoreUnavailable:
                continue

    assert asyncio.run(value()) == 1
    assert source.keys == ["a"]
