"""The body of a webhook request."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from hls_handler.web.receiver import BodyBudget
from hls_handler.web.webhook import Rejected, payload_of_form
from tests.web.fakes import FakeClock


class Chunks:
    """ASGI's `receive` for these chunks, which counts the calls; unless `ends`, it then waits for
    ever.
    """

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        self._chunks, self._ends = list(chunks), ends
        self.reads = 0

    async def __call__(self) -> Message:
        self.reads += 1
        if not self._chunks:
            await asyncio.Event().wait()
        chunk = self._chunks.pop(0)
        return {
            "type": "http.request",
            "body": chunk,
            "more_body": bool(self._chunks) or not self._ends,
        }


def read(
    chunks: Chunks, *, declared: int | None = None, max_bytes: int = 10, timeout_s: float = 5.0
) -> bytes:
    async def reading() -> bytes:
        budget = BodyBudget(FakeClock())
        try:
            body = await budget.read(
                chunks, declared=declared, max_bytes=max_bytes, timeout_s=timeout_s
            )
            assert budget.used_bytes == len(body)
            budget.release(len(body))
            return body
        finally:
            assert budget.used_bytes == 0

    return asyncio.run(reading())


def test_body_of_the_maximum_size_is_read() -> None:
    assert read(Chunks(b"01234", b"56789", b""), declared=10) == b"0123456789"


@pytest.mark.parametrize(("declared", "reads"), [(11, 0), (None, 2), (10, 2)])
def test_rule_3_bytes_over_the_limit_are_413_and_the_rest_is_not_read(
    declared: int | None, reads: int
) -> None:
    chunks = Chunks(b"x" * 6, b"x" * 5, b"x")
    with pytest.raises(Rejected) as rejected:
        read(chunks, declared=declared)
    assert (rejected.value.status, chunks.reads) == (413, reads)


def test_rule_3_body_that_does_not_arrive_is_408() -> None:
    with pytest.raises(Rejected) as rejected:
        read(Chunks(b"x", ends=False), timeout_s=0.01)
    assert (rejected.value.status, rejected.value.detail) == (
        408,
        "the body did not arrive within 0.01 s",
    )


class Arrivals:
    """Concurrent request bodies of at most 100 bytes with a budget of 400 bytes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.budget = BodyBudget(self.clock)

    def arrive(self, chunks: Chunks) -> asyncio.Task[bytes]:
        return asyncio.create_task(self._read(chunks))

    async def _read(self, chunks: Chunks) -> bytes:
        body = await self.budget.read(chunks, declared=None, max_bytes=100, timeout_s=3600)
        self.budget.release(len(body))
        return body


def test_rule_3_costliest_slow_body_is_evicted_when_others_need_the_memory() -> None:
    async def until_read(chunks: Chunks, times: int) -> None:
        while chunks.reads < times:
            await asyncio.sleep(0)

    async def scenario() -> list[bytes | BaseException]:
        arrivals = Arrivals()
        tasks = []
        for size, seconds in ((50, 1), (90, 1), (100, 0), (100, 1)):
            chunks = Chunks(b"s" * size, ends=False)
            tasks.append(arrivals.arrive(chunks))
            await until_read(chunks, 2)
            arrivals.clock.now += seconds
        fast = arrivals.arrive(Chunks(b"f" * 30, b"f" * 40))
        async with asyncio.timeout(5):
            assert await fast == b"f" * 70
            (evicted,), waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert len(waiting) == 3
            for task in waiting:
                task.cancel()
            results = await asyncio.gather(evicted, *waiting, return_exceptions=True)
        assert tasks.index(evicted) == 1
        assert arrivals.budget.used_bytes == 0
        return results

    rejected, *_ = asyncio.run(scenario())
    assert isinstance(rejected, Rejected)
    assert (rejected.status, rejected.detail) == (
        408,
        "the body arrived too slowly while other requests needed the memory; send it again later",
    )


def test_rule_3_the_growing_body_is_rejected_if_it_is_the_costliest() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        for _ in range(4):
            await arrivals.budget.read(Chunks(b"c" * 95), declared=95, max_bytes=100, timeout_s=5)
        with pytest.raises(Rejected) as rejected:
            await arrivals.arrive(Chunks(b"g" * 30))
        assert rejected.value.status == 408
        assert arrivals.budget.used_bytes == 380

    asyncio.run(scenario())


def test_the_payload_of_a_form_is_decoded() -> None:
    assert (
        payload_of_form(b"x=1&payload=%7B%22a%22%3A+%22%2B%C3%A9%22%7D&y=2")
        == '{"a": "+é"}'.encode()
    )


@pytest.mark.parametrize("form", [b"", b"{}", b"Payload=%7B%7D", b"payload=1&payload=2"])
def test_a_form_without_exactly_one_payload_is_400(form: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        payload_of_form(form)
    assert rejected.value.status == 400
