"""Duration of a claim with 100,000 finished and 10,000 queued deliveries, 2,000 of them of one
conversation.

The reference is a database that contains only the claimed delivery. Claims alternate between the
two databases, so that other load on the disk affects both. The time includes the fsync.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine

from bench.row import Row, describe_rounds, median, percentile
from hls_handler.deliveries import End, Lease, NewDelivery
from hls_handler.store.storage import Storage
from tests.postgres import running_cluster

CONVERSATIONS = 1_000
WARM_UP = 20
REQUIRED, AIM = 10.0, 2.0
BODY = hashlib.sha256(b"a body").digest() * 60  # as long as a compressed one

_BATCH = 250
_LONG_CONVERSATION = 1_000_000
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Sizes:
    done: int = 100_000
    queued: int = 10_000
    longest: int = 2_000  # deliveries of the longest conversation
    rounds: int = 3
    claims: int = 125


SIZES = Sizes()
Fill = Callable[[Storage, Sizes], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A state of the queue."""

    name: str
    fill: Fill


def measure(folder: Path, *, sizes: Sizes = SIZES) -> tuple[Row, ...]:
    on_sqlite = _measure(
        "SQLite", sizes, f"sqlite:///{folder}/full.db", f"sqlite:///{folder}/empty.db"
    )
    with running_cluster(fsync=True, within=folder) as cluster:
        urls = (cluster.url(cluster.create()) for _ in range(2))
        return (*on_sqlite, *_measure("PostgreSQL", sizes, *urls))


def _measure(database: str, sizes: Sizes, full_url: str, empty_url: str) -> tuple[Row, ...]:
    with closing(Storage.open(full_url)) as full, closing(Storage.open(empty_url)) as empty:
        _add_done(full, full_url, sizes.done)
        rows = []
        for case in CASES:
            case.fill(full, sizes)
            _optimize(full_url)
            rows.append(_compare(f"claim, {database}, {case.name}", sizes, full, empty))
            _run(full_url, "DELETE FROM deliveries WHERE state <> 'done'")
    return tuple(rows)


def _compare(name: str, sizes: Sizes, full: Storage, empty: Storage) -> Row:
    for _ in range(min(WARM_UP, sizes.claims)):
        _claim(empty)
        _claim(full)
    ratios, in_full, in_empty = [], [], []
    for _ in range(sizes.rounds):
        pairs = [(_claim(full), _claim(empty)) for _ in range(sizes.claims)]
        from_full, from_empty = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        ratios.append(percentile(from_full, 0.99) / percentile(from_empty, 0.99))
        in_full += from_full
        in_empty += from_empty
    both = (
        f"p99 {percentile(in_full, 0.99) * 1000:.2f} ms to"
        f" {percentile(in_empty, 0.99) * 1000:.2f} ms"
    )
    medians = f"p50 {median(in_full) * 1000:.2f} to {median(in_empty) * 1000:.2f}"
    details = f"{both}, {medians}; {describe_rounds(ratios)}"
    return Row(name, median(ratios), "at most", REQUIRED, AIM, details)


def _claim(store: Storage) -> float:
    """Queue, claim and finish one delivery; return the duration of the claim."""
    _queue(store, [_delivery(number=next(_numbers) % CONVERSATIONS)])
    start = time.perf_counter()
    lease = store.queue.claim(worker="bench", lease_s=600)
    took_s = time.perf_counter() - start
    assert lease is not None, "nothing to claim"
    store.queue.finish(lease, End("done", "measured"), took_s=0.1)
    return took_s


def _delivery(*, number: int, priority: int = 0, repository_id: int = 1) -> NewDelivery:
    serial = next(_numbers)
    return NewDelivery(
        guid=f"{serial:036}",
        event="issues",
        action="edited",
        request_id=f"{serial:032}",
        state="queued",
        repository_id=repository_id,
        repository=f"octo/widgets-{repository_id}",
        number=number,
        priority=priority,
        digest=hashlib.sha256(str(serial).encode()).digest(),
        body=BODY,
    )


def _queue(store: Storage, batch: list[NewDelivery]) -> None:
    store.queue.accept(batch)


def _batches(deliveries: Iterator[NewDelivery]) -> Iterator[list[NewDelivery]]:
    while batch := list(itertools.islice(deliveries, _BATCH)):
        yield batch


def _begin(store: Storage) -> Lease:
    lease = store.queue.claim(worker="another", lease_s=36_000)
    assert lease is not None
    return lease


def _add_done(store: Storage, url: str, done: int) -> None:
    """Insert ignored deliveries, which are finished at once, and change their rows into those of
    done ones.
    """
    ignored = (
        NewDelivery(
            guid=f"{next(_numbers):036}",
            event="issues",
            action="edited",
            request_id="r",
            state="ignored",
            reason="measured",
            reason_kind="bench",
            repository_id=1,
            repository="octo/widgets-1",
            number=number % CONVERSATIONS,
        )
        for number in range(done)
    )
    for batch in _batches(ignored):
        _queue(store, batch)
    digest = "randomblob(32)" if url.startswith("sqlite") else "sha256(convert_to(guid, 'UTF8'))"
    _run(
        url,
        f"UPDATE deliveries SET state = 'done', digest = {digest}, body = {digest} || {digest} ||"
        f" {digest}",
    )


def _optimize(url: str) -> None:
    """Bring the database into the state after normal use: current statistics and a short
    write-ahead log.
    """
    if url.startswith("sqlite"):
        _run(url, "PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        _run(url, "VACUUM ANALYZE")


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _queue_others(store: Storage, sizes: Sizes) -> None:
    """Queue the other deliveries, of all other conversations."""
    rest = (
        _delivery(number=at % (CONVERSATIONS - 1)) for at in range(sizes.queued - sizes.longest)
    )
    for batch in _batches(rest):
        _queue(store, batch)


def _long_conversation_running(store: Storage, sizes: Sizes) -> None:
    """The long conversation is first by age and priority, and is blocked by its first delivery,
    which is running.
    """
    for batch in _batches(
        _delivery(number=_LONG_CONVERSATION, priority=1) for _ in range(sizes.longest + 1)
    ):
        _queue(store, batch)
    _begin(store)
    _queue_others(store, sizes)


def _long_conversation_queued(store: Storage, sizes: Sizes) -> None:
    """The long conversation was queued last; none of its deliveries is running."""
    _queue_others(store, sizes)
    for batch in _batches(_delivery(number=_LONG_CONVERSATION) for _ in range(sizes.longest)):
        _queue(store, batch)


def _retries_first(store: Storage, sizes: Sizes) -> None:
    """2,000 deliveries that wait for a retry are first."""
    for batch in _batches(
        _delivery(number=_LONG_CONVERSATION + at, priority=1) for at in range(sizes.longest)
    ):
        _queue(store, batch)
    until = store.now() + timedelta(hours=10)
    for _ in range(sizes.longest):
        store.queue.reschedule(
            _begin(store), at=until, reason="measured", failed=True, counts=False
        )
    _queue_others(store, sizes)


def _paused_repository(store: Storage, sizes: Sizes) -> None:
    """All other queued deliveries are of a paused repository."""
    store.pauses.pause("octo/widgets-2", reason="measured", by="mona")
    paused = (
        _delivery(number=at % CONVERSATIONS, priority=1, repository_id=2)
        for at in range(sizes.queued)
    )
    for batch in _batches(paused):
        _queue(store, batch)


CASES = (
    Case("a long conversation is running", _long_conversation_running),
    Case("a long conversation is queued", _long_conversation_queued),
    Case("2,000 retries are first", _retries_first),
    Case("a paused repository is first", _paused_repository),
)
