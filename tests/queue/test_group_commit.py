"""Group commit: callers on an event loop, one committing thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from hls_handler.db.counters import Counts
from hls_handler.deliveries import Accepted, NewDelivery
from hls_handler.errors import StoreUnavailable
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.group_commit import AcceptQueue
from tests.queue.builders import queued


class FakeStore(DeliveryQueue):
    """Accepts every batch once the test calls `commit`; commits raise `down` if it is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.committed: list[list[str]] = []  # GUIDs that `on_commit` got
        self.counted: list[dict[tuple[str, str], int]] = []
        self.entered = threading.Semaphore(0)
        self.may_commit = threading.Semaphore(0)
        self.down: Exception | None = None

    def accept(
        self,
        batch: Sequence[NewDelivery],
        *,
        finds_replays: bool = False,
        counts: Counts | None = None,
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


Scenario = Callable[[AcceptQueue], Coroutine[Any, Any, None]]


def run_with(
    store: FakeStore,
    scenario: Scenario,
    *,
    timeout_s: float = 60,
    max_waiting_bytes: int = 1_000_000,
) -> None:
    """Run a scenario on an event loop, then close the queue."""
    queue = AcceptQueue(
        store,
        on_commit=lambda accepted: store.committed.append([one.guid for one in accepted]),
        timeout_s=timeout_s,
        max_waiting_bytes=max_waiting_bytes,
    )
    try:
        asyncio.run(asyncio.wait_for(scenario(queue), timeout=60))
    finally:
        store.commit(100)
        queue.close()


async def wait_for_commit(store: FakeStore) -> None:
    """Wait until the commit thread is in `FakeStore.accept`."""
    assert await asyncio.to_thread(store.entered.acquire, timeout=30)


async def submit(queue: AcceptQueue, *guids: str) -> list[asyncio.Task[Accepted]]:
    """Start one caller for each delivery; all have submitted it when this returns."""
    tasks = [asyncio.create_task(queue.accept(queued(guid))) for guid in guids]
    await asyncio.sleep(0)  # let the event loop run
    return tasks


def test_deliveries_that_arrive_during_a_commit_share_the_next() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        first = await submit(queue, "g0")
        await wait_for_commit(store)
        others = await submit(queue, "g1", "g2", "g3")
        store.commit()
        await wait_for_commit(store)
        assert (await first[0]).guid == "g0"
        assert not any(task.done() for task in others)
        store.commit()
        assert [answer.guid for answer in await asyncio.gather(*others)] == ["g1", "g2", "g3"]

    run_with(store, scenario)
    assert store.batches == [["g0"], ["g1", "g2", "g3"]]
    assert store.committed == store.batches


def test_deliveries_share_a_commit_as_long_as_the_event_loop_has_more_of_them() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = []
        for guid in ("g0", "g1", "g2"):
            tasks += await submit(queue, guid)  # each in another iteration of the loop
        store.commit()
        await asyncio.gather(*tasks)
        store.commit()
        await queue.accept(queued("g3"))

    run_with(store, scenario)
    assert store.batches == [["g0", "g1", "g2"], ["g3"]]


def test_a_commit_has_at_most_256_deliveries() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = await submit(queue, *(f"g{number}" for number in range(300)))
        store.commit(2)
        await asyncio.gather(*tasks)

    run_with(store, scenario)
    assert [len(batch) for batch in store.batches] == [256, 44]


def test_failed_commit_raises_for_each_caller_and_later_commits_succeed() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        store.down = StoreUnavailable("disk is full")
        tasks = await submit(queue, "g0")
        await wait_for_commit(store)
        tasks += await submit(queue, "g1", "g2")
        store.commit(2)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["disk is full"] * 3
        assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        store.down = None
        store.commit()
        assert (await queue.accept(queued("g1"))).outcome == "queued"

    run_with(store, scenario)
    assert store.batches == [["g1"]]


def test_delivery_that_times_out_is_rejected_and_not_stored_later() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        hanging = (await submit(queue, "g1"))[0]
        await wait_for_commit(store)
        late = (await submit(queue, "g2"))[0]
        for task in (hanging, late):
            with pytest.raises(
                StoreUnavailable, match=r"^the database did not answer within 0\.05 s: see whether"
            ):
                await task
        store.commit()
        after = await submit(queue, "g3", "g4")
        store.commit()
        assert [accepted.guid for accepted in await asyncio.gather(*after)] == ["g3", "g4"]

    # g2 frees its bytes
    run_with(store, scenario, timeout_s=0.05, max_waiting_bytes=2 * len(queued("g1").body) + 1)
    assert store.batches == [["g1"], ["g3", "g4"]]


def test_bytes_that_wait_for_a_commit_are_limited() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = await submit(queue, "g0")
        await wait_for_commit(store)
        tasks += await submit(queue, "g1")
        (rejected,) = await submit(queue, "g2")
        with pytest.raises(StoreUnavailable, match="1 delivery already waiting for the database"):
            await rejected
        store.commit(2)
        await asyncio.gather(*tasks)
        tasks = await submit(queue, "g3")
        store.commit()
        await asyncio.gather(*tasks)

    run_with(store, scenario, max_waiting_bytes=len(queued("g1").body) + 1)
    assert store.batches == [["g0"], ["g1"], ["g3"]]


def test_counts_are_committed_without_a_delivery() -> None:
    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        queue.count({("outcome", "pong"): 1})
        queue.commit_counts()
        await wait_for_commit(store)
        queue.count({("outcome", "pong"): 1})
        queue.count({("outcome", "rejected"): 2})  # committed by the end
        store.commit(2)

    run_with(store, scenario)
    assert store.batches == [[], []]
    assert store.counted == [
        {("outcome", "pong"): 1},
        {("outcome", "pong"): 1, ("outcome", "rejected"): 2},
    ]


def test_close_commits_waiting_deliveries_and_rejects_later_ones() -> None:
    async def rejection_of_a_large_delivery(queue: AcceptQueue) -> str:
        """Message of the error for a delivery that exceeds the limit of waiting bytes, or comes
        after `close`.
        """
        with pytest.raises(StoreUnavailable) as raised:
            await queue.accept(queued("large", body=b"x" * 2_000_000))
        return str(raised.value)

    store = FakeStore()

    async def scenario(queue: AcceptQueue) -> None:
        tasks = await submit(queue, "g0")
        await wait_for_commit(store)
        tasks += await submit(queue, "g1")
        closing = asyncio.create_task(asyncio.to_thread(queue.close))
        while "shutting down" not in await rejection_of_a_large_delivery(queue):
            await asyncio.sleep(0)  # let the event loop run
        store.commit(2)
        await closing
        assert [(await task).guid for task in tasks] == ["g0", "g1"]
        with pytest.raises(StoreUnavailable, match="shutting down"):
            await queue.accept(queued("g2"))

    run_with(store, scenario)
    assert store.batches == [["g0"], ["g1"]]
