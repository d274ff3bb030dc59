"""The watcher of settings and prompts continues after every error."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from queue import SimpleQueue

import pytest

from hls_handler.errors import StoreUnavailable
from hls_handler.work.active_config import Watcher
from hls_handler.work.health import Health

TIMEOUT_S = 30.0


def test_watcher_continues_after_errors_and_reports_an_unavailable_database(caplog: pytest.LogCaptureFixture) -> None:
    checks: SimpleQueue[int] = SimpleQueue()
    problems = [KeyError("a defect of ours"), StoreUnavailable("locked")]
    health = Health(lambda: datetime(2026, 11, 20, tzinfo=UTC))

    def check() -> None:
        checks.put(len(problems))
        if problems:
            raise problems.pop(0)

    watcher = Watcher(check, health, every_s=0.001)
    with caplog.at_level(logging.ERROR):
        watcher.start()
        assert [checks.get(timeout=TIMEOUT_S) for _ in range(3)] == [2, 1, 0]
        watcher.stop()
    assert health.snapshot().components["store"].state == "unhealthy"
    assert [record.message for record in caplog.records] == [
        "defect while looking after settings and prompts",
        "unhealthy",
    ]
