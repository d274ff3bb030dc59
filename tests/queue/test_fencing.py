"""Fencing: every write with a lease that has ended is rejected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from hls_handler.actions import StoredComment
from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.errors import LeaseLost, Postponed
from hls_handler.queue.checkpoints import PendingChanges, StatusChange
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    Skew,
    begin,
    claim,
    open_history,
    replies_to,
    start_call,
    take_slot,
)

CHECKPOINT = Checkpoint("post", 0, 1, "{}")


def save_pending_changes(store: Storage, lease: Lease) -> None:
    pending = PendingChanges()
    pending.add(CHECKPOINT)
    history = store.conversations.history(lease, "hls", pending=pending)
    history.change_labels(["bug"], "set")
    history.store_comment("issues", StoredComment(1, "digest"))
    store.checkpoints.save(lease, *pending.take())


WRITES: dict[str, Callable[[Storage, Lease], object]] = {
    "renew": lambda s, lease: s.queue.renew(lease),
    "save_checkpoint": lambda s, lease: s.checkpoints.save(lease, Checkpoint("ask", 0, 1, "{}")),
    "delete_checkpoint": lambda s, lease: s.checkpoints.delete(lease, "stored"),
    "finish": lambda s, lease: s.queue.finish(
        lease, End("done", "", posting="done"), took_s=1, changes=[CHECKPOINT]
    ),
    "dead_letter": lambda s, lease: s.queue.finish(lease, End("dead", "locked")),
    "reschedule": lambda s, lease: s.queue.reschedule(
        lease, at=s.now() + timedelta(hours=1), reason="503", failed=True, counts=True
    ),
    "set_status": lambda s, lease: s.checkpoints.save(
        lease, StatusChange({"analysis_status": "failed", "analysis_error": "refused"})
    ),
    "take_slot": lambda s, lease: s.rate_limiter.take_slot(
        lease, SlotRequest("github", 1), changes=[CHECKPOINT]
    ),
    "begin_call": lambda s, lease: start_call(s, lease, changes=[CHECKPOINT]),
    "acquire_lock": lambda s, lease: s.locks.acquire(
        lease, "comment", ttl_s=60, changes=[CHECKPOINT]
    ),
    "change_labels": (lambda s, lease: open_history(s, lease).change_labels(["bug"], "intended")),
    "delete_labels": lambda s, lease: open_history(s, lease).change_labels(["stored"], None),
    "save_pending_changes": save_pending_changes,
    "stop": lambda s, lease: s.interruptions.stop(lease, 7, by="mona"),
    "resume": lambda s, lease: s.interruptions.resume(lease, 7),
    "store_comment": (
        lambda s, lease: open_history(s, lease).store_comment("issues", StoredComment(1, "digest"))
    ),
}


def accepted_writes(store: Storage, lease: Lease) -> list[str]:
    """Names of the writes that do not raise `LeaseLost`."""
    accepted = []
    for name, write in WRITES.items():
        with suppress(LeaseLost):
            write(store, lease)
            accepted.append(name)
    return accepted


def test_write_with_a_lost_lease_is_rejected_and_changes_nothing(
    store: Storage, skew: Skew
) -> None:
    stale = begin(store, "g1", number=7)
    store.checkpoints.save(stale, Checkpoint("stored", 0, 1, "{}"))
    open_history(store, stale).change_labels(["stored"], "set")
    skew.advance(seconds=31)
    current = claim(store, worker="heir")
    store.locks.acquire(current, "held", ttl_s=3600)
    before = (store.deliveries.find("g1"), store.statistics.counters())
    with pytest.raises(LeaseLost, match=r"the lease on delivery g1 \(attempt 1\) has ended"):
        store.queue.renew(stale)
    assert accepted_writes(store, stale) == []
    assert (store.deliveries.find("g1"), store.statistics.counters()) == before
    assert store.checkpoints.load("g1").keys() == {("stored", 0)}
    assert (store.calls.calls_of("g1"), replies_to(store, "g1")) == ([], [])
    history = open_history(store, current)
    assert (history.labels(), history.comment("issues")) == ({"stored": "set"}, None)
    take_slot(store, current, 60)  # the lost lease took no slot
    with pytest.raises(Postponed, match="which holds the lock held"):  # nor released a lock
        store.locks.acquire(begin(store, "g2"), "held", ttl_s=60)


@pytest.mark.parametrize("end", ["expired", "finished"])
def test_write_after_the_end_of_the_lease_is_rejected(store: Storage, skew: Skew, end: str) -> None:
    lease = begin(store, "g1", number=7)
    if end == "expired":
        skew.advance(seconds=31)
    else:
        store.queue.finish(lease, End("done", ""), took_s=1)
    assert accepted_writes(store, lease) == []
