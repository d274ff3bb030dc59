"""A periodic thread: when it runs, and that a defect does not end it."""

from __future__ import annotations

import logging
from queue import SimpleQueue

import pytest

from hls_handler.work.background import PeriodicThread

PATIENCE_S = 30.0


def test_runs_at_the_start_and_again_on_request() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: 60.0)
    thread.start()
    assert runs.get(timeout=PATIENCE_S) == "a run"
    thread.run_soon()
    assert runs.get(timeout=PATIENCE_S) == "a run"
    thread.stop()


def test_a_pause_that_becomes_shorter_ends_earlier() -> None:
    runs: SimpleQueue[str] = SimpleQueue()
    every_s = [60.0]
    thread = PeriodicThread("test", lambda: runs.put("a run"), lambda: every_s[0], poll_s=0.01)
    thread.start()
    assert runs.get(timeout=PATIENCE_S) == "a run"
    every_s[0] = 0.01
    assert runs.get(timeout=PATIENCE_S) == "a run"
    thread.stop()


def test_a_defect_is_logged_and_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    runs: SimpleQueue[int] = SimpleQueue()
    defects = [KeyError("a defect of ours")]

    def run() -> None:
        runs.put(len(defects))
        if defects:
            raise defects.pop()

    thread = PeriodicThread("test", run, lambda: 0.001)
    with caplog.at_level(logging.ERROR):
        thread.start()
        assert [runs.get(timeout=PATIENCE_S) for _ in range(2)] == [1, 0]
        thread.stop()
    assert [record.message for record in caplog.records] == ["defect in a background thread"]


def test_waiting_inside_a_run_ends_when_the_thread_is_stopped() -> None:
    waits: SimpleQueue[bool] = SimpleQueue()

    def run() -> None:
        waits.put(False)
        waits.put(thread.wait(PATIENCE_S))

    thread = PeriodicThread("test", run, lambda: 60.0)
    thread.start()
    assert waits.get(timeout=PATIENCE_S) is False
    thread.stop()
    assert waits.get(timeout=PATIENCE_S) is True
