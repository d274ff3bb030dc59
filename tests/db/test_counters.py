"""Counters in the database."""

from __future__ import annotations

from hls_handler.storage import Storage


def test_counters_add_up(store: Storage) -> None:
    store.queue.count({("github_requests", ""): 3, ("outcome", "pong"): 1})
    store.queue.count({("github_requests", ""): 2})
    store.queue.count({})
    assert store.statistics.counters() == {("github_requests", ""): 5, ("outcome", "pong"): 1}
