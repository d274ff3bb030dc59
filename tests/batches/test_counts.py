"""Numbers of deliveries leave batches out; usage and cost include them, marked."""

from __future__ import annotations

from hls_handler.deliveries import PRIORITY_BATCH, NewDelivery
from hls_handler.store.search import DeliverySearch
from tests.batches.builders import begin_batch
from tests.engine.world import open_world
from tests.queue.builders import queued


def test_queue_and_list_leave_batches_out() -> None:
    with open_world() as world:
        begin_batch(world.store, 2, 3)
        world.accept(guid="webhook", number=9)
        store = world.store
        search = DeliverySearch()
        assert store.deliveries.queue_state().queued == 1
        assert [row.guid for row in store.searches.find(search).rows] == ["webhook"]
        assert store.searches.count_states(search, since=None).of_all["queued"] == 1
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
