"""Waiting at the door for the end of a delivery."""

from __future__ import annotations

import asyncio
import threading

from hls_handler.deliveries import Finished
from hls_handler.work.outcomes import Outcomes

DONE = Finished("72d3162e", "done", "commented")


def test_a_worker_thread_tells_everyone_who_waits_for_the_delivery() -> None:
    async def wait() -> list[Finished]:
        outcomes = Outcomes()
        first, second = outcomes.expect(DONE.guid), outcomes.expect(DONE.guid)
        teller = threading.Thread(target=outcomes.tell, args=(DONE,))
        teller.start()
        told = [await first, await second]
        teller.join()
        return told

    assert asyncio.run(wait()) == [DONE, DONE]


def test_another_delivery_tells_nothing() -> None:
    async def wait() -> bool:
        outcomes = Outcomes()
        future = outcomes.expect("other")
        outcomes.tell(DONE)
        await asyncio.sleep(0)
        done = future.done()
        future.cancel()
        return done

    assert asyncio.run(wait()) is False


def test_who_stopped_waiting_is_forgotten() -> None:
    async def wait() -> dict[str, list[asyncio.Future[Finished]]]:
        outcomes = Outcomes()
        future = outcomes.expect(DONE.guid)
        future.cancel()
        await asyncio.sleep(0)
        outcomes.tell(DONE)
        return outcomes._expected

    assert asyncio.run(wait()) == {}
