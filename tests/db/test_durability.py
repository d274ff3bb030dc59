"""What SQLite waits for the disk with: what something outside depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.storage import Storage
from tests.queue.builders import accept, asked, begin, claim, queued

STEP = Checkpoint("gather", 0, 1, "{}")
Write = Callable[[Storage, Lease], object]

ON_THE_DISK: dict[str, Write] = {
    "a delivery, before its 202": lambda s, _: accept(s, queued("new")),
    "a call, before it is made": lambda s, lease: asked(s, lease, "p@1"),
    "a turn, before GitHub is written to": lambda s, lease: s.rate_limiter.take_slot(lease, "github", interval_s=0),
    "a claim, which counts a crash of the machine": lambda s, _: claim(s),
    "labels that are there": lambda s, lease: s.conversations.history(lease, "hls").mark_labels_set(["bug"]),
    "a comment that is there": lambda s, lease: s.conversations.history(lease, "hls").store_comment(
        "issues", 1, "digest"
    ),
    "an end": lambda s, lease: s.queue.finish(lease, "done", reason=None, took_s=0),
    "a death": lambda s, lease: s.queue.dead_letter(lease, reason="403"),
    "a later time": lambda s, lease: s.queue.reschedule(lease, at=s.now(), reason="503", failed=True, counts=True),
    "what a server said": lambda s, _: s.rate_limiter.hold("github", s.now() + timedelta(hours=1)),
    "what an operator wished": lambda s, _: s.queue.retry("waiting"),
}
WITH_THE_NEXT: dict[str, Write] = {
    "a longer lease": lambda s, lease: s.queue.renew(lease, lease_s=30),
    "a step": lambda s, lease: s.checkpoints.save(lease, STEP),
    "a step done again": lambda s, lease: s.checkpoints.delete(lease, "gather"),
    "a lock": lambda s, lease: s.locks.acquire(lease, "thread", ttl_s=60),
    "a status": lambda s, lease: s.queue.set_status(lease, posting="failed", posting_error="403"),
    "labels to come": lambda s, lease: s.conversations.history(lease, "hls").record_label_intents(["bug"]),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    made = Storage.open(f"sqlite:///{tmp_path}/hls.db")
    yield made
    made.close()


def commits(store: Storage, write: Callable[[], object]) -> set[str]:
    """How SQLite was told to commit while that was written."""
    seen: set[str] = set()

    def look(connection: Connection) -> None:
        seen.add({1: "NORMAL", 2: "FULL"}[connection.exec_driver_sql("PRAGMA synchronous").scalar_one()])

    event.listen(store.database._engine, "commit", look)
    write()
    event.remove(store.database._engine, "commit", look)
    return seen


@pytest.mark.parametrize("what", ON_THE_DISK)
def test_what_something_outside_depends_on_is_on_the_disk(store: Storage, what: str) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("waiting"))
    assert commits(store, lambda: ON_THE_DISK[what](store, lease)) == {"FULL"}


@pytest.mark.parametrize("what", WITH_THE_NEXT)
def test_what_lies_between_goes_to_the_disk_with_the_next_of_those(store: Storage, what: str) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("waiting"))
    assert commits(store, lambda: WITH_THE_NEXT[what](store, lease)) == {"NORMAL"}


def test_a_reply_is_on_the_disk_before_anything_else_is_done_with_it(store: Storage) -> None:
    lease = begin(store, "g1")
    call = asked(store, lease, "p@1")
    keep = Checkpoint("ask", 0, 1, "{}")
    assert commits(
        store, lambda: store.calls.end(lease, call, outcome="ok", usage=None, error=None, changes=[keep])
    ) == {"FULL"}
