"""What catch-up stores: its progress, and the repositories that it may look at."""

from __future__ import annotations

from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, ignored, queued


def test_stored_guids_are_found(store: Storage) -> None:
    accept(store, queued("g1"), ignored("g2"))
    assert store.catch_up.find_known([f"g{number}" for number in range(1_200)]) == {"g1", "g2"}


def test_received_repositories_begin_with_the_last_active_one(store: Storage, skew: Skew) -> None:
    for guid, repository in (
        ("g1", "octo/widgets"),
        ("g2", "octo/widgets"),
        ("g3", "octo/gadgets"),
    ):
        skew.advance(minutes=1)
        accept(store, queued(guid, repository=repository))
    accept(store, queued("g4", repository="octo/tools", request_id="caught-up:4"))
    assert store.catch_up.received_repositories() == ["octo/gadgets", "octo/widgets", "octo/tools"]
