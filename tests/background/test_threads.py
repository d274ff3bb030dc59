"""A periodic thread: when it runs, and that a defect does not end it."""

from __future__ import annotations

import logging
from queue import SimpleQueue

import pytest

from hls_handler.background.threads import PeriodicThread

TIMEOUT_S = 30.0


def test_thread_runs_at_the_start_and_when_asked() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: 60.0)
    thread.start()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.run_soon()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.stop()


def test_shorter_interval_ends_the_current_pause() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    every_s = [60.0]
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: every_s[0], poll_s=0.01)
    thread.start()
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    every_s[0] = 0.01
    assert runs.get(timeout=TIMEOUT_S) == "a run"
    thread.stop()


def test_exception_is_logged_and_the_thread_continues(caplog: pytest.LogCaptureFixture) -> None:
    runs: SimpleQueue[int] = SimpleQueue()
    errors = [KeyError("a defect")]

    def run() -> None:
        runs.put(len(errors))
        if errors:
            raise errors.pop()

    thread = PeriodicThread("test", run, lambda: 0.001)
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert [runs.get(timeout=TIMEOUT_S) for _ in range(2)] == [1, 0]
        thread.stop()
    assert [record.message for record in caplog.records] == ["defect in a background thread"]


def test_stop_ends_a_wait_inside_run() -> None:
    waits: SimpleQueue[bool] = SimpleQueue()

    def run() -> None:
        waits.put(False)
        waits.put(thread.wait(TIMEOUT_S))

    thread = PeriodicThread("test", run, lambda: 60.0)
    thread.start()
    assert waits.get(timeout=TIMEOUT_S) is False
    thread.stop()
    assert waits.get(timeout=TIMEOUT_S) is True
