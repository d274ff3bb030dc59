"""Budgets for the calls of a day or a month, and for those of the reviews of a pull request.

The clock of the database stands at a fixed moment, which each test moves.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hls_handler.analysis import Usage
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import (
    BudgetExceeded,
    BudgetUsedUp,
    ConversationIgnored,
    Postponed,
)
from hls_handler.settings.model import BudgetsSettings, Settings
from hls_handler.store.calls import StartedCall
from hls_handler.store.limits import Limit, list_budgets
from hls_handler.store.storage import Storage
from tests.batches.builders import begin_batch
from tests.engine.world import settings
from tests.queue.builders import Skew, accept, begin, claim, finish, queued, start_call
from tests.queue.test_concurrency import run_at_once

ESTIMATE = Usage("claude-haiku-5-5", cache_write_tokens=9000, output_tokens=4000, cost_usd=0.05)
USAGE = Usage("claude-haiku-5-5", 900, 100, cost_usd=0.01, took_s=1.5)
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(store: Storage, skew: Skew) -> None:
    skew.advance(seconds=(NOON - store.now()).total_seconds())


def with_budgets(**budgets: Any) -> Settings:
    return settings().model_copy(update={"budgets": BudgetsSettings.model_validate(budgets)})


def begin_call(
    store: Storage,
    lease: Lease,
    given: Settings,
    *,
    outsider: str | None = None,
    estimate: Usage = ESTIMATE,
) -> StartedCall:
    budgets = list_budgets(given, lease.repository, outsider)
    return start_call(store, lease, estimate=estimate, budgets=budgets)


def spend(store: Storage, lease: Lease, given: Settings) -> None:
    """Make a call that costs its estimate."""
    store.calls.end(
        lease, begin_call(store, lease, given), outcome="ok", usage=ESTIMATE, error=None
    )


def test_call_that_fits_without_the_calls_in_progress_waits_for_their_cost(store: Storage) -> None:
    given = with_budgets(repositories=[{"name": "octo/*", "day_usd": 0.07}])
    lease, other = begin(store, "g1", repository="octo/a"), begin(store, "g2", repository="Octo/b")
    begin_call(store, begin(store, "g3", repository="else/a"), with_budgets())
    first = begin_call(store, lease, given)
    with pytest.raises(Postponed) as raised:
        begin_call(store, other, given)
    assert type(raised.value) is Postponed
    assert raised.value.at - store.now() <= timedelta(seconds=10)
    assert store.budgets.find_exceeded(list_budgets(given)) == ()
    store.calls.end(lease, first, outcome="ok", usage=USAGE, error=None)
    begin_call(store, other, given)


def test_call_of_a_batch_waits_for_its_calls_in_progress(store: Storage) -> None:
    batch = begin_batch(store, 2, 3)
    first, second = (claim(store, lease_s=600) for _ in range(2))
    budget = Limit("batch", None, 0.06, "--max-usd", str(batch))
    start_call(store, first, estimate=ESTIMATE, budgets=[budget])
    with pytest.raises(Postponed) as waiting:
        start_call(store, second, estimate=ESTIMATE, budgets=[budget])
    assert str(waiting.value) == (
        "waits for calls in progress, which reserve the rest of the batch's budget"
    )


def test_call_of_a_batch_does_not_wait_for_the_call_of_a_killed_worker(
    store: Storage, skew: Skew
) -> None:
    batch = begin_batch(store, 2, max_usd=0.07)
    limit = Limit("batch", None, 0.07, "--max-usd", str(batch))
    start_call(store, claim(store), estimate=ESTIMATE, budgets=[limit])
    skew.advance(seconds=60)
    with pytest.raises(ConversationIgnored, match="--max-usd"):
        start_call(store, claim(store), estimate=ESTIMATE, budgets=[limit])


def test_call_whose_worker_died_reserves_for_good(store: Storage, skew: Skew) -> None:
    given = with_budgets(total={"day_usd": 0.07})
    lease = begin(store, "g1")
    begin_call(store, lease, given)
    skew.advance(seconds=60)
    with pytest.raises(BudgetUsedUp):
        begin_call(store, begin(store, "g2"), given)


def test_call_that_does_not_fit_waits_for_the_next_day_and_names_setting_and_amounts(
    store: Storage,
) -> None:
    given = with_budgets(total={"day_usd": 0.06})
    lease = begin(store, "g1")
    store.calls.end(lease, begin_call(store, lease, given), outcome="ok", usage=USAGE, error=None)
    spend(store, lease, given)
    refused = []
    for _ in range(2):
        with pytest.raises(BudgetUsedUp) as raised:
            begin_call(store, lease, given)
        refused.append(raised.value)
    assert (
        str(refused[0])
        == "a budget allows no further call: 0.0600 USD a day for all repositories (settings"
        " (budgets.total.day_usd)), of which 0.0000 are left until 2026-11-28 00:00 UTC, and"
        " this call needs up to 0.0500 USD"
    )
    assert [(one.at.isoformat(), one.waiting_for, one.is_first) for one in refused] == [
        ("2026-11-28T00:00:00+00:00", "claude", True),
        ("2026-11-28T00:00:00+00:00", "claude", False),
    ]
    assert len(store.calls.calls_of("g1")) == 2


def test_budget_of_a_month_ends_with_the_month_and_includes_its_first_day(
    store: Storage, skew: Skew
) -> None:
    given = with_budgets(total={"month_usd": 0.12})
    skew.advance(days=-26, hours=-12)
    begin_call(store, begin(store, "g1"), given)
    skew.advance(days=29, hours=23)
    lease = begin(store, "g2")
    spend(store, lease, given)
    with pytest.raises(BudgetUsedUp) as raised:
        begin_call(store, lease, given)
    assert raised.value.at == datetime(2026, 12, 1, tzinfo=UTC)
    skew.advance(hours=1)
    begin_call(store, begin(store, "g3"), given)


def test_call_that_costs_nothing_fits_a_budget_that_is_used_up(store: Storage) -> None:
    given = with_budgets(total={"day_usd": 0.05})
    lease = begin(store, "g1")
    spend(store, lease, given)
    with pytest.raises(BudgetUsedUp):
        begin_call(store, lease, given)
    begin_call(store, lease, given, estimate=Usage("local/llama", output_tokens=4000, cost_usd=0.0))
    assert len(store.calls.calls_of("g1")) == 2


def test_each_account_without_write_permission_has_a_budget(store: Storage) -> None:
    given = with_budgets(outsiders={"day_usd": 0.07})
    lease = begin(store, "g1")
    begin_call(store, lease, given, outsider="mona")
    with pytest.raises(BudgetUsedUp, match=r"0\.0700 USD a day for mona") as raised:
        begin_call(store, lease, given, outsider="mona")
    assert raised.value.waiting_for is None  # one account is no problem of the service
    begin_call(store, lease, given, outsider="hubot")
    begin_call(store, lease, given)


def test_exceeded_budget_is_known_until_the_day_ends_or_its_setting_changes(
    store: Storage, skew: Skew
) -> None:
    given = with_budgets(total={"day_usd": 0.01}, repositories=[{"name": "octo/*", "day_usd": 9}])
    with suppress(BudgetUsedUp):
        begin_call(store, begin(store, "g1"), given)
    budgets = list_budgets(given)
    assert [budget.name for budget in store.budgets.find_exceeded(budgets)] == ["all repositories"]
    assert store.budgets.find_exceeded(list_budgets(with_budgets(total={"day_usd": 0.02}))) == ()
    skew.advance(hours=13)
    assert store.budgets.find_exceeded(budgets) == ()


def test_parallel_calls_never_exceed_a_budget(stores: list[Storage], store: Storage) -> None:
    given = with_budgets(total={"day_usd": 0.05 * 7})
    accept(store, *(queued(f"g{number}") for number in range(4)))
    leases = [claim(store, lease_s=600) for _ in range(4)]

    def work(number: int) -> int:
        begun = 0
        for _ in range(4):
            with suppress(Postponed):
                begin_call(stores[number], leases[number], given)
                begun += 1
        return begun

    assert sum(run_at_once(4, work)) == 7


# --- budgets of reviews ---


ENOUGH = 1000.0


def review_budget(
    max_usd: float = ENOUGH, *, per_pull_request: float = ENOUGH, is_waived: bool = False
) -> list[Limit]:
    """Return the limits of reviews of pull request 7 in repository 1."""
    where = "settings.yaml:10 (review.max_usd_per...)"
    return [
        Limit("pull request", None, per_pull_request, where, "1#7", is_waived=is_waived),
        Limit("delivery", None, max_usd, "settings.yaml:9 (review.max_usd)"),
    ]


def begin_review_call(
    store: Storage,
    lease: Lease,
    review: list[Limit],
    *,
    changes: tuple[Checkpoint, ...] = (),
) -> StartedCall:
    return start_call(
        store,
        lease,
        "pull_requests/analyze@3f9c2a",
        estimate=ESTIMATE,
        review=review,
        changes=changes,
    )


def run_review_call(store: Storage, lease: Lease, review: list[Limit]) -> None:
    call = begin_review_call(store, lease, review)
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None)


def test_call_whose_estimate_does_not_fit_is_not_begun_and_names_setting_and_amounts(
    store: Storage,
) -> None:
    lease = begin(store, "g1", number=7)
    run_review_call(store, lease, review_budget(0.0599))
    with pytest.raises(BudgetExceeded) as raised:
        begin_review_call(store, lease, review_budget(0.0599))
    assert (
        str(raised.value)
        == "the budget of the review allows no further call: 0.0100 USD spent, 0.0000 USD reserved"
        " by calls in progress, this call needs up to 0.0500 USD, limit 0.0599 USD"
        " (settings.yaml:9 (review.max_usd)); raise that limit, then push or comment /review"
    )
    assert [call.outcome for call in store.calls.calls_of("g1")] == ["ok"]
    assert store.statistics.counters()["claude_calls", "ok"] == 1


def test_error_of_the_limit_names_what_is_spent_and_what_is_reserved(store: Storage) -> None:
    first, second = (begin(store, guid, number=number) for guid, number in (("g1", 7), ("g2", 8)))
    review, second = review_budget(per_pull_request=0.1), replace(second, number=7)
    run_review_call(store, first, review)
    begin_review_call(store, second, review)
    with pytest.raises(BudgetExceeded) as raised:
        begin_review_call(store, first, review)
    assert (
        str(raised.value)
        == "the budget of the pull request allows no further call: 0.0100 USD spent, 0.0500 USD"
        " reserved by calls in progress, this call needs up to 0.0500 USD, limit 0.1000 USD"
        " (settings.yaml:10 (review.max_usd_per...)); /review of a person with write permission"
        " continues for one more review; or raise that limit, then push"
    )


def begin_second(store: Storage) -> Lease:
    """Claim the second delivery of a pull request on which 0.01 USD were spent."""
    first = begin(store, "g1", number=7)
    run_review_call(store, first, review_budget())
    finish(store, first)
    return begin(store, "g2", number=7)


@pytest.mark.parametrize(
    ("max_usd", "per_pull_request", "is_waived", "refusal"),
    [
        (ENOUGH, 0.05, True, ""),
        (0.0599, 0.05, True, "PullRequestLimitReached: the budget of the review"),
        # at both limits the error names the way on, if a call fits a review
        (0.0599, 0.0699, True, "PullRequestLimitReached: the budget of the review"),
        (0.0599, 0.0699, False, "PullRequestLimitReached: the budget of the pull request"),
        (0.0499, 0.0699, True, "BudgetExceeded: the budget of the review"),
        (0.0499, 0.0699, False, "BudgetExceeded: the budget of the review"),
    ],
)
def test_second_call_of_the_second_review_of_a_pull_request(
    store: Storage, max_usd: float, per_pull_request: float, is_waived: bool, refusal: str
) -> None:
    """Each call before it cost 0.01 USD."""
    lease = begin_second(store)
    run_review_call(store, lease, review_budget())
    limits = review_budget(max_usd, per_pull_request=per_pull_request, is_waived=is_waived)
    error = ""
    try:
        run_review_call(store, lease, limits)
    except BudgetExceeded as exc:
        error = f"{type(exc).__name__}: {str(exc).partition(' allows')[0]}"
    assert error == refusal


def test_continued_delivery_waits_for_other_budgets(store: Storage) -> None:
    lease, continued = begin_second(store), review_budget(per_pull_request=0.05, is_waived=True)
    budgets = list_budgets(with_budgets(total={"day_usd": 0.055}))
    with pytest.raises(BudgetUsedUp):
        start_call(store, lease, estimate=ESTIMATE, review=continued, budgets=budgets)
    with pytest.raises(Postponed):
        start_call(store, lease, estimate=ESTIMATE, review=continued, calls_per_hour=1)


def test_changes_are_stored_even_if_the_call_does_not_fit(store: Storage) -> None:
    lease, facts = begin(store, "g1", number=7), Checkpoint("gather", 0, 1, "{}")
    with pytest.raises(BudgetExceeded):
        begin_review_call(store, lease, review_budget(0.01), changes=(facts,))
    assert store.checkpoints.load("g1") == {("gather", 0): facts}


def test_cost_of_deleted_deliveries_still_counts_for_a_pull_request(
    store: Storage, skew: Skew
) -> None:
    review = review_budget(per_pull_request=0.075)
    for guid in ("g1", "g2", "g3"):
        lease = begin(store, guid, number=7)
        run_review_call(store, lease, review)
        finish(store, lease)
        skew.advance(days=91)
        assert store.retention.delete_deliveries(after=timedelta(days=90), limit=20) == 1
    with pytest.raises(BudgetExceeded, match=r"of the pull request .* 0\.0300 USD spent"):
        begin_review_call(store, begin(store, "g4", number=7), review)
