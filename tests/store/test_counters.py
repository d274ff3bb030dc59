"""Counters: kept for ever, bumped by everybody at once."""

from __future__ import annotations

from hls_handler.storage import Storage


def test_counters_add_up(store: Storage) -> None:
    for counts in ({("github_requests", ""): 3, ("outcome", "pong"): 1}, {("github_requests", ""): 2}, {}):
        store.queue.accept([], replay_window_h=72, counts=counts)
    assert store.statistics.counters() == {("github_requests", ""): 5, ("outcome", "pong"): 1}
