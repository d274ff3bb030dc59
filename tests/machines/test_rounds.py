"""Four processes on one PostgreSQL, two killed at random, again and again: nothing lost, doubled or out of order.

With HLS_ROUNDS=20 (`make machines`) the whole of it; else as much as the machine that runs all tests can afford.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable
from datetime import datetime
from itertools import combinations, pairwise

from tests.machines.fleet import APART_S, Fleet

ROUNDS = int(os.environ.get("HLS_ROUNDS", "1"))
SEED = int(os.environ.get("HLS_SEED", "4"))
THREADS, EVENTS = 4, 3
LATE_S = 0.5
"""By so much what has its turn may come later than another that had its turn after it."""


def play(ships: Fleet, chance: random.Random, first: int) -> list[list[str]]:
    """One round: events of some threads through any door, two kills meanwhile. The GUIDs of each thread, in order."""
    doors = random.Random(chance.random())
    guids = [[f"{first + thread}-{event}" for event in range(EVENTS)] for thread in range(THREADS)]
    victims = chance.sample(ships.lives, 2)
    moments = sorted(chance.sample(range(THREADS * EVENTS), 2))
    for place in range(THREADS * EVENTS):
        event, thread = divmod(place, THREADS)
        living = [life for life in ships.lives if life.pid is not None]
        action = "edited" if event else "opened"
        ships.deliver(doors.choice(living), first + thread, guid=guids[thread][event], action=action)
        if place in moments:
            victims.pop().stop(signal.SIGKILL)
    for life in ships.lives:
        if life.pid is None:
            life.start()
    return guids


def assert_in_order(ships: Fleet, guids: list[str]) -> None:
    """One after the other, as they came: no step of one began before the one before it had ended."""
    rows = [ships.row(guid) for guid in guids]
    assert [row.state for row in rows] == ["done"] * len(guids)
    for before, after in pairwise(rows):
        assert before.finished_at is not None
        assert all(call.started_at >= before.finished_at for call in ships.store.calls.calls_of(after.guid)), after.guid


def test_four_processes_of_which_two_are_killed_lose_and_double_nothing_and_keep_the_order(ships: Fleet) -> None:
    chance = random.Random(SEED)
    counted, written = ships.store.statistics.counters(), len(ships.writes())
    everything: list[str] = []
    for life in ships.lives:
        life.start()
    for number in range(ROUNDS):
        began = time.monotonic()
        first = 1000 + number * THREADS
        guids = play(ships, chance, first)
        ships.until_idle()
        for thread, of_thread in enumerate(guids):
            assert_in_order(ships, of_thread)
            ships.assert_once(first + thread)
            everything += of_thread
        print(f"round {number}: {time.monotonic() - began:.1f} s")  # noqa: T201 (pytest shows it on failure)
    counters = ships.store.statistics.counters()
    for name in (("webhooks", ""), ("outcome", "done")):
        assert counters[name] - counted.get(name, 0) == len(everything)
    asked = [call.started_at for guid in everything for call in ships.store.calls.calls_of(guid)]
    kills = 2 * ROUNDS
    assert len(everything) <= len(asked) <= len(everything) + 4 * kills  # a call that a kill cut off is made again
    assert_paced(asked)
    assert_paced([seen.at for seen in ships.sandbox.requests.all("github") if seen.writes][written:])


def assert_paced(moments: Iterable[datetime]) -> None:
    """However they are looked at, no more than the pace allows, over all processes together."""
    at = sorted(moment.timestamp() for moment in moments)
    for first, last in combinations(range(len(at)), 2):
        assert at[last] - at[first] >= (last - first) * APART_S - LATE_S, (first, last)
