"""The bell between processes that share a PostgreSQL. Two stores are as good as two processes here."""

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
from tests.queue.builders import accept, begin, bury, ignored, queued

PATIENCE_S = 30.0


class Heard:
    """Counts, so that a test waits for the next ring and no longer."""

    def __init__(self) -> None:
        self.times = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.times += 1
            self._changed.notify_all()

    def wait_for(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.times >= times, PATIENCE_S), f"heard {self.times} times"


@contextmanager
def listening(url: str) -> Iterator[Heard]:
    """Heard once already: at the start, for what was missed."""
    heard = Heard()
    bell = Notifier(url, on_wake_up=heard)
    bell.start()
    try:
        heard.wait_for(1)
        yield heard
    finally:
        bell.stop()


@pytest.fixture
def url(postgres: Cluster, shared_database: str) -> str:
    tables = reversed(metadata.sorted_tables)
    postgres.run("; ".join(f"DELETE FROM {table.name}" for table in tables), database=shared_database)
    return postgres.url(shared_database)


NEWS: dict[str, Callable[[Storage, Lease], object]] = {
    "accept": lambda store, _: accept(store, queued("new")),
    "finish": lambda store, lease: store.queue.finish(lease, "done", reason=None, took_s=1),
    "bury": lambda store, lease: store.queue.dead_letter(lease, reason="locked"),
    "postpone": lambda store, lease: store.queue.reschedule(
        lease, at=store.now() + timedelta(hours=1), reason="503", failed=False, counts=False
    ),
    "requeue": lambda store, _: store.queue.retry("dead"),
    "resume": lambda store, _: store.pauses.resume("octo/widgets"),
    "wait_no_more": lambda store, _: store.queue.reschedule_waiting(),
}


@pytest.mark.parametrize("news", NEWS)
def test_what_others_may_have_waited_for_is_heard(url: str, store: Storage, news: str) -> None:
    bury(store, "dead")
    lease = begin(store, "g1")
    with listening(url) as heard:
        NEWS[news](store, lease)
        heard.wait_for(2)


def test_a_batch_rings_once_and_one_that_makes_no_work_not_at_all(url: str, store: Storage) -> None:
    with listening(url) as heard:
        accept(store, ignored("i1"))
        accept(store, *(queued(f"g{n}") for n in range(50)))
        heard.wait_for(2)
        accept(store, queued("g0"))  # known already
        accept(store, queued("last"))
        heard.wait_for(3)
        assert heard.times == 3


def test_what_is_rolled_back_was_never_rung(url: str, store: Storage) -> None:
    def ring_in_vain() -> None:
        with store.database.writing() as connection:
            store.database.notify(connection)
            raise ZeroDivisionError

    with listening(url) as heard:
        with pytest.raises(ZeroDivisionError):
            ring_in_vain()
        accept(store, queued("g1"))
        heard.wait_for(2)
        assert heard.times == 2


def test_a_lost_connection_comes_back_and_looks_for_what_was_missed(
    url: str, store: Storage, postgres: Cluster, shared_database: str
) -> None:
    with listening(url) as heard:
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        heard.wait_for(2)
        accept(store, queued("g1"))
        heard.wait_for(3)


def test_a_server_that_is_not_there_troubles_nobody(postgres: Cluster) -> None:
    heard = Heard()
    bell = Notifier(postgres.url("no_such_database"), on_wake_up=heard)
    bell.start()
    bell.stop()
    assert heard.times == 0


def test_on_sqlite_there_is_nobody_to_listen_to() -> None:
    threads = threading.active_count()
    bell = Notifier("sqlite:///data/hls.db", on_wake_up=Heard())
    bell.start()
    assert threading.active_count() == threads
    bell.stop()


@pytest.mark.parametrize("others", [0, 2])
def test_a_machine_that_freezes_in_a_transaction_does_not_stop_the_others(
    url: str, store: Storage, others: int
) -> None:
    """It would hold the counters' locks for good: nobody could accept anything."""
    frozen = Storage.open(url)

    def freeze() -> None:
        with frozen.database.writing() as connection:
            counts = {("webhooks", ""): 1} | {("event", f"e{n}"): 1 for n in range(others)}
            CounterWriter(frozen.database).add(connection, counts)
            accept(store, queued("g1"))  # before the other one thaws

    with pytest.raises(StoreUnavailable, match="idle-in-transaction timeout"):
        freeze()
    frozen.close()
    assert store.statistics.counters()["webhooks", ""] == 1
