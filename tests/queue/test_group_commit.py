"""Group commit: callers on an event loop, one committing thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from hls_handler.db.counters import Counts
from hls_handler.deliveries import Accepted, NewDelivery
from hls_handler.errors import PayloadError, StoreUnavailable
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.storage import Storage
from tests.queue.builders import accept, ignored, queued, state_of


class FakeStore:
    """Accepts everything, in batches that the test lets go; `down` makes commits fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.counted: list[dict[tuple[str, str], int]] = []
        self.entered = threading.Semaphore(0)
        self.may_commit = threading.Semaphore(0)
        self.down: Exception | None = None

    def accept(
        self, batch: Sequence[NewDelivery], *, replay_window_h: float, counts: Counts | None = None
    ) -> list[Accepted]:
        self.entered.release()
        self.may_commit.acquire()
        if self.down is not None:
            raise self.down
        self.batches.append([new.guid for new in batch])
        self.counted.append(dict(counts or {}))
        return [Accepted("queued", "queued", new.guid) for new in batch]

    def commit(self, times: int = 1) -> None:
        self.may_commit.release(times)


class Committed:
    """What the queue told after its commits."""

    def __init__(self) -> None:
        self.answers: list[list[str]] = []
        self.broken = False

    def __call__(self, answers: list[Accepted]) -> None:
        self.answers.append([answer.guid for answer in answers])
        if self.broken:
            raise RuntimeError("cannot wake anybody")


Scenario = Callable[[AcceptQueue], Coroutine[Any, Any, None]]


def run_with(
    store: FakeStore,
    scenario: Scenario,
    *,
    on_commit: Committed | None = None,
    timeout_s: float = 60,
    max_waiting_bytes: int = 1_000_000,
) -> None:
    """Run a scenario on an event loop, and then let the queue's thread end."""
    queue = AcceptQueue(
        store,
        replay_window_h=lambda: 72,
        on_commit=on_commit or Committed(),
        timeout_s=timeout_s,
        max_waiting_bytes=max_waiting_bytes,
    )
    try:
        asyncio.run(asyncio.wait_for(scenario(queue), timeout=60))
    finally:
        store.commit(100)
        queue.close()


async def in_commit(store: FakeStore) -> None:
    """Wait until the thread stands in a commit."""
    assert await asyncio.to_thread(store.entered.acquire, timeout=30)


async def waiting(queue: AcceptQueue, *guids: str) -> list[asyncio.Task[Accepted]]:
    """Callers that have handed in their deliveries."""
    tasks = [asyncio.create_task(queue.accept(queued(guid))) for guid in guids]
    await asyncio.to_thread(int)  # the loop runs meanwhile
    return tasks


def test_what_arrives_during_a_commit_goes_together_into_the_next() -> None:
    store, told = FakeStore(), Committed()

    async def scenario(queue: AcceptQueue) -> None:
        first = await waiting(queue, "g0")
        await in_commit(store)
        others = await waiting(queue, "g1", "g2", "g3")
        store.commit()
        await in_commit(store)
        assert (await first[0]).guid == "g0"
        assert not any(task.done() for task in others)
        store.commit()
        assert [answer.guid for answer in await asyncio.gather(*others)] == ["g1", "g2", "g3"]

    run_with(store, scenario, on_commit=told)
    assert store.batches == [["g0"], ["g1", "g2", "g3"]]
    assert told.answers == store.batches


async def three_together(store: FakeStore, queue: AcceptQueue) -> None:
    """Let a batch of three be the last one."""
    first = await waiting(queue, "g0")
    await in_commit(store)
    others = await waiting(queue, "g1", "g2", "g3")
    store.commit(2)
    await in_commit(store)
    await asyncio.gather(*first, *others)


def test_a_commit_that_fails_is_told_to_each_who_waits_and_the_next_is_tried() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        store.down = StoreUnavailable("disk is full")
        tasks = await waiting(queue, "g0")
        await in_commit(store)
        tasks += await waiting(queue, "g1", "g2")
        store.commit(2)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["disk is full"] * 3
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        store.down = None
        store.commit()
        assert (await queue.accept(queued("g1"))).outcome == "queued"

    run_with(store, scenario)
    assert store.batches == [["g1"]]


def test_an_error_that_nobody_thought_of_does_not_end_the_thread() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        store.down = ZeroDivisionError()
        store.commit()
        with pytest.raises(ZeroDivisionError):
            await queue.accept(queued("g1"))
        store.down = None
        store.commit()
        assert (await queue.accept(queued("g2"))).guid == "g2"

    run_with(store, scenario)


def test_a_caller_that_is_cancelled_spoils_nothing() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        first = await waiting(queue, "g0")
        await in_commit(store)
        others = await waiting(queue, "g1", "g2")
        first[0].cancel()
        others[0].cancel()
        store.commit(2)
        assert (await others[1]).guid == "g2"

    run_with(store, scenario)
    assert store.batches == [["g0"], ["g1", "g2"]]


def test_who_is_not_answered_in_time_is_told_no_and_not_stored_later() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        hanging = (await waiting(queue, "g1"))[0]
        await in_commit(store)
        late = (await waiting(queue, "g2"))[0]
        for task in (hanging, late):
            with pytest.raises(StoreUnavailable, match=r"^the database did not answer within 0\.05 s: see whether"):
                await task
        store.commit()
        after = (await waiting(queue, "g3"))[0]
        store.commit()
        assert (await after).guid == "g3"

    run_with(store, scenario, timeout_s=0.05)
    assert store.batches == [["g1"], ["g3"]]


