"""Checkpoints: the next worker of a delivery finds the results of earlier steps."""

from __future__ import annotations

from hls_handler.deliveries import Checkpoint
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, begin, claim


def test_next_worker_loads_checkpoints_by_name_and_index(store: Storage, skew: Skew) -> None:
    # and a lone surrogate
    gather = Checkpoint("gather", 0, 1, '{"title": "Grüße \\ud83d"}', took_s=0.25)
    first, second = Checkpoint("ask", 0, 1, '{"kind": "bug"}'), Checkpoint("ask", 1, 2, "[]")
    lease = begin(store, "g1")
    for step in (gather, first, second):
        store.checkpoints.save(lease, step)
    skew.advance(seconds=31)
    assert store.checkpoints.load(claim(store).guid) == {
        ("gather", 0): gather,
        ("ask", 0): first,
        ("ask", 1): second,
    }


def test_saved_checkpoint_replaces_the_earlier_one(store: Storage) -> None:
    lease = begin(store, "g1")
    store.checkpoints.save(lease, Checkpoint("ask", 0, 1, '"old"'))
    store.checkpoints.save(lease, Checkpoint("ask", 0, 2, '"new"', took_s=1.5))
    assert store.checkpoints.load(lease.guid) == {
        ("ask", 0): Checkpoint("ask", 0, 2, '"new"', took_s=1.5)
    }


def test_delete_removes_one_name_of_one_delivery(store: Storage) -> None:
    other, lease = begin(store, "g1"), begin(store, "g2")
    for holder in (other, lease):
        store.checkpoints.save(holder, Checkpoint("ask", 0, 1, "1"))
        store.checkpoints.save(holder, Checkpoint("ask", 1, 1, "2"))
        store.checkpoints.save(holder, Checkpoint("gather", 0, 1, "3"))
    store.checkpoints.delete(lease, "ask")
    assert store.checkpoints.load("g2").keys() == {("gather", 0)}
    assert len(store.checkpoints.load("g1")) == 3
    assert store.checkpoints.load("unknown") == {}
