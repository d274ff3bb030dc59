"""Thousands of hostile requests to the real service: no 5xx, no row, no trace in the log, no more memory."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as effort
from hypothesis import strategies as some

from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService
from tests.e2e.service import SECRET, Service, Waiting
from tests.web.hostility import (
    FRAMING,
    TORN,
    Hostile,
    mutated,
    not_signed,
    of_wrong_shape,
    signed_nonsense,
    strangers,
    tricks,
)

REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "1000"))
"""That hypothesis makes beside the tricks, at least; `make hostile` asks for 10,000."""

AT_ONCE = 128
PATIENCE_S = 30.0
STATUS = re.compile(rb"HTTP/1\.1 ([2-9]\d\d) [A-Z]")
"""Of an answer; 100 Continue is none."""


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service(
        server="api_key: the-key-of-this-service, header_timeout_s: 8, body_timeout_s: 8", limits="concurrency: 1"
    ).start()


def made_up(count: int) -> list[Hostile]:
    """By hypothesis, always the same of one version of it and of this code: two examples are about five requests."""
    found: list[Hostile] = []

    @given(some.one_of(mutated([*FRAMING[:-4], *TORN]), strangers(), signed_nonsense(SECRET)))
    @effort(
        max_examples=count // 2,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(one: Hostile) -> None:
        found.append(one)

    collect()
    assert sum(one.requests for one in found) >= count
    return found


async def answers(port: int, hostile: Hostile) -> list[int]:
    """The statuses that come back until all have, or the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    with suppress(ConnectionError):
        writer.write(hostile.sent)
        while len(STATUS.findall(said)) < hostile.requests:
            async with asyncio.timeout(PATIENCE_S):
                more = await reader.read(65536)
            if not more:
                break
            said += more
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return [int(status) for status in STATUS.findall(said)]


async def all_answers(port: int, hostile: Sequence[Hostile]) -> list[list[int]]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(one: Hostile) -> list[int]:
        async with turns:
            return await answers(port, one)

    return await asyncio.gather(*map(in_turn, hostile))


def rows(service: Service) -> dict[str, int]:
    """Of every table."""
    with closing(sqlite3.connect(service.storage_url.removeprefix("sqlite:///"))) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def memory_bytes(service: Service) -> int:
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def assert_refused(service: Service, hostile: Sequence[Hostile]) -> Counter[int]:
    answered = asyncio.run(all_answers(service.port, hostile))
    wrong = [
        (statuses, one.sent[:500])
        for one, statuses in zip(hostile, answered, strict=True)
        if not all(400 <= status < 500 for status in statuses) or (one.whole and not statuses)
    ]
    assert wrong == []
    return Counter(status for statuses in answered for status in statuses or [0])


def until_account_is_stored(service: Service) -> None:
    """Wait for the row that the first probe of a start writes."""
    waiting = Waiting(10)
    while not rows(service)["bot_accounts"]:
        assert waiting.more(), "the probe did not store the account"


def test_rule_4_hostile_requests_are_no_5xx_and_leave_nothing(service: Service) -> None:
    known = [*tricks(), *not_signed(SECRET), *of_wrong_shape(SECRET)]
    until_account_is_stored(service)
    before = rows(service)
    assert_refused(service, known)
    warm_bytes = memory_bytes(service)
    counted = assert_refused(service, made_up(REQUESTS))
    assert counted[400] > REQUESTS / 2, counted
    assert memory_bytes(service) - warm_bytes < 10_000_000
    assert rows(service) == before
    log = service.log.read_text()
    assert "Traceback" not in log
    assert '"level": "ERROR"' not in log
    assert service.deliver("issues", recorded.load("demo/bug").body).status == 202
