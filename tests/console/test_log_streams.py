"""Streams of the log that are open at the same time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from hls_handler.console.log import LogStreams
from hls_handler.console.queries import LogQuery
from hls_handler.logs import LogLine, LogRing

ALL = LogQuery()
ERRORS = LogQuery(level="ERROR")


class CountingRing(LogRing):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def find(self, **wanted: Any) -> list[LogLine]:
        self.reads += 1
        return super().find(**wanted)

    def write(self, message: str, level: str = "INFO") -> None:
        self.add(json.dumps({"level": level, "message": message}))


def run(test: Callable[[CountingRing, LogStreams], Awaitable[None]]) -> None:
    ring = CountingRing()
    streams = LogStreams(ring, process="p", now=lambda: 0.0, is_ending=lambda: False, poll_s=0.001)

    async def within_limit() -> None:
        async with asyncio.timeout(20):  # only a defect makes a test wait this long
            await test(ring, streams)

    asyncio.run(within_limit())


async def open_streams(streams: LogStreams, *queries: LogQuery) -> list[AsyncIterator[str]]:
    """Open streams, and read the first block of each."""
    blocks = [aiter(streams.open(query, "").body_iterator) for query in queries]
    for one in blocks:
        await anext(one)
    return blocks  # type: ignore[return-value]


def messages(block: str) -> Sequence[str]:
    lines = [line.removeprefix("data: ") for line in block.splitlines() if line[:5] == "data:"]
    return [json.loads(line)["message"] for line in lines]


def test_new_lines_are_read_once_for_all_streams_with_the_same_filters() -> None:
    async def follow(ring: CountingRing, streams: LogStreams) -> None:
        opened = await open_streams(streams, *[ALL] * 10, ERRORS, ERRORS)
        ring.reads = 0
        ring.write("broken", "ERROR")
        assert [messages(await anext(one)) for one in opened] == [["broken"]] * 12
        assert ring.reads == 2

    run(follow)


def test_one_more_than_20_streams_gets_503_until_one_ends() -> None:
    async def follow(ring: CountingRing, streams: LogStreams) -> None:
        async def disconnect() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(_message: object) -> None:
            pass

        responses = [streams.open(ALL, "") for _ in range(20)]
        with pytest.raises(HTTPException, match="use the page /log") as rejected:
            streams.open(ALL, "")
        assert rejected.value.status_code == 503
        await responses[0]({"type": "http"}, disconnect, send)
        streams.open(ALL, "")

    run(follow)


def test_stream_whose_client_reads_nothing_ends_and_the_next_one_continues() -> None:
    async def follow(ring: CountingRing, streams: LogStreams) -> None:
        silent, reading = await open_streams(streams, ALL, ALL)
        for number in range(12):
            ring.write(str(number))
            await anext(reading)
        unread = [block async for block in silent]
        assert [messages(block) for block in unread] == [[str(number)] for number in range(10)]
        last_id = unread[-1].partition("id: ")[2].strip()
        again = aiter(streams.open(ALL, last_id).body_iterator)
        assert messages(await anext(again)) == ["10", "11"]  # type: ignore[arg-type]

    run(follow)
