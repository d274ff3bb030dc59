"""A database that takes no writes: every failure is `StoreUnavailable`, and nothing is half done."""

from __future__ import annotations

import itertools
import random
import resource
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from hls_handler.deliveries import Accepted
from hls_handler.errors import StoreUnavailable
from hls_handler.store import Store
from hls_handler.store.clock import no_skew
from hls_handler.store.database import Database, parsed
from tests.postgres import Cluster
from tests.store.builders import accept, claim, push, queued, state_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hls.db"


@pytest.fixture
def sqlite_store(path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{path}", busy_timeout_s=0.01)
    yield store
    store.close()


@contextmanager
def locked_by_another_program(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@contextmanager
def files_may_not_grow_beyond(size: int) -> Iterator[None]:
    """What a full disk does to a database: the write fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def accept_for_ever(store: Store) -> None:
    for i in itertools.count():
        accept(store, queued(f"small-{i}"))


def test_a_locked_database_takes_no_delivery_and_says_who_is_in_the_way(path: Path, sqlite_store: Store) -> None:
    with locked_by_another_program(path):
        with pytest.raises(StoreUnavailable, match=r"hls\.db cannot be used: database is locked; another program"):
            accept(sqlite_store, queued("g1"))
        with pytest.raises(StoreUnavailable, match="locked"):
            sqlite_store.check_writable()
        assert sqlite_store.deliveries() == []  # reading goes on
    sqlite_store.check_writable()
    assert accept(sqlite_store, queued("g1"))[0].outcome == "queued"


def test_a_locked_database_stops_workers_and_not_their_work(path: Path, sqlite_store: Store) -> None:
    accept(sqlite_store, queued("g1"))
    lease = claim(sqlite_store)
    with locked_by_another_program(path):
        with pytest.raises(StoreUnavailable):
            sqlite_store.finish(lease, "done", reason=None, took_s=1)
        with pytest.raises(StoreUnavailable):
            sqlite_store.renew(lease, lease_s=30)
        with pytest.raises(StoreUnavailable):
            claim(sqlite_store)
    sqlite_store.finish(lease, "done", reason=None, took_s=1)


def test_a_full_disk_takes_no_delivery_and_keeps_those_it_has(path: Path, sqlite_store: Store) -> None:
    accept(sqlite_store, queued("g1"))
    with files_may_not_grow_beyond(1_000_000):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            accept(sqlite_store, queued("large", body=random.Random(0).randbytes(3_000_000)))
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            accept_for_ever(sqlite_store)
    kept = len(sqlite_store.deliveries(limit=20_000))
    assert accept(sqlite_store, queued("after"))[0].outcome == "queued"
    assert len(sqlite_store.deliveries(limit=20_000)) == kept + 1
    assert sqlite_store.counters()["webhooks", ""] == kept + 1


def test_a_batch_is_stored_whole_or_not_at_all(store: Store) -> None:
    accept(store, push("old", "aaa"))
    before = store.counters()
    with pytest.raises(StoreUnavailable):
        accept(store, push("g1", "bbb"), queued("g2", request_id=None))
    assert [row.guid for row in store.deliveries()] == ["old"]
    assert state_of(store, "old") == "queued"
    assert store.counters() == before


def test_a_server_that_is_gone_is_unavailable_and_found_again_when_it_is_back(postgres: Cluster) -> None:
    name = postgres.create()
    store = Store.open(postgres.url(name))
    accept(store, queued("g1"))
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert accept(store, queued("g2"))[0].outcome == "queued"  # a new connection, without a word
    postgres.run(f"ALTER DATABASE {name} CONNECTION LIMIT 0; ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for refused in (store.now, store.check_writable, lambda: accept(store, queued("g3"))):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            refused()
    postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true; ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert [a.outcome for a in accept(store, queued("g2"), queued("g3"))] == ["duplicate", "queued"]
    store.close()
    postgres.drop(name)


def test_a_locked_table_of_a_server_takes_no_delivery_and_says_who_is_in_the_way(postgres: Cluster) -> None:
    name = postgres.create()
    Store.open(postgres.url(name)).close()
    store = Store.open(f"{postgres.url(name)}&options=-c%20lock_timeout%3D50")
    with psycopg.connect(postgres.url(name).replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=r"lock timeout; another program has locked its tables"):
            accept(store, queued("g1"))
        with pytest.raises(StoreUnavailable, match=r"lock timeout"):
            store.check_writable()
    assert accept(store, queued("g1")) == [Accepted("queued", "queued", "g1")]
    store.close()
    postgres.drop(name)


def test_no_statement_waits_for_a_server_without_end(postgres: Cluster) -> None:
    name = postgres.create()
    database = Database(parsed(postgres.url(name)), skew=no_skew, busy_timeout_s=5)
    with database.reading() as connection:
        bounds = [
            connection.exec_driver_sql(f"SHOW {bound}").scalar() for bound in ("lock_timeout", "statement_timeout")
        ]
    assert bounds == ["5s", "10s"]
    database.close()
    postgres.drop(name)


def test_no_error_tells_what_was_to_be_written(store: Store) -> None:
    new = queued("g1", request_id=None, sender="private-sender")
    with pytest.raises(StoreUnavailable) as refused:
        accept(store, new)
    assert "private-sender" not in "".join(traceback.format_exception(refused.value))
