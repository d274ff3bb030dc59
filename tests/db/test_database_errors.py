"""Database failures: each one raises `StoreUnavailable`, and no write is partial."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from hls_handler.db.counters import CounterWriter
from hls_handler.db.database import Database, parse_url
from hls_handler.db.postgresql import TimedConnection
from hls_handler.db.tables import secrets
from hls_handler.db.values import no_skew
from hls_handler.deliveries import Accepted
from hls_handler.errors import StoreUnavailable
from hls_handler.store.storage import Storage
from tests.e2e.postgresql_proxy import Proxy
from tests.postgres import ON_POSTGRESQL, Cluster
from tests.queue.builders import accept, claim, newest, push, queued, state_of
from tests.sqlite import create_database

UNPRIVILEGED_UID = 65534


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "hls.db"


@pytest.fixture
def sqlite_store(database_file: Path) -> Iterator[Storage]:
    store = Storage.open(create_database(database_file), busy_timeout_s=0.01)
    yield store
    store.close()


def test_locked_sqlite_database_raises_and_names_the_cause(
    database_file: Path, sqlite_store: Storage
) -> None:
    @contextmanager
    def locked_by_another_program(database_file: Path) -> Iterator[None]:
        other = sqlite3.connect(database_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.close()

    with locked_by_another_program(database_file):
        with pytest.raises(
            StoreUnavailable, match=r"hls\.db cannot be used: database is locked; another program"
        ):
            accept(sqlite_store, queued("g1"))
        for write in (sqlite_store.database.check_writable, lambda: claim(sqlite_store)):
            with pytest.raises(StoreUnavailable, match="locked"):
                write()
        assert newest(sqlite_store) == []  # reading still works
    sqlite_store.database.check_writable()
    assert accept(sqlite_store, queued("g1"))[0].outcome == "queued"


def test_failed_batch_stores_nothing(store: Storage) -> None:
    accept(store, push("old", "aaa"))
    before = store.statistics.counters()
    with pytest.raises(StoreUnavailable):
        accept(store, push("g1", "bbb"), queued("g2", event=None))
    assert [row.guid for row in newest(store)] == ["old"]
    assert state_of(store, "old") == "queued"
    assert store.statistics.counters() == before


@ON_POSTGRESQL
def test_locked_postgresql_table_raises_and_names_the_cause(url: str) -> None:
    store = Storage.open(f"{url}&options=-c%20lock_timeout%3D50")
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=r"lock timeout; another program has locked it"):
            accept(store, queued("g1"))
        with pytest.raises(StoreUnavailable, match=r"lock timeout"):
            store.database.check_writable()
    assert accept(store, queued("g1")) == [Accepted("queued", "queued", "g1")]
    store.close()


@ON_POSTGRESQL
@pytest.mark.parametrize("options", ["", "&options=-csearch_path%3Dpublic"])
def test_postgresql_connections_have_timeouts(url: str, options: str) -> None:
    database = Database(parse_url(url + options), skew=no_skew, busy_timeout_s=5)
    with database.reading() as connection:
        timeouts = [
            connection.exec_driver_sql(f"SHOW {timeout}").scalar()
            for timeout in (
                "lock_timeout",
                "statement_timeout",
                "idle_in_transaction_session_timeout",
            )
        ]
    assert timeouts == ["5s", "10s", "4s"]
    database.close()


def test_open_rejects_a_server_without_timeouts(postgres: Cluster, shared_database: str) -> None:
    """A connection pooler may drop the options of a connection."""
    with pytest.raises(
        StoreUnavailable, match="the session has no lock_timeout, but HLS requested one; name the"
    ):
        Storage.open(f"{postgres.url(shared_database)}&options=-clock_timeout%3D0")


def test_errors_do_not_contain_values(store: Storage) -> None:
    delivery = queued("g1", event=None, action="private-action")
    with pytest.raises(StoreUnavailable) as raised:
        accept(store, delivery)
    assert "private-action" not in "".join(traceback.format_exception(raised.value))


def test_removed_database_file_raises_until_it_is_restored(
    database_file: Path, sqlite_store: Storage
) -> None:
    accept(sqlite_store, queued("g1"))
    away = database_file.rename(database_file.with_name("away"))
    for operation in (
        lambda: accept(sqlite_store, queued("g2")),
        lambda: newest(sqlite_store),
        lambda: claim(sqlite_store),
    ):
        with pytest.raises(StoreUnavailable, match=r"cannot be used: .*put "):
            operation()
    assert not database_file.exists()  # no empty database was created in its place
    away.rename(database_file)
    assert accept(sqlite_store, queued("g2"))[0].outcome == "queued"
    assert [row.guid for row in newest(sqlite_store)] == ["g2", "g1"]


def test_file_removed_during_a_write_raises(database_file: Path, sqlite_store: Storage) -> None:
    def write() -> None:
        with sqlite_store.database.writing() as connection:
            connection.execute(secrets.insert().values(name="k", value=b""))
            database_file.unlink()

    with pytest.raises(StoreUnavailable, match=r"hls\.db was removed or replaced; put it back"):
        write()


def test_file_that_was_read_only_for_a_while_is_written_again() -> None:
    """A connection opened while the file was read-only stays read-only."""

    @contextmanager
    def as_unprivileged_owner(folder: Path) -> Iterator[None]:
        """Run as an unprivileged user that owns the folder: file modes do not restrict root."""
        if os.geteuid() != 0:
            yield
            return
        for path in (folder, *folder.iterdir()):
            os.chown(path, UNPRIVILEGED_UID, UNPRIVILEGED_UID)
        os.seteuid(UNPRIVILEGED_UID)
        try:
            yield
        finally:
            os.seteuid(0)

    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        database_file = folder / "hls.db"
        store = Storage.open(create_database(database_file))
        accept(store, queued("g1"))
        store.close()
        # An open connection keeps the write-ahead log.
        reader = cleanup.enter_context(closing(sqlite3.connect(database_file)))
        assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)
        cleanup.enter_context(as_unprivileged_owner(folder))
        database_file.chmod(0o444)
        for _ in range(3):
            with pytest.raises(
                StoreUnavailable, match="readonly database; let the user that runs HLS write"
            ):
                accept(store, queued("g2"))
        database_file.chmod(0o600)
        # the log created meanwhile is read-only, too, until it is created again
        with suppress(StoreUnavailable):
            store.database.check_writable()
        assert accept(store, queued("g2"))[0].outcome == "queued"
        store.close()


@ON_POSTGRESQL
def test_silent_server_times_out_and_its_late_response_is_dropped(store: Storage) -> None:
    def query() -> None:
        with store.database.reading() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, TimedConnection)
            assert driver.timeout_s == 12
            driver.timeout_s = 0.2
            connection.exec_driver_sql("SELECT pg_sleep(5)")

    with pytest.raises(
        StoreUnavailable,
        match=r"the server did not answer within 0\.2 s; see whether the server hangs",
    ):
        query()
    assert accept(store, queued("g1")) == [Accepted("queued", "queued", "g1")]


@ON_POSTGRESQL
def test_next_of_several_hosts_takes_over(url: str, postgres: Cluster) -> None:
    with Proxy(postgres.socket) as one, Proxy(postgres.socket) as other:
        hosts = (
            f"host=127.0.0.1:{one.port}&host=127.0.0.1:{other.port}&target_session_attrs=read-write"
        )
        known = parse_url(url)
        store = Storage.open(f"postgresql+psycopg://{known.username}@/{known.database}?{hosts}")
        accept(store, queued("g1"))
        one.refuse()
        with suppress(StoreUnavailable):  # the open connection was lost
            accept(store, queued("g2"))
        assert accept(store, queued("g3"))[0].outcome == "queued"
        store.close()


@ON_POSTGRESQL
def test_process_frozen_in_a_transaction_does_not_block_others(url: str, store: Storage) -> None:
    """Otherwise it would hold the locks of the counters, and no process could accept a delivery."""
    frozen = Storage.open(url)

    def freeze() -> None:
        with frozen.database.writing() as connection:
            # several rows: no pipeline, which has no timeout
            counts = {
                ("stored", ""): 1,
                ("event", "e"): 1,
            }
            CounterWriter(frozen.database).add(connection, counts)
            accept(store, queued("g1"))  # while `frozen` has an open transaction

    with pytest.raises(StoreUnavailable, match="idle-in-transaction timeout"):
        freeze()
    frozen.close()
    assert store.statistics.counters()["stored", ""] == 1


@ON_POSTGRESQL
def test_open_waits_for_a_starting_server(
    url: str, postgres: Cluster, shared_database: str
) -> None:
    pauses: list[float] = []
    with Proxy(postgres.socket) as proxy:
        proxy.is_starting = True

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            proxy.is_starting = len(pauses) < 3

        address = postgres.url(shared_database, port=proxy.port)
        store = Storage.open(address, pause=pause)
        assert accept(store, queued("g1"))[0].outcome == "queued"
        assert pauses == [0.5, 0.5, 0.5]
        proxy.is_starting = True
        with pytest.raises(
            StoreUnavailable, match="the database system is starting up; wait until it has started"
        ):
            Storage.open(address, pause=pauses.append)
        assert len(pauses) == 3 + 60
        store.close()
