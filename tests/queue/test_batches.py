"""Order and places of the queue with batches, which wait for webhooks."""

from __future__ import annotations

from typing import Any

from hls_handler.deliveries import PRIORITY_BATCH, RECORDED, NewDelivery
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, claim, queued


def of_batch(guid: str, batch: int = 1, **other: Any) -> NewDelivery:
    fields = {"priority": PRIORITY_BATCH, "request_id": f"{RECORDED}0", "batch_id": batch}
    return queued(guid, **(fields | other))


def claim_of(store: Storage, concurrency: int) -> str | None:
    lease = store.queue.claim(worker="w", concurrency=concurrency)
    return None if lease is None else lease.guid


def test_webhook_precedes_a_batch_however_long_that_waits(store: Storage, skew: Skew) -> None:
    accept(store, of_batch("batch-1-7"))
    skew.advance(days=40)
    accept(store, queued("webhook"))
    assert [claim(store).guid, claim(store).guid] == ["webhook", "batch-1-7"]


def test_batches_have_half_of_the_places_and_never_the_last_one(store: Storage) -> None:
    accept(store, *(of_batch(f"batch-1-{n}", batch=n) for n in range(4)))
    assert [claim_of(store, 4) for _ in range(3)] == ["batch-1-0", "batch-1-1", None]
    assert store.queue.seconds_until_due(concurrency=4) != 0
    accept(store, queued("one"), queued("two"))
    assert {claim_of(store, 4), claim_of(store, 4)} == {"one", "two"}


def test_last_free_place_is_not_for_batches(store: Storage) -> None:
    accept(store, queued("one"), queued("two"), of_batch("batch-1-7"))
    assert {claim_of(store, 3), claim_of(store, 3)} == {"one", "two"}
    assert claim_of(store, 3) is None


def test_service_with_one_worker_processes_batches(store: Storage) -> None:
    accept(store, of_batch("batch-1-7"), of_batch("batch-1-8"))
    assert [claim_of(store, 1), claim_of(store, 1)] == ["batch-1-7", None]


def test_command_that_works_alone_claims_only_its_batch_with_all_places(store: Storage) -> None:
    accept(store, of_batch("other", batch=1), queued("webhook"))
    accept(store, *(of_batch(f"batch-2-{n}", batch=2) for n in range(3)))
    queue = store.queue.of_batch(2)
    leases = [queue.claim(worker="w", concurrency=2) for _ in range(3)]
    assert [lease and lease.guid for lease in leases] == ["batch-2-0", "batch-2-1", None]


def test_webhook_does_not_wait_for_a_recorded_delivery_of_its_conversation(store: Storage) -> None:
    accept(store, of_batch("batch-1-7", number=7))
    claim(store)
    accept(store, queued("webhook", number=7))
    assert claim(store).guid == "webhook"
