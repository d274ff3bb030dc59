"""The room that bodies share: no more is held in sum, and what costs most goes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest

from hls_handler.web.refusal import Refused
from hls_handler.web.room import Place, Room
from tests.web.fakes import FakeClock

MOST_BYTES = 100


class Bodies:
    """Several bodies that come in at once."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.room = Room(self.clock)
        self.told: list[str] = []  # who was told to give up
        self._held = ExitStack()

    def __enter__(self) -> Bodies:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()
        assert self.room.used_bytes == 0

    def begin(self, name: str) -> Place:
        place = self._held.enter_context(self.room.place(most_bytes=MOST_BYTES))
        place.give_up = lambda: self.told.append(name)
        return place


def in_a_loop(story: Callable[[Bodies], Awaitable[None]]) -> None:
    async def told() -> None:
        with Bodies() as bodies:
            await story(bodies)

    asyncio.run(told())


def test_rule_3_bodies_that_fit_in_the_room_are_all_read() -> None:
    async def story(bodies: Bodies) -> None:
        for name in ("first", "second"):
            await bodies.begin(name).grow(50)
        assert bodies.told == []
        assert bodies.room.used_bytes == MOST_BYTES

    in_a_loop(story)


def test_rule_3_a_large_body_that_drips_makes_room_for_a_small_one() -> None:
    async def story(bodies: Bodies) -> None:
        dripping = bodies.begin("dripping")
        await dripping.grow(95)
        bodies.clock.now += 3
        webhook = bodies.begin("webhook")
        await webhook.grow(10)
        assert bodies.told == ["dripping"]
        assert bodies.room.used_bytes == 10
        with pytest.raises(Refused) as refused:
            await dripping.grow(1)
        assert refused.value.status == 408

    in_a_loop(story)


def test_rule_3_many_small_bodies_that_drip_make_room_for_a_large_one_that_comes_fast() -> None:
    async def story(bodies: Bodies) -> None:
        for number in range(9):
            await bodies.begin(f"dripping {number}").grow(10)
        bodies.clock.now += 5
        push = bodies.begin("push")
        for _ in range(6):
            bodies.clock.now += 0.1
            await push.grow(10)
        assert len(bodies.told) == 5
        assert "push" not in bodies.told

    in_a_loop(story)


def test_rule_3_who_takes_most_goes_even_if_it_is_the_one_that_grows() -> None:
    async def story(bodies: Bodies) -> None:
        webhook = bodies.begin("webhook")
        await webhook.grow(10)
        bodies.clock.now += 1
        greedy = bodies.begin("greedy")
        await greedy.grow(85)
        bodies.clock.now += 1
        with pytest.raises(Refused) as refused:
            await greedy.grow(10)
        assert refused.value.status == 408
        assert bodies.told == []
        assert bodies.room.used_bytes == 10

    in_a_loop(story)


def test_rule_3_a_complete_body_makes_no_room_and_is_waited_for() -> None:
    async def story(bodies: Bodies) -> None:
        complete = bodies.begin("complete")
        await complete.grow(95)
        complete.complete()
        bodies.clock.now += 3
        webhook = bodies.begin("webhook")
        growing = asyncio.create_task(webhook.grow(10))
        await asyncio.sleep(0)
        assert not growing.done()
        complete.__exit__(None, None, None)
        await growing
        assert bodies.told == []
        assert bodies.room.used_bytes == 10

    in_a_loop(story)


def test_a_body_that_ends_early_leaves_its_room() -> None:
    async def story(bodies: Bodies) -> None:
        with bodies.room.place(most_bytes=MOST_BYTES) as place:
            await place.grow(60)
        assert bodies.room.used_bytes == 0

    in_a_loop(story)
