"""How long a claim takes beside a full table: 100,000 rows done and 10,000 queued, one thread with 2,000 of them.

What it is held against is a table that holds nothing but what is claimed. Both stores are claimed from in turns, one
claim after the other, so that a slow moment of the disk hits both; the fsync of each claim is part of its time.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine

from bench.row import Row, median, percentile, spread
from hls_handler.deliveries import Lease, NewDelivery
from hls_handler.storage import Storage
from tests.postgres import running_cluster

DONE, QUEUED, THREADS, LONGEST = 100_000, 10_000, 1_000, 2_000
ROUNDS, CLAIMS = 8, 125
WARM_UP = 20
REQUIRED, AIM = 4.0, 2.0
BODY = hashlib.sha256(b"a body").digest() * 60  # as long as a packed one

_BATCH = 250
_LONG = 1_000_000
_numbers = itertools.count(1)

Fill = Callable[[Storage], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A state of the queue that a claim must find its way in."""

    name: str
    fill: Fill


def measure(folder: Path) -> tuple[Row, ...]:
    files = [folder / case.name for case in CASES]
    on_sqlite = [
        _measured(case, f"sqlite:///{file}.db", f"sqlite:///{file}-empty.db")
        for case, file in zip(CASES, files, strict=True)
    ]
    with running_cluster(fsync=True, within=folder) as cluster:
        on_postgresql = [
            _measured(case, cluster.url(cluster.create()), cluster.url(cluster.create())) for case in CASES
        ]
    return (*on_sqlite, *on_postgresql)


def _measured(case: Case, full_url: str, empty_url: str) -> Row:
    with ExitStack() as opened:
        full, empty = (opened.enter_context(closing(Storage.open(url))) for url in (full_url, empty_url))
        _add_done(full, full_url)
        case.fill(full)
        _settle(full_url)
        for _ in range(WARM_UP):
            _claim(empty)
            _claim(full)
        ratios, in_full, in_empty = [], [], []
        for _ in range(ROUNDS):
            pairs = [(_claim(full), _claim(empty)) for _ in range(CLAIMS)]
            slow, quick = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            ratios.append(percentile(slow, 0.99) / percentile(quick, 0.99))
            in_full += slow
            in_empty += quick
    both = f"p99 {percentile(in_full, 0.99) * 1000:.2f} ms to {percentile(in_empty, 0.99) * 1000:.2f} ms"
    medians = f"p50 {median(in_full) * 1000:.2f} to {median(in_empty) * 1000:.2f}"
    database = "SQLite" if full_url.startswith("sqlite") else "PostgreSQL"
    how = f"{both}, {medians}; {spread(ratios)}"
    return Row(f"claim, {database}, {case.name}", median(ratios), "at most", REQUIRED, AIM, how)


def _claim(store: Storage) -> float:
    """How long one took; what is claimed is finished, and as much is queued anew."""
    _queue(store, [_delivery(number=next(_numbers) % THREADS)])
    begun = time.perf_counter()
    lease = store.queue.claim(worker="bench", lease_s=600, max_crashes=10)
    took_s = time.perf_counter() - begun
    assert lease is not None, "nothing to claim"
    store.queue.finish(lease, "done", reason="measured", took_s=0.1)
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
        sender="mona",
        priority=priority,
        digest=hashlib.sha256(str(serial).encode()).digest(),
        body=BODY,
    )


def _queue(store: Storage, batch: list[NewDelivery]) -> None:
    store.queue.accept(batch, replay_window_h=72)


def _batches(deliveries: Iterator[NewDelivery]) -> Iterator[list[NewDelivery]]:
    while batch := list(itertools.islice(deliveries, _BATCH)):
        yield batch


def _begin(store: Storage) -> Lease:
    lease = store.queue.claim(worker="another", lease_s=36_000, max_crashes=10)
    assert lease is not None
    return lease


def _add_done(store: Storage, url: str) -> None:
    """Through the door as ignored, which ends them at once; then the rows are given what finished ones have."""
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
            number=number % THREADS,
        )
        for number in range(DONE)
    )
    for batch in _batches(ignored):
        _queue(store, batch)
    digest = "randomblob(32)" if url.startswith("sqlite") else "sha256(convert_to(guid, 'UTF8'))"
    _run(url, f"UPDATE deliveries SET state = 'done', digest = {digest}, body = {digest} || {digest} || {digest}")


def _settle(url: str) -> None:
    """As a database is that has been served for a while: the planner knows its tables, and the log is short."""
    if url.startswith("sqlite"):
        _run(url, "PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        _run(url, "VACUUM ANALYZE")


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def _others(store: Storage) -> None:
    """The rest of the queue, over the other threads."""
    rest = (_delivery(number=at % (THREADS - 1)) for at in range(QUEUED - LONGEST))
    for batch in _batches(rest):
        _queue(store, batch)


def _behind_a_long_thread(store: Storage) -> None:
    """The long thread goes before all others by age and priority, and waits for its own first one, which runs."""
    for batch in _batches(_delivery(number=_LONG, priority=1) for _ in range(LONGEST + 1)):
        _queue(store, batch)
    _begin(store)
    _others(store)


def _beside_a_long_thread(store: Storage) -> None:
    """The long thread came last, and its first is not begun."""
    _others(store)
    for batch in _batches(_delivery(number=_LONG) for _ in range(LONGEST)):
        _queue(store, batch)


def _behind_what_waits(store: Storage) -> None:
    """2,000 threads whose first one waits for another try stand before all others."""
    for batch in _batches(_delivery(number=_LONG + at, priority=1) for at in range(LONGEST)):
        _queue(store, batch)
    until = store.now() + timedelta(hours=10)
    for _ in range(LONGEST):
        store.queue.reschedule(_begin(store), at=until, reason="measured", failed=True, counts=False)
    _others(store)


def _behind_a_pause(store: Storage) -> None:
    """All that is queued but what is claimed belongs to a repository that is paused."""
    store.pauses.pause("octo/widgets-2", reason="measured")
    paused = (_delivery(number=at % THREADS, priority=1, repository_id=2) for at in range(QUEUED))
    for batch in _batches(paused):
        _queue(store, batch)


CASES = (
    Case("behind a long thread that runs", _behind_a_long_thread),
    Case("beside a long thread", _beside_a_long_thread),
    Case("behind 2,000 that wait for a retry", _behind_what_waits),
    Case("behind a paused repository", _behind_a_pause),
)
