"""Durability on SQLite: a commit waits for the disk only if something outside depends on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.calls import StartedCall
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, begin, claim, queued, start_call
from tests.sqlite import create_database

CHECKPOINT = Checkpoint("gather", 0, 1, "{}")
CALL = StartedCall(1, 0, {})
Write = Callable[[Storage, Lease], object]

SYNCED: dict[str, Write] = {
    "accept a delivery": lambda s, _: accept(s, queued("new")),
    "begin a call": lambda s, lease: start_call(s, lease, "p@1"),
    "take a slot": lambda s, lease: s.rate_limiter.take_slot(lease, SlotRequest("github", 0)),
    "claim": lambda s, _: claim(s),
    "finish": lambda s, lease: s.queue.finish(lease, End("done", ""), took_s=0),
    "dead-letter": lambda s, lease: s.queue.finish(lease, End("dead", "403")),
    "reschedule": lambda s, lease: s.queue.reschedule(
        lease, at=s.now(), reason="503", failed=True, counts=True
    ),
    "hold a rate limit": lambda s, _: s.rate_limiter.hold("github", s.now() + timedelta(hours=1)),
    "retry": lambda s, _: s.queue.retry("waiting"),
    "end a call": lambda s, lease: s.calls.end(
        lease, CALL, outcome="ok", usage=None, error=None, changes=[CHECKPOINT]
    ),
}
UNSYNCED: dict[str, Write] = {
    "renew a lease": lambda s, lease: s.queue.renew(lease),
    "save a checkpoint": lambda s, lease: s.checkpoints.save(lease, CHECKPOINT),
    "delete a checkpoint": lambda s, lease: s.checkpoints.delete(lease, "gather"),
    "acquire a lock": lambda s, lease: s.locks.acquire(lease, "comment", ttl_s=60),
    "set a status": lambda s, lease: s.checkpoints.save(
        lease, StatusChange({"posting_status": "failed", "posting_error": "403"})
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(create_database(tmp_path / "hls.db"))
    yield opened
    opened.close()


def commit_modes(store: Storage, write: Callable[[], object]) -> set[str]:
    """The `synchronous` mode of each commit of `write`."""
    modes: set[str] = set()

    def record_mode(connection: Connection) -> None:
        modes.add(
            {1: "NORMAL", 2: "FULL"}[connection.exec_driver_sql("PRAGMA synchronous").scalar_one()]
        )

    event.listen(Engine, "commit", record_mode)
    write()
    event.remove(Engine, "commit", record_mode)
    return modes


@pytest.mark.parametrize("write", SYNCED)
def test_commit_that_the_outside_depends_on_is_synced(store: Storage, write: str) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("waiting"))
    assert commit_modes(store, lambda: SYNCED[write](store, lease)) == {"FULL"}


@pytest.mark.parametrize("write", UNSYNCED)
def test_other_commits_are_not_synced(store: Storage, write: str) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("waiting"))
    assert commit_modes(store, lambda: UNSYNCED[write](store, lease)) == {"NORMAL"}
