"""What each version of a prompt came to."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.analysis import Usage
from hls_handler.deliveries import Lease
from hls_handler.store import UNAVAILABLE, PromptRow, Store
from hls_handler.store.figures import ANSWERED
from tests.store.builders import Skew, asked, begin

OLD, NEW, OTHER = "issues/analyze@000000", "issues/analyze@111111", "issues/respond@222222"


def ended(store: Store, lease: Lease, prompt_id: str, outcome: str, cost_usd: float | None = None) -> None:
    usage = None if cost_usd is None else Usage("claude-haiku-5-5", cost_usd=cost_usd)
    error = None if outcome == ANSWERED else f"Claude: {outcome}"
    store.end_call(lease, asked(store, lease, prompt_id), outcome=outcome, usage=usage, error=error)


def test_a_database_without_calls_has_no_figures(store: Store) -> None:
    assert store.prompt_figures() == []


def test_answers_and_cost_are_summed_up_for_each_version(store: Store) -> None:
    lease = begin(store, "g1")
    ended(store, lease, OTHER, ANSWERED, 0.25)
    ended(store, lease, NEW, ANSWERED, 0.001)
    ended(store, lease, NEW, ANSWERED, 0.002)
    ended(store, lease, OLD, ANSWERED, 0.5)
    assert store.prompt_figures() == [
        PromptRow(OLD, 1, 0.5, 0, None, None),
        PromptRow(NEW, 2, 0.003, 0, None, None),
        PromptRow(OTHER, 1, 0.25, 0, None, None),
    ]


def test_a_reply_that_is_of_no_use_costs_and_is_no_answer(store: Store) -> None:
    ended(store, begin(store, "g1"), NEW, "invalid", 0.004)
    (row,) = store.prompt_figures()
    assert (row.answers, row.cost_usd, row.calls_of_unknown_cost, row.last_error) == (0, 0.004, 0, "Claude: invalid")


def test_cost_is_unknown_of_calls_without_price_answer_or_end_but_an_outage_is_free(store: Store) -> None:
    lease = begin(store, "g1")
    ended(store, lease, NEW, ANSWERED, 0.001)
    store.end_call(lease, asked(store, lease, NEW), outcome=ANSWERED, usage=Usage("claude-new"), error=None)
    ended(store, lease, NEW, "failed")
    asked(store, lease, NEW)
    ended(store, lease, NEW, UNAVAILABLE)
    (row,) = store.prompt_figures()
    assert (row.answers, row.cost_usd, row.calls_of_unknown_cost) == (2, 0.001, 3)


def test_the_last_error_stays_with_its_time_when_answers_follow(store: Store, skew: Skew) -> None:
    lease = begin(store, "g1")
    ended(store, lease, NEW, "truncated", 0.001)
    skew.pass_by(seconds=10)
    ended(store, lease, NEW, UNAVAILABLE)
    failed_at = store.now()
    skew.pass_by(seconds=10)
    ended(store, lease, NEW, ANSWERED, 0.001)
    asked(store, lease, NEW)  # under way: no error yet
    (row,) = store.prompt_figures()
    assert row.last_error == f"Claude: {UNAVAILABLE}"
    assert row.last_error_at is not None
    assert abs(row.last_error_at - failed_at) < timedelta(seconds=5)
