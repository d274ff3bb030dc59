"""Four processes on one PostgreSQL, two killed at random in each round: nothing is lost, doubled or
out of order.

HLS_ROUNDS=20 (`make machines`) runs all rounds; the normal suite runs one.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable
from datetime import datetime
from itertools import combinations, pairwise

from tests.machines.fleet import MIN_INTERVAL_S, Fleet

SEED = int(os.environ.get("HLS_SEED", "4"))
CONVERSATIONS, EVENTS = 4, 3
MAX_DELAY_S = 0.5
"""Between the slot of the rate limiter and the request; a later slot may be used earlier."""


def run_round(fleet: Fleet, rng: random.Random, first: int) -> list[list[str]]:
    """Send events of several conversations to random services, and kill two services meanwhile.

    Returns the GUIDs of each conversation, in order.
    """
    receivers = random.Random(rng.random())
    guids = [
        [f"{first + number}-{event}" for event in range(EVENTS)] for number in range(CONVERSATIONS)
    ]
    to_kill = rng.sample(fleet.services, 2)
    kill_after = sorted(rng.sample(range(CONVERSATIONS * EVENTS), 2))
    for place in range(CONVERSATIONS * EVENTS):
        event, number = divmod(place, CONVERSATIONS)
        running = [service for service in fleet.services if service.process is not None]
        action = "edited" if event else "opened"
        fleet.deliver(
            receivers.choice(running), first + number, guid=guids[number][event], action=action
        )
        if place in kill_after:
            to_kill.pop().stop(signal.SIGKILL)
    for service in fleet.services:
        if service.process is None:
            service.start()
    return guids


def assert_in_order(fleet: Fleet, guids: list[str]) -> None:
    """Assert that each delivery was finished before the first call of the next one."""
    rows = [fleet.row(guid) for guid in guids]
    assert [row.state for row in rows] == ["done"] * len(guids)
    for before, after in pairwise(rows):
        assert before.finished_at is not None
        assert all(
            call.started_at >= before.finished_at for call in fleet.store.calls.calls_of(after.guid)
        ), after.guid


def test_nothing_is_lost_doubled_or_out_of_order_when_two_of_four_processes_are_killed(
    fleet: Fleet,
) -> None:
    rounds = int(os.environ.get("HLS_ROUNDS", "1"))
    rng = random.Random(SEED)
    counters_before, writes_before = fleet.store.statistics.counters(), len(fleet.writes())
    all_guids: list[str] = []
    for service in fleet.services:
        service.start()
    for number in range(rounds):
        start = time.monotonic()
        first = 1000 + number * CONVERSATIONS
        guids = run_round(fleet, rng, first)
        fleet.until_idle()
        for place, of_conversation in enumerate(guids):
            assert_in_order(fleet, of_conversation)
            fleet.assert_once(first + place)
            all_guids += of_conversation
        print(f"round {number}: {time.monotonic() - start:.1f} s")  # noqa: T201 (pytest shows it on failure)
    counters = fleet.store.statistics.counters()
    for name in (("webhooks", ""), ("outcome", "done")):
        assert counters[name] - counters_before.get(name, 0) == len(all_guids)
    calls = [call.started_at for guid in all_guids for call in fleet.store.calls.calls_of(guid)]
    kills = 2 * rounds
    # an interrupted call is repeated
    assert len(all_guids) <= len(calls) <= len(all_guids) + 4 * kills
    assert_rate_limited(calls)
    assert_rate_limited(
        [seen.at for seen in fleet.sandbox.requests.all("github") if seen.writes][writes_before:]
    )


def assert_rate_limited(times: Iterable[datetime]) -> None:
    """Assert that no interval contains more requests than the rate limit permits for all processes
    together.
    """
    at = sorted(time.timestamp() for time in times)
    for first, last in combinations(range(len(at)), 2):
        assert at[last] - at[first] >= (last - first) * MIN_INTERVAL_S - MAX_DELAY_S, (first, last)
