"""What each version of a prompt came to."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.analysis import Usage
from hls_handler.deliveries import Lease
from hls_handler.history.calls import SUCCESS, UNAVAILABLE, PromptStats
from hls_handler.storage import Storage
from tests.queue.builders import Skew, asked, begin

OLD, NEW, OTHER = "issues/analyze@000000", "issues/analyze@111111", "issues/respond@222222"


def ended(store: Storage, lease: Lease, prompt_id: str, outcome: str, cost_usd: float | None = None) -> None:
    usage = None if cost_usd is None else Usage("claude-haiku-5-5", cost_usd=cost_usd)
    error = None if outcome == SUCCESS else f"Claude: {outcome}"
    store.calls.end(lease, asked(store, lease, prompt_id), outcome=outcome, usage=usage, error=error)


def test_a_database_without_calls_has_no_figures(store: Storage) -> None:
    assert store.calls.prompt_stats() == []


def test_answers_and_cost_are_summed_up_for_each_version(store: Storage) -> None:
    lease = begin(store, "g1")
    ended(store, lease, OTHER, SUCCESS, 0.25)
    ended(store, lease, NEW, SUCCESS, 0.001)
    ended(store, lease, NEW, SUCCESS, 0.002)
    ended(store, lease, OLD, SUCCESS, 0.5)
    assert store.calls.prompt_stats() == [
        PromptStats(OLD, 1, 0.5, 0, None, None),
        PromptStats(NEW, 2, 0.003, 0, None, None),
        PromptStats(OTHER, 1, 0.25, 0, None, None),
    ]


def test_a_reply_that_is_of_no_use_costs_and_is_no_answer(store: Storage) -> None:
    ended(store, begin(store, "g1"), NEW, "invalid", 0.004)
    (row,) = store.calls.prompt_stats()
    assert (row.replies, row.cost_usd, row.calls_of_unknown_cost, row.last_error) == (0, 0.004, 0, "Claude: invalid")


def test_cost_is_unknown_of_calls_without_price_answer_or_end_but_an_outage_is_free(store: Storage) -> None:
    lease = begin(store, "g1")
    ended(store, lease, NEW, SUCCESS, 0.001)
    store.calls.end(lease, asked(store, lease, NEW), outcome=SUCCESS, usage=Usage("claude-new"), error=None)
    ended(store, lease, NEW, "failed")
    asked(store, lease, NEW)
    ended(store, lease, NEW, UNAVAILABLE)
    (row,) = store.calls.prompt_stats()
    assert (row.replies, row.cost_usd, row.calls_of_unknown_cost) == (2, 0.001, 3)


def test_the_last_error_stays_with_its_time_when_answers_follow(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    ended(store, lease, NEW, "truncated", 0.001)
    skew.pass_by(seconds=10)
    ended(store, lease, NEW, UNAVAILABLE)
    failed_at = store.now()
    skew.pass_by(seconds=10)
    ended(store, lease, NEW, SUCCESS, 0.001)
    asked(store, lease, NEW)  # under way: no error yet
    (row,) = store.calls.prompt_stats()
    assert row.last_error == f"Claude: {UNAVAILABLE}"
    assert row.last_error_at is not None
    assert abs(row.last_error_at - failed_at) < timedelta(seconds=5)
