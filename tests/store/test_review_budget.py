"""Budgets for the reviews of pull requests: what is reserved before a call, and what no longer fits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hls_handler.analysis import Usage
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import BudgetExceeded
from hls_handler.storage import Storage
from hls_handler.store.calls import ReviewBudget, StartedCall
from tests.queue.builders import Skew, begin, start_call

ESTIMATE = Usage("claude-haiku-5-5", cache_write_tokens=9000, output_tokens=4000, cost_usd=0.05)
USAGE = Usage("claude-haiku-5-5", 900, 100, cost_usd=0.01, took_s=1.5)
ENOUGH = 1000.0


def budget(max_usd: float = ENOUGH, *, per_pull_request: float = ENOUGH) -> ReviewBudget:
    return ReviewBudget(
        max_usd, "settings.yaml:9 (review.max_usd)", per_pull_request, "settings.yaml:10 (review.max_usd_per...)"
    )


def begin_call(
    store: Storage,
    lease: Lease,
    review: ReviewBudget | None,
    *,
    estimate: Usage = ESTIMATE,
    changes: tuple[Checkpoint, ...] = (),
) -> StartedCall:
    return start_call(store, lease, "pull_requests/analyze@3f9c2a", estimate=estimate, review=review, changes=changes)


def run_call(store: Storage, lease: Lease, review: ReviewBudget | None, usage: Usage = USAGE) -> None:
    store.calls.end(lease, begin_call(store, lease, review), outcome="ok", usage=usage, error=None)


def test_call_whose_estimate_does_not_fit_is_not_begun_and_names_setting_and_amounts(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    run_call(store, lease, budget(0.0599))
    with pytest.raises(BudgetExceeded) as raised:
        begin_call(store, lease, budget(0.0599))
    assert str(raised.value) == (
        "the budget of the review allows no further call: 0.0100 USD spent, 0.0000 USD reserved by calls in progress, "
        "this call needs up to 0.0500 USD, limit 0.0599 USD (settings.yaml:9 (review.max_usd)); "
        "raise that limit, then push or comment /review"
    )
    assert [call.outcome for call in store.calls.calls_of("g1")] == ["ok"]
    assert store.statistics.counters()["claude_calls", "ok"] == 1


def test_error_of_the_limit_names_what_is_spent_and_what_is_reserved(store: Storage) -> None:
    first, second = (begin(store, guid, number=number) for guid, number in (("g1", 7), ("g2", 8)))
    review, second = budget(per_pull_request=0.1), replace(second, number=7)
    run_call(store, first, review)
    begin_call(store, second, review)
    with pytest.raises(BudgetExceeded) as raised:
        begin_call(store, first, review)
    assert str(raised.value) == (
        "the budget of the pull request allows no further call: 0.0100 USD spent, 0.0500 USD reserved by calls in "
        "progress, this call needs up to 0.0500 USD, limit 0.1000 USD (settings.yaml:10 (review.max_usd_per...)); "
        "raise that limit, then push or comment /review"
    )


def test_unknown_price_counts_as_nothing(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    for _ in range(3):
        begin_call(store, lease, budget(0.000001), estimate=Usage("llama", output_tokens=4000))
    with pytest.raises(BudgetExceeded):
        begin_call(store, lease, budget(0.000001))


def test_changes_are_stored_even_if_the_call_does_not_fit(store: Storage) -> None:
    lease, facts = begin(store, "g1", number=7), Checkpoint("gather", 0, 1, "{}")
    with pytest.raises(BudgetExceeded):
        begin_call(store, lease, budget(0.01), changes=(facts,))
    assert store.checkpoints.load("g1") == {("gather", 0): facts}


def test_cost_of_deleted_deliveries_still_counts(store: Storage, skew: Skew) -> None:
    review = budget(per_pull_request=0.075)
    for guid in ("g1", "g2", "g3"):
        lease = begin(store, guid, number=7)
        run_call(store, lease, review)
        store.queue.finish(lease, "done", reason=None, took_s=1)
        skew.advance(days=91)
        assert store.retention.delete_deliveries(after=timedelta(days=90), most=20) == 1
    with pytest.raises(BudgetExceeded, match=r"of the pull request .* 0\.0300 USD spent"):
        begin_call(store, begin(store, "g4", number=7), review)
