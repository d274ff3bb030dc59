"""Requests that wait for the result of their delivery."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

from hls_handler.deliveries import Accepted, Finished
from hls_handler.engine.workers import AwaitedDeliveries

DONE = Finished("72d3162e", "done", "commented")


def test_result_from_a_worker_thread_reaches_all_waiting_requests() -> None:
    async def wait() -> list[Finished]:
        outcomes = AwaitedDeliveries()
        first, second = outcomes.expect(DONE.guid), outcomes.expect(DONE.guid)
        thread = threading.Thread(target=outcomes.resolve, args=(DONE,))
        thread.start()
        received = [await first, await second]
        thread.join()
        return received

    assert asyncio.run(wait()) == [DONE, DONE]


def test_cancelled_request_is_removed() -> None:
    async def wait() -> list[str]:
        outcomes = AwaitedDeliveries()
        outcomes.expect(DONE.guid).cancel()
        await asyncio.sleep(0)
        outcomes.resolve(DONE)
        outcomes.mark_committed([Accepted("queued", "queued", DONE.guid)])
        return look_up(outcomes, in_store=[DONE])

    assert asyncio.run(wait()) == []


def look_up(outcomes: AwaitedDeliveries, *, in_store: Collection[Finished]) -> list[str]:
    """Look the waiting deliveries up; returns the queried GUIDs."""
    queried: list[str] = []

    def find_finished(guids: Collection[str]) -> list[Finished]:
        queried.extend(guids)
        return [finished for finished in in_store if finished.guid in guids]

    outcomes.poll(find_finished)
    return queried


def test_result_from_another_process_is_found_in_the_database() -> None:
    async def wait() -> Finished:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        outcomes.mark_committed([Accepted("queued", "queued", DONE.guid)])
        assert look_up(outcomes, in_store=[DONE]) == [DONE.guid]
        return await future

    assert asyncio.run(wait()) == DONE


def test_earlier_result_of_a_redelivered_delivery_is_not_used() -> None:
    async def wait() -> bool:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        assert look_up(outcomes, in_store=[Finished(DONE.guid, "dead", "of the first time")]) == []
        await asyncio.sleep(0)
        done = future.done()
        future.cancel()
        return done

    assert asyncio.run(wait()) is False
