"""Counters: kept for ever, bumped by everybody at once."""

from __future__ import annotations

from hls_handler.store import Store
from hls_handler.store.part import in_lock_order


def test_counters_add_up(store: Store) -> None:
    store.count({("github_requests", ""): 3, ("outcome", "pong"): 1})
    store.count({("github_requests", ""): 2})
    store.count({})
    assert store.counters() == {("github_requests", ""): 5, ("outcome", "pong"): 1}


def test_counters_are_locked_in_one_order_and_those_of_the_door_first() -> None:
    counts = dict.fromkeys(
        [("outcome", "done"), ("webhooks", ""), ("event", "b"), ("claude_calls", ""), ("event", "a")], 1
    )
    assert in_lock_order(counts) == [
        ("event", "a"),
        ("event", "b"),
        ("webhooks", ""),
        ("claude_calls", ""),
        ("outcome", "done"),
    ]
