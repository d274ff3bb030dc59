"""Queries of deliveries for commands and statistics."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.deliveries import End
from hls_handler.store.deliveries import QueueState
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, begin, dead_letter, ignored, queued


@pytest.mark.parametrize(
    ("prefix", "guid"),
    [
        ("abc-12", "abc-12"),
        ("abc-2", "abc-22"),
        ("abc", None),
        ("a%", None),
        ("\0", None),
    ],
    ids=["exact", "unique prefix", "several", "no wildcard", "NUL"],
)
def test_find_accepts_a_guid_or_its_unique_prefix(
    store: Storage, prefix: str, guid: str | None
) -> None:
    accept(store, queued("abc-1"), queued("abc-12"), queued("abc-22"))
    row = store.deliveries.find(prefix)
    assert (row.guid if row else None) == guid


def test_end_is_that_of_a_finished_delivery_only(store: Storage) -> None:
    dead_letter(store, "dead")
    accept(store, ignored("ignored", reason="not enabled", settle_s=10), queued("queued"))
    assert [store.deliveries.end_of(guid) for guid in ("dead", "ignored", "queued", "unknown")] == [
        End("dead", "issue is locked"),
        End("ignored", "not enabled"),
        None,
        None,
    ]


def test_queue_state_counts_deliveries(store: Storage, skew: Skew) -> None:
    assert store.deliveries.queue_state() == QueueState(0, 0, 0, 0, 0, None, None)
    dead_letter(store, "dead")
    waiting, _running = begin(store, "waiting"), begin(store, "running")
    store.queue.reschedule(
        waiting, at=store.now() + timedelta(hours=1), reason="503", failed=True, counts=False
    )
    accept(store, queued("due-1"))
    skew.advance(seconds=10)
    accept(store, queued("due-2"))
    state = store.deliveries.queue_state()
    assert (state.queued, state.due, state.running, state.dead) == (3, 2, 1, 1)
    assert state.waiting_reason == "503"
    assert state.oldest_due_s is not None
    assert 10 <= state.oldest_due_s < 12
