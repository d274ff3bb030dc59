"""Statistics of each prompt version."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.analysis import Usage
from hls_handler.deliveries import Lease
from hls_handler.storage import Storage
from hls_handler.store.calls import SUCCESS, UNAVAILABLE
from tests.queue.builders import Skew, begin, start_call

OLD, NEW, OTHER = "issues/analyze@000000", "issues/analyze@111111", "issues/respond@222222"


def end_call(store: Storage, lease: Lease, prompt_id: str, outcome: str, cost_usd: float | None = None) -> None:
    usage = None if cost_usd is None else Usage("claude-haiku-5-5", cost_usd=cost_usd)
    error = None if outcome == SUCCESS else f"Claude: {outcome}"
    store.calls.end(lease, start_call(store, lease, prompt_id), outcome=outcome, usage=usage, error=error)


def test_cost_is_unknown_without_price_or_end_and_zero_if_claude_rejected_the_call_or_is_down(store: Storage) -> None:
    lease = begin(store, "g1")
    end_call(store, lease, NEW, SUCCESS, 0.001)
    store.calls.end(lease, start_call(store, lease, NEW), outcome=SUCCESS, usage=Usage("claude-new"), error=None)
    end_call(store, lease, NEW, "failed")
    start_call(store, lease, NEW)
    end_call(store, lease, NEW, UNAVAILABLE)
    (row,) = store.calls.prompt_stats()
    assert (row.replies, row.cost_usd, row.calls_of_unknown_cost) == (2, 0.001, 2)


def test_last_error_remains_after_later_replies(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    end_call(store, lease, NEW, "truncated", 0.001)
    skew.advance(seconds=10)
    end_call(store, lease, NEW, UNAVAILABLE)
    failed_at = store.now()
    skew.advance(seconds=10)
    end_call(store, lease, NEW, SUCCESS, 0.001)
    start_call(store, lease, NEW)  # not ended: no error yet
    (row,) = store.calls.prompt_stats()
    assert row.last_error == f"Claude: {UNAVAILABLE}"
    assert row.last_error_at is not None
    assert abs(row.last_error_at - failed_at) < timedelta(seconds=5)
