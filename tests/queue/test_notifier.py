"""The notifier between processes that share a PostgreSQL database. Two `Storage` objects stand for two processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from hls_handler.db.counters import CounterWriter
from hls_handler.db.tables import metadata
from hls_handler.deliveries import Lease
from hls_handler.errors import StoreUnavailable
from hls_handler.queue.notifier import Notifier
from hls_handler.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import accept, begin, dead_letter, ignored, queued

TIMEOUT_S = 30.0


class WakeUps:
    """Counts wake-ups, so that a test waits for the next one and no longer."""

    def __init__(self) -> None:
        self.times = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.times += 1
            self._changed.notify_all()

    def wait_for(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.times >= times, TIMEOUT_S), f"woken {self.times} times"


@contextmanager
def listening(url: str) -> Iterator[WakeUps]:
    """Wake-ups of a running notifier; the first comes at its start, for missed notifications."""
    wake_ups = WakeUps()
    notifier = Notifier(url, on_wake_up=wake_ups)
    notifier.start()
    try:
        wake_ups.wait_for(1)
        yield wake_ups
    finally:
        notifier.stop()


@pytest.fixture
def url(postgres: Cluster, shared_database: str) -> str:
    tables = reversed(metadata.sorted_tables)
    postgres.run("; ".join(f"DELETE FROM {table.name}" for table in tables), database=shared_database)
    return postgres.url(shared_database)


CHANGES: dict[str, Callable[[Storage, Lease], object]] = {
    "accept": lambda store, _: accept(store, queued("new")),
    "finish": lambda store, lease: store.queue.finish(lease, "done", reason=None, took_s=1),
    "bury": lambda store, lease: store.queue.dead_letter(lease, reason="locked"),
    "postpone": lambda store, lease: store.queue.reschedule(
        lease, at=store.now() + timedelta(hours=1), reason="503", failed=False, counts=False
    ),
    "requeue": lambda store, _: store.queue.retry("dead"),
    "resume": lambda store, _: store.pauses.resume("octo/widgets"),
    "reschedule_waiting": lambda store, _: store.queue.reschedule_waiting(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_the_queue_wakes_other_processes(url: str, store: Storage, change: str) -> None:
    dead_letter(store, "dead")
    lease = begin(store, "g1")
    with listening(url) as wake_ups:
        CHANGES[change](store, lease)
        wake_ups.wait_for(2)


def test_batch_notifies_once_and_only_if_it_queues_a_delivery(url: str, store: Storage) -> None:
    with listening(url) as wake_ups:
        accept(store, ignored("i1"))
        accept(store, *(queued(f"g{n}") for n in range(50)))
        wake_ups.wait_for(2)
        accept(store, queued("g0"))  # a duplicate
        accept(store, queued("last"))
        wake_ups.wait_for(3)
        assert wake_ups.times == 3


def test_reconnect_wakes_up_for_missed_notifications(
    url: str, store: Storage, postgres: Cluster, shared_database: str
) -> None:
    with listening(url) as wake_ups:
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        wake_ups.wait_for(2)
        accept(store, queued("g1"))
        wake_ups.wait_for(3)


def test_missing_database_does_not_stop_start_and_stop(postgres: Cluster) -> None:
    wake_ups = WakeUps()
    notifier = Notifier(postgres.url("no_such_database"), on_wake_up=wake_ups)
    notifier.start()
    notifier.stop()
    assert wake_ups.times == 0


def test_notifier_starts_no_thread_on_sqlite() -> None:
    threads = threading.active_count()
    notifier = Notifier("sqlite:///data/hls.db", on_wake_up=WakeUps())
    notifier.start()
    assert threading.active_count() == threads
    notifier.stop()


@pytest.mark.parametrize("more_counters", [0, 2])
def test_process_frozen_in_a_transaction_does_not_block_others(url: str, store: Storage, more_counters: int) -> None:
    """Otherwise it would hold the locks of the counters, and no process could accept a delivery."""
    frozen = Storage.open(url)

    def freeze() -> None:
        with frozen.database.writing() as connection:
            counts = {("webhooks", ""): 1} | {("event", f"e{n}"): 1 for n in range(more_counters)}
            CounterWriter(frozen.database).add(connection, counts)
            accept(store, queued("g1"))  # while `frozen` has an open transaction

    with pytest.raises(StoreUnavailable, match="idle-in-transaction timeout"):
        freeze()
    frozen.close()
    assert store.statistics.counters()["webhooks", ""] == 1
