"""Calls to Claude: rate limit, hourly budget and cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hls_handler.analysis import Usage
from hls_handler.deliveries import Checkpoint
from hls_handler.errors import LeaseLost, Postponed
from hls_handler.store.call_rows import UNAVAILABLE, make_receipt
from hls_handler.store.numbers import sum_labels
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, begin, claim, finish, start_call

USAGE = Usage("claude-haiku-5-5", 100, 20, 30, 40, cost_usd=0.0123456, took_s=1.5)


REPLY = Checkpoint("ask", 0, 1, '{"kind":"bug"}')


def test_reply_after_the_lease_counts_its_cost_but_stores_no_checkpoint(
    store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g1")
    call = start_call(store, lease)
    skew.advance(hours=1)
    with pytest.raises(LeaseLost):
        store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None, changes=[REPLY])
    assert store.checkpoints.load("g1") == {}
    assert [(call.outcome, call.cost_usd) for call in store.calls.calls_of("g1")] == [
        ("ok", 0.012346)
    ]
    assert store.statistics.counters()["cost_micro_usd", "issues/analyze@3f9c2a"] == 12346


ESTIMATE = Usage("claude-haiku-5-5", cache_write_tokens=9000, output_tokens=4000, cost_usd=0.05)
UNKNOWN = Usage("claude-haiku-5-5", took_s=2.0, request_id="req_1")


@pytest.mark.parametrize(
    ("end", "outcome", "cost", "tokens"),
    [
        (None, "unfinished", 50_000, (0, 4000)),
        ({"outcome": "ok", "usage": USAGE}, "ok", 12_346, (100, 20)),
        (
            {"outcome": "failed", "usage": None, "is_usage_unknown": True},
            "failed",
            50_000,
            (0, 4000),
        ),
        (
            {"outcome": "miscounted", "usage": UNKNOWN, "is_usage_unknown": True},
            "miscounted",
            50_000,
            (0, 4000),
        ),
        ({"outcome": UNAVAILABLE, "usage": None}, UNAVAILABLE, 0, (0, 0)),
    ],
    ids=["not stored", "reply", "timeout", "impossible usage", "rejected"],
)
def test_call_that_began_is_counted_with_an_estimate_until_its_usage_is_known(
    store: Storage, end: dict[str, Any] | None, outcome: str, cost: int, tokens: tuple[int, int]
) -> None:
    lease = begin(store, "g1")
    call = start_call(store, lease, estimate=ESTIMATE)
    if end is not None:
        store.calls.end(lease, call, error=None, **end)
    counted = store.statistics.counters()
    assert {label: n for (name, label), n in counted.items() if name == "claude_calls" and n} == {
        outcome: 1
    }
    assert counted["prompt_calls", "issues/analyze@3f9c2a"] == 1
    assert counted["cost_micro_usd", "issues/analyze@3f9c2a"] == cost
    assert (counted.get(("tokens", "input"), 0), counted["tokens", "output"]) == tokens
    (row,) = store.calls.calls_of("g1")
    assert (row.cost_usd or 0, row.output_tokens or 0) == (cost / 1_000_000, tokens[1])


def test_unavailable_calls_do_not_use_the_budget(store: Storage) -> None:
    lease = begin(store, "g1")
    for outcome in ("unavailable", "failed", "unavailable"):
        store.calls.end(lease, start_call(store, lease), outcome=outcome, usage=None, error="529")
    assert store.calls.count_last_hour() == 1
    receipt = make_receipt(store.calls.calls_of("g1"))
    assert (receipt.calls, receipt.cost_usd, receipt.is_estimate) == (1, 0.0, False)


def test_call_ends_once_even_after_the_lease(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    call = start_call(store, lease)
    skew.advance(seconds=31)
    claim(store)
    store.calls.end(lease, call, outcome="answered", usage=USAGE, error=None)
    store.calls.end(lease, call, outcome="timeout", usage=None, error="late")
    assert [row.outcome for row in store.calls.calls_of("g1")] == ["answered"]
    assert store.statistics.counters()["prompt_calls", "issues/analyze@3f9c2a"] == 1


def test_calls_of_all_workers_share_a_rate_limit(store: Storage, skew: Skew) -> None:
    first, second = begin(store, "g1"), begin(store, "g2")
    start_call(store, first, requests_per_second=0.1)
    with pytest.raises(Postponed, match="waits for a slot to call Claude") as raised:
        start_call(store, second, requests_per_second=0.1)
    assert raised.value.waiting_for is None
    assert timedelta(seconds=9) < raised.value.at - store.now() <= timedelta(seconds=10)
    assert len(store.calls.calls_of("g2")) == 0
    skew.advance(seconds=10)
    start_call(store, second, requests_per_second=0.1)
    assert len(store.calls.calls_of("g2")) == 1


def test_deliveries_over_the_hourly_budget_wait_for_different_times(
    store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g1")
    start_call(store, lease, calls_per_hour=2)
    skew.advance(seconds=20)
    start_call(store, lease, calls_per_hour=2)  # a call without an end counts, too
    waits = []
    for i in range(3):
        with pytest.raises(Postponed, match=r"claude\.calls_per_hour allows 2 calls") as raised:
            start_call(store, begin(store, f"late-{i}"), calls_per_hour=2)
        assert raised.value.waiting_for == "claude"
        waits.append(raised.value.at)
    starts = [row.started_at for row in store.calls.calls_of("g1")]
    hour = timedelta(hours=1)
    assert waits == [starts[0] + hour, starts[1] + hour, starts[0] + 2 * hour]
    # as after a restart: all wait anew, and the first one has the first place again
    store.queue.reschedule_waiting()
    with pytest.raises(Postponed) as raised:
        start_call(store, begin(store, "after"), calls_per_hour=2)
    assert raised.value.at == waits[0]


def test_waiting_delivery_is_counted_once_in_the_budget(store: Storage) -> None:
    lease = begin(store, "g1")
    start_call(store, lease, calls_per_hour=1)
    waits = set()
    for _ in range(3):
        with pytest.raises(Postponed) as raised:
            start_call(store, lease, calls_per_hour=1)
        waits.add(raised.value.at)
    assert len(waits) == 1


def test_failed_call_lasted_until_its_end(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    call = start_call(store, lease)
    skew.advance(minutes=10)
    store.calls.end(lease, call, outcome="failed", usage=None, error="529")
    assert [round((row.lasted_s or 0) / 600) for row in store.calls.calls_of("g1")] == [1]


def test_conversation_runs_count_other_deliveries_of_the_last_hour(
    store: Storage, skew: Skew
) -> None:
    old = begin(store, "old", number=7)
    start_call(store, old)
    finish(store, old)
    skew.advance(minutes=60)
    for guid, number in (("g1", 7), ("g2", 7), ("g3", 8)):
        lease = begin(store, guid, number=number)
        start_call(store, lease)
        start_call(store, lease)
        finish(store, lease)
    lease = begin(store, "g4", number=7)
    start_call(store, lease)
    assert store.calls.count_conversation_runs(lease) == 2


def test_settled_totals_do_not_contain_the_estimate_of_a_call_in_progress(store: Storage) -> None:
    lease = begin(store, "g1")
    most = Usage("claude-haiku-5-5", 1000, 2000, 3000, 4000, cost_usd=1.5)
    call = start_call(store, lease, estimate=most)
    before = sum_labels(store.statistics.totals(settled=True))
    assert (before["cost_micro_usd"], before["tokens"]) == ({}, {})
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None)
    after = store.statistics.totals(settled=True)
    assert after == store.statistics.totals()
    labels = sum_labels(after)
    assert labels["cost_micro_usd"] == {"issues/analyze@3f9c2a": 12346}
    assert (labels["tokens"]["input"], labels["claude_calls"]) == (100, {"ok": 1})


def test_settled_totals_contain_a_call_whose_end_was_not_stored(store: Storage, skew: Skew) -> None:
    start_call(store, begin(store, "g1"), estimate=USAGE)
    skew.advance(hours=1.1)
    assert store.statistics.totals(settled=True) == store.statistics.totals()


def test_cost_of_a_prompt_is_unknown_without_price_or_end_and_zero_if_claude_did_not_accept_the_call(
    store: Storage,
) -> None:
    lease = begin(store, "g1")
    for outcome, usage in (
        ("ok", Usage("claude-haiku-5-5", cost_usd=0.001)),
        ("ok", Usage("claude-new")),
        ("failed", None),
        (UNAVAILABLE, None),
    ):
        store.calls.end(lease, start_call(store, lease), outcome=outcome, usage=usage, error="529")
    start_call(store, lease)
    (row,) = store.calls.prompt_stats()
    assert (row.replies, row.cost_usd, row.calls_of_unknown_cost) == (2, 0.001, 2)