def test_what_waits_for_a_database_that_hangs_is_bounded() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = await waiting(queue, "g0")
        await in_commit(store)
        tasks += await waiting(queue, "g1")
        (refused,) = await waiting(queue, "g2")
        with pytest.raises(StoreUnavailable, match="1 deliveries wait for the database already"):
            await refused
        store.commit(2)
        await asyncio.gather(*tasks)
        tasks = await waiting(queue, "g3")
        store.commit()
        await asyncio.gather(*tasks)

    run_with(store, scenario, max_waiting_bytes=len(queued("g1").body) + 1)
    assert store.batches == [["g0"], ["g1"], ["g3"]]


def test_who_has_given_up_waiting_makes_room_for_another() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        await waiting(queue, "g0")
        await in_commit(store)
        for guid in ("g1", "g2"):
            with pytest.raises(StoreUnavailable, match="did not answer"):
                await (await waiting(queue, guid))[0]
        store.commit()

    run_with(store, scenario, timeout_s=0.05, max_waiting_bytes=len(queued("g1").body) + 1)
    assert store.batches == [["g0"]]


def test_a_caller_whose_loop_is_gone_spoils_nothing() -> None:
    store = FakeStore()
    queue = AcceptQueue(store, replay_window_h=lambda: 72, on_commit=Committed())

    async def leave() -> None:
        await waiting(queue, "g0")
        await in_commit(store)

    asyncio.run(leave())
    store.commit(2)
    assert asyncio.run(queue.accept(queued("g1"))).guid == "g1"
    queue.close()
    assert store.batches == [["g0"], ["g1"]]


def test_a_delivery_that_cannot_be_stored_is_refused_before_it_spoils_a_batch() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        with pytest.raises(PayloadError):
            await queue.accept(queued("g1", number=2**70))
        assert store.batches == []

    run_with(store, scenario)


def test_whoever_is_told_of_commits_may_fail_and_the_thread_lives() -> None:
    store, told = FakeStore(), Committed()

    async def scenario(queue: AcceptQueue) -> None:
        store.commit(2)
        told.broken = True
        with pytest.raises(RuntimeError, match="cannot wake"):
            await queue.accept(queued("g1"))
        told.broken = False
        assert (await queue.accept(queued("g2"))).guid == "g2"

    run_with(store, scenario, on_commit=told)


def test_counts_need_no_delivery_to_be_committed() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        queue.count({("outcome", "pong"): 1})
        await in_commit(store)
        queue.count({("outcome", "pong"): 1})
        queue.count({("outcome", "rejected"): 2})
        store.commit(2)
        await in_commit(store)

    run_with(store, scenario)
    assert store.batches == [[], []]
    assert store.counted == [{("outcome", "pong"): 1}, {("outcome", "pong"): 1, ("outcome", "rejected"): 2}]


def test_counts_of_a_failed_commit_go_with_the_next_batch() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        store.down = StoreUnavailable("disk is full")
        queue.count({("outcome", "pong"): 1})
        await in_commit(store)
        store.commit()
        (task,) = await waiting(queue, "g1")
        await in_commit(store)
        store.down = None
        store.commit()
        await asyncio.gather(task, return_exceptions=True)

    run_with(store, scenario)
    assert store.batches == [["g1"]]
    assert store.counted == [{("outcome", "pong"): 1}]


def test_closing_commits_what_waits_and_refuses_what_comes_later() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = await waiting(queue, "g0")
        await in_commit(store)
        tasks += await waiting(queue, "g1")
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        while not queue._is_closed:
            await asyncio.to_thread(int)
        store.commit(2)
        await closing
        assert [(await task).guid for task in tasks] == ["g0", "g1"]
        with pytest.raises(StoreUnavailable, match="shutting down"):
            await queue.accept(queued("g2"))

    run_with(store, scenario)
    assert store.batches == [["g0"], ["g1"]]


def test_a_large_crowd_is_accepted_in_several_batches(store: Storage) -> None:
    told = Committed()

    async def crowd(queue: AcceptQueue) -> list[Accepted]:
        news = [queued(f"g{i % 600}") for i in range(900)]
        return list(await asyncio.gather(*(queue.accept(new) for new in news)))

    queue = AcceptQueue(store.queue, replay_window_h=lambda: 72, on_commit=told)
    answers = asyncio.run(crowd(queue))
    queue.close()
    assert [answer.outcome for answer in answers] == ["queued"] * 600 + ["duplicate"] * 300
    assert len(store.deliveries.newest(limit=1000)) == 600
    assert max(len(guids) for guids in told.answers) <= 256
    assert store.statistics.counters()["webhooks", ""] == 900


def test_answers_and_counts_of_a_real_store(store: Storage) -> None:
    accept(store, queued("known"))
    queue = AcceptQueue(store.queue, replay_window_h=lambda: 72, on_commit=Committed())
    queue.count({("outcome", "pong"): 1})
    assert asyncio.run(queue.accept(queued("known"))).outcome == "duplicate"
    assert asyncio.run(queue.accept(ignored("g1"))).reason == "not enabled in settings.yaml:3"
    queue.close()
    assert state_of(store, "g1") == "ignored"
    assert store.statistics.counters()["outcome", "pong"] == 1
