"""The watcher goes on looking, whatever it meets."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from queue import SimpleQueue

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.work.active_config import Watcher
from hls_handler.work.health import Health

PATIENCE_S = 30.0


def test_it_goes_on_after_a_defect_and_says_that_the_store_is_the_trouble(caplog: pytest.LogCaptureFixture) -> None:
    looks: SimpleQueue[int] = SimpleQueue()
    problems = [KeyError("a defect of ours"), StoreUnavailable("locked")]
    health = Health(lambda: datetime(2026, 11, 20, tzinfo=UTC))

    def look() -> None:
        looks.put(len(problems))
        if problems:
            raise problems.pop(0)

    watcher = Watcher(look, health, every_s=0.001)
    with caplog.at_level(logging.ERROR):
        watcher.start()
        assert [looks.get(timeout=PATIENCE_S) for _ in range(3)] == [2, 1, 0]
        watcher.stop()
    assert health.snapshot().components["store"].state == "unhealthy"
    assert [record.message for record in caplog.records] == [
        "defect while looking after settings and prompts",
        "unhealthy",
    ]
