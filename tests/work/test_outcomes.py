"""Waiting at the door for the end of a delivery."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection

from hls_handler.deliveries import Accepted, Finished
from hls_handler.work.workers import AwaitedDeliveries

DONE = Finished("72d3162e", "done", "commented")


def test_a_worker_thread_tells_everyone_who_waits_for_the_delivery() -> None:
    async def wait() -> list[Finished]:
        outcomes = AwaitedDeliveries()
        first, second = outcomes.expect(DONE.guid), outcomes.expect(DONE.guid)
        teller = threading.Thread(target=outcomes.resolve, args=(DONE,))
        teller.start()
        told = [await first, await second]
        teller.join()
        return told

    assert asyncio.run(wait()) == [DONE, DONE]


def test_another_delivery_tells_nothing() -> None:
    async def wait() -> bool:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect("other")
        outcomes.resolve(DONE)
        await asyncio.sleep(0)
        done = future.done()
        future.cancel()
        return done

    assert asyncio.run(wait()) is False


def test_who_stopped_waiting_is_forgotten() -> None:
    async def wait() -> dict[str, list[asyncio.Future[Finished]]]:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        future.cancel()
        await asyncio.sleep(0)
        outcomes.resolve(DONE)
        return outcomes._expected

    assert asyncio.run(wait()) == {}


def looking(outcomes: AwaitedDeliveries, *, in_store: Collection[Finished]) -> list[str]:
    """What the store was asked about."""
    asked: list[str] = []

    def ends(guids: Collection[str]) -> list[Finished]:
        asked.extend(guids)
        return [finished for finished in in_store if finished.guid in guids]

    outcomes.poll(ends)
    return asked


def test_an_end_on_another_machine_is_found_in_the_store() -> None:
    async def wait() -> Finished:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        outcomes.mark_committed([Accepted("queued", "queued", DONE.guid)])
        assert looking(outcomes, in_store=[DONE]) == [DONE.guid]
        return await future

    assert asyncio.run(wait()) == DONE


def test_how_a_delivery_ended_before_it_was_sent_again_is_not_its_end() -> None:
    async def wait() -> bool:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        assert looking(outcomes, in_store=[Finished(DONE.guid, "dead", "of the first time")]) == []
        await asyncio.sleep(0)
        done = future.done()
        future.cancel()
        return done

    assert asyncio.run(wait()) is False


def test_the_store_is_not_asked_when_nobody_waits() -> None:
    async def wait() -> list[str]:
        outcomes = AwaitedDeliveries()
        future = outcomes.expect(DONE.guid)
        outcomes.mark_committed([Accepted("queued", "queued", DONE.guid), Accepted("queued", "queued", "nobody's")])
        future.cancel()
        await asyncio.sleep(0)
        return looking(outcomes, in_store=[DONE])

    assert asyncio.run(wait()) == []
