"""Deliveries whose results are only recorded: what they write, pay, and leave to webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from hls_handler.db.tables import metadata
from hls_handler.errors import DependencyDown, Permanent, Retryable
from hls_handler.prompting import recorded
from hls_handler.settings.model import BudgetsSettings
from hls_handler.store.batches import Progress
from hls_handler.store.calls import CLAUDE_RATE_LIMIT
from tests.batches.builders import begin_batch
from tests.batches.test_kills import Killer, install
from tests.engine.claude import FakeClaude
from tests.engine.world import BUG, World, open_world

NUMBERS = (2, 3, 4)
DOWN = DependencyDown("Claude is down", dependency="claude", remedy="wait")


@pytest.fixture
def world() -> Iterator[World]:
    with open_world() as found:
        yield found


def begin(world: World, *numbers: int, max_usd: float = 1.0) -> int:
    return begin_batch(world.store, *numbers, max_usd=max_usd)


def process(world: World) -> None:
    for _ in range(50):
        wait_s = world.store.queue.seconds_until_due()
        if wait_s is None:
            return
        world.advance(wait_s)
        world.run()
    raise AssertionError("deliveries are left")


def progress(world: World) -> Progress:
    found = world.store.batches.find(1)
    assert found is not None
    return world.store.batches.load_progress(found)


def test_recorded_delivery_writes_only_its_own_tables(world: World) -> None:
    def count_rows(world: World) -> dict[str, int]:
        with world.store.database.reading() as connection:
            rows = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            }
        return {name: number for name, number in rows.items() if number}

    begin(world, *NUMBERS)
    process(world)
    assert progress(world).state == "done"
    rows = count_rows(world)
    assert rows.keys() - {"secrets"} == {
        "batches",
        "calls",
        "checkpoints",
        "counters",
        "deliveries",
        "rate_limits",
    }
    assert {name for name, _ in world.store.statistics.counters()} == {
        "claude_calls",
        "claude_ms",
        "claude_timed",
        "cost_micro_usd",
        "prompt_calls",
        "tokens",
    }
    assert world.store.calls.prompt_stats() == []


def test_recorded_delivery_has_no_conversation_that_a_webhook_ends(world: World) -> None:
    begin(world, 1)
    closed = {**recorded.load("issues.closed").payload}
    world.receive("issues", closed, guid="closed")
    process(world)
    assert [delivery.state for delivery in progress(world).deliveries] == ["done"]


def test_cache_of_replies_is_not_used(world: World) -> None:
    begin(world, 2)
    begin(world, 2)
    process(world)
    assert len(world.claude.asked) == 2


def test_outage_is_waited_for(world: World) -> None:
    world.claude = FakeClaude([DOWN, DOWN, BUG])
    begin(world, *NUMBERS)
    process(world)
    assert progress(world).state == "done"
    assert len(world.claude.asked) == 5


def test_question_that_always_fails_is_no_dead_letter(world: World) -> None:
    world.claude = FakeClaude([Retryable("the response is not JSON")])
    begin(world, 2)
    for _ in range(400):
        world.advance(world.store.queue.seconds_until_due() or 0)
        if world.run() is not None:
            break
    (delivery,) = progress(world).deliveries
    assert (delivery.state, delivery.reason_kind) == ("ignored", "no result")
    assert world.store.deliveries.queue_state().dead == 0


def test_calls_never_cost_more_than_allowed_and_more_money_continues(world: World) -> None:
    begin(world, *NUMBERS, max_usd=0.0502)  # a call reserves 0.05 and costs 0.00014
    process(world)
    found = progress(world)
    assert (found.state, found.cost_usd) == ("over budget", 0.00028)
    assert found.deliveries[2].reason == (
        "the budget of batch 1 allows no further call: 0.0003 USD spent, this call needs up to"
        " 0.0500 USD, --max-usd is 0.0502; `hls batch continue 1 --max-usd 0.1006` goes on"
    )
    assert found.budget_problem == found.deliveries[2].reason
    world.store.batches.resume(1, max_usd=0.1006, by="mona")
    process(world)
    assert (progress(world).state, len(world.claude.asked)) == ("done", 3)


def test_stopped_batch_asks_nothing_until_it_is_continued(world: World) -> None:
    begin(world, *NUMBERS)
    world.finish()
    world.store.batches.stop(1, by="mona")
    assert progress(world).state == "stopped"
    assert world.find_due() is None
    world.store.batches.resume(1, max_usd=None, by="mona")
    process(world)
    assert (progress(world).state, len(world.claude.asked)) == ("done", 3)


def test_delivery_in_work_at_a_stop_asks_nothing_in_its_next_attempt(world: World) -> None:
    begin(world, 2)
    world.claim()
    world.store.batches.stop(1, by="mona")
    world.store.queue.release_all_leases()
    process(world)
    assert (progress(world).state, world.claude.asked) == ("stopped", [])
    world.store.batches.resume(1, max_usd=None, by="mona")
    process(world)
    assert (progress(world).state, len(world.claude.asked)) == ("done", 1)


def test_batch_without_bodies_is_not_continued(world: World) -> None:
    begin(world, *NUMBERS)
    world.finish()
    world.store.batches.stop(1, by="mona")
    world.advance(15 * 86_400)
    world.store.retention.delete_bodies(after=timedelta(days=14), limit=100)
    with pytest.raises(
        Permanent, match=r"^batch 1 cannot go on, .* of 2 of its deliveries were deleted"
    ):
        world.store.batches.resume(1, max_usd=None, by="mona")
    assert progress(world).state == "stopped"


def test_cost_is_that_of_the_ledger_after_retention(world: World) -> None:
    begin(world, *NUMBERS)
    process(world)
    world.advance(100 * 86400)
    world.store.retention.delete_deliveries(after=timedelta(days=90), limit=10)
    found = progress(world)
    assert (found.state, found.cost_usd) == ("deleted", 0.00042)


def test_kill_at_each_point_repeats_at_most_the_call_in_flight() -> None:
    def run_killed(at: int) -> int:
        """Kill the process at a point, continue, and return how often Claude was asked; of 0,
        return the number of points.
        """
        killer = Killer(at)
        with open_world() as world, pytest.MonkeyPatch.context() as patch:
            begin(world, *NUMBERS)
            install(world, killer, patch)
            killer.until_done(lambda: process(world), world.store.queue.release_all_leases)
            found = progress(world)
            assert (found.state, [one.state for one in found.deliveries]) == ("done", ["done"] * 3)
            return len(world.claude.asked) if at else killer.passed

    points = run_killed(0)
    assert points > 20
    asked = [run_killed(at) for at in range(1, points + 1)]
    assert set(asked) == {3, 4}
    # of each of three calls: after the reply, and before the commit that stores it
    assert asked.count(4) <= 6


def set_limits(world: World, **claude: object) -> None:
    changed = world.settings.claude.model_copy(update=claude)
    world.settings = world.settings.model_copy(update={"claude": changed})


def test_batch_leaves_half_of_the_hourly_calls_to_webhooks(world: World) -> None:
    set_limits(world, calls_per_hour=4)
    begin(world, *range(2, 8))
    for _ in range(2):
        world.finish()
    assert world.run() is None
    (waiting,) = [one for one in progress(world).deliveries if one.reason and one.is_open]
    assert (waiting.reason or "").startswith(
        "the hourly budget is used up: half of claude.calls_per_hour, for batches, allows 2 calls"
    )
    for guid in ("one", "two"):
        world.accept(guid=guid, number=int(guid == "two") + 20)
        assert world.finish().guid == guid
    assert "claude" not in {
        name
        for name, component in world.health.snapshot().components.items()
        if component.state == "degraded"
    }


@pytest.mark.parametrize(
    ("total", "limit", "webhook"),
    [
        ({"day_usd": 0.0901}, "0.0450 USD a day for all repositories (half of settings", "done"),
        ({"month_usd": 0.0401}, "0.0401 USD a month for all repositories (settings", "ignored"),
    ],
)
def test_batch_leaves_half_of_the_budget_of_a_day_to_webhooks(
    world: World, total: dict[str, float], limit: str, webhook: str
) -> None:
    budgets = BudgetsSettings.model_validate({"total": total, "exceeded": "ignore"})
    world.settings = world.settings.model_copy(update={"budgets": budgets})
    begin(world, 2)
    assert world.run() is None  # a call reserves 0.05, which is more than a batch may use
    (delivery,) = progress(world).deliveries
    assert (delivery.reason or "").startswith(f"waits for a budget: {limit}")
    world.accept()
    assert world.finish().state == webhook


def test_webhook_waits_for_one_call_of_a_batch_after_an_outage(world: World) -> None:
    set_limits(world, requests_per_second=0.1)
    begin(world, *NUMBERS)
    world.store.rate_limiter.hold(CLAUDE_RATE_LIMIT, world.store.now() + timedelta(minutes=5))
    for _ in NUMBERS:
        assert world.run() is None
    world.accept(guid="webhook")
    assert world.run() is None
    world.advance(300)
    assert world.finish().guid == "batch-1-2-0"
    world.advance(10)
    assert world.finish().guid == "webhook"
    process(world)
    assert progress(world).state == "done"


@pytest.mark.parametrize(
    ("issues", "limit"), [(40, 20), pytest.param(400, 200, marks=pytest.mark.full)]
)
def test_webhooks_beside_a_batch_get_their_result_at_once(issues: int, limit: int) -> None:
    """With a limit of calls an hour, no webhook of minute 70 waits for a call of the batch."""
    with open_world(is_clock_fixed=True) as world:
        set_limits(world, calls_per_hour=limit)
        begin(world, *range(2, 2 + issues))
        began = world.store.now()
        while world.store.now() - began < timedelta(minutes=70):
            wait_s = world.store.queue.seconds_until_due()
            if wait_s == 0:
                world.run()
            else:
                world.advance(min(wait_s or 60.0, 60.0))
        assert len(world.claude.asked) == limit  # half of it in each hour
        for number in range(500, 510):
            world.accept(guid=f"webhook-{number}", number=number)
        ended = [world.finish() for _ in range(10)]
        assert [end.state for end in ended] == ["done"] * 10
        assert {end.guid.partition("-")[0] for end in ended} == {"webhook"}
