"""Numbers of deliveries leave batches out; usage and cost include them, marked."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.console.metrics import read_metrics
from hls_handler.deliveries import PRIORITY_BATCH, NewDelivery
from hls_handler.store.search import DeliverySearch
from tests.batches.builders import begin_batch
from tests.engine.world import World, open_world
from tests.queue.builders import queued


def test_queue_and_list_leave_batches_out() -> None:
    with open_world() as world:
        begin_batch(world.store, 2, 3)
        world.accept(guid="webhook", number=9)
        store = world.store
        search = DeliverySearch()
        assert store.deliveries.queue_state().queued == 1
        assert [row.guid for row in store.searches.find(search).rows] == ["webhook"]
        assert store.searches.count_states(search, since=None).overall["queued"] == 1
        assert store.deliveries.of_conversation("Codertocat/Hello-World", 2) == []
        named = DeliverySearch(text="batch-1-")
        assert [row.guid for row in store.searches.find(named).rows] == [
            "batch-1-3-0",
            "batch-1-2-0",
        ]


def test_event_that_ends_a_batch_delivery_is_not_counted_twice() -> None:
    with open_world() as world:
        waiting: NewDelivery = queued("batch-1-7", number=7, batch_id=1, priority=PRIORITY_BATCH)
        world.store.queue.accept([waiting])
        world.store.queue.accept([queued("closed", number=7, action="closed", supersedes="all")])
        row = world.store.deliveries.find("batch-1-7")
        assert row is not None
        assert row.state == "superseded"
        assert ("outcome", "superseded") not in world.store.statistics.counters()


def test_cost_of_batches_is_that_of_the_ledger_and_marked_after_retention() -> None:
    def read_metric(world: World, name: str, **labels: str) -> float:
        return next(
            sample.value
            for metric in read_metrics(world.store)
            for sample in metric.samples
            if sample.name == name and sample.labels == labels
        )

    with open_world() as world:
        begin_batch(world.store, 2, 3)
        world.accept(guid="webhook", number=9)
        for _ in range(3):
            world.finish()
        store = world.store
        now = store.now()
        total, of_prompt, of_batches = 0.00042, 0.00014, 0.00028
        for _ in range(2):
            assert read_metric(world, "hls_claude_cost_usd_total") == total
            assert read_metric(world, "hls_prompt_calls_total", prompt="batches") == 2
            assert read_metric(world, "hls_prompt_cost_usd_total", prompt="batches") == of_batches
            analyze = read_metric(world, "hls_prompt_cost_usd_total", prompt="issues/analyze")
            assert analyze == of_prompt
            figures = store.statistics.report(
                now - timedelta(hours=1), now + timedelta(hours=1)
            ).total
            assert (figures.cost_usd, figures.batches_cost_usd) == (total, of_batches)
            assert (figures.processed, figures.reply_cache.replies) == (1, 1)
            world.advance(100 * 86400)
            store.retention.delete_deliveries(after=timedelta(days=90), limit=10)
