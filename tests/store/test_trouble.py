"""A database that takes no writes: every failure is `StoreUnavailable`, and nothing is half done."""

from __future__ import annotations

import itertools
import os
import random
import re
import resource
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from hls_handler.db.clock import no_skew
from hls_handler.db.database import Database, parse_url
from hls_handler.db.postgresql import TimedConnection
from hls_handler.db.sqlite import require_returning
from hls_handler.db.tables import secrets
from hls_handler.deliveries import Accepted
from hls_handler.errors import StoreUnavailable
from hls_handler.storage import Storage
from tests.e2e.postgresql_proxy import Proxy
from tests.e2e.service import Waiting
from tests.postgres import Cluster
from tests.store.builders import accept, claim, push, queued, state_of

_NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hls.db"


@pytest.fixture
def sqlite_store(path: Path) -> Iterator[Storage]:
    store = Storage.open(f"sqlite:///{path}", busy_timeout_s=0.01)
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


@contextmanager
def as_its_owner_whom_modes_bind(folder: Path) -> Iterator[None]:
    """Root may write whatever a file's mode says."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def accept_for_ever(store: Storage) -> None:
    for i in itertools.count():
        accept(store, queued(f"small-{i}"))


def test_a_locked_database_takes_no_delivery_and_says_who_is_in_the_way(path: Path, sqlite_store: Storage) -> None:
    with locked_by_another_program(path):
        with pytest.raises(StoreUnavailable, match=r"hls\.db cannot be used: database is locked; another program"):
            accept(sqlite_store, queued("g1"))
        with pytest.raises(StoreUnavailable, match="locked"):
            sqlite_store.database.check_writable()
        assert sqlite_store.deliveries.newest() == []  # reading goes on
    sqlite_store.database.check_writable()
    assert accept(sqlite_store, queued("g1"))[0].outcome == "queued"


def test_a_locked_database_stops_workers_and_not_their_work(path: Path, sqlite_store: Storage) -> None:
    accept(sqlite_store, queued("g1"))
    lease = claim(sqlite_store)
    with locked_by_another_program(path):
        with pytest.raises(StoreUnavailable):
            sqlite_store.queue.finish(lease, "done", reason=None, took_s=1)
        with pytest.raises(StoreUnavailable):
            sqlite_store.queue.renew(lease, lease_s=30)
        with pytest.raises(StoreUnavailable):
            claim(sqlite_store)
    sqlite_store.queue.finish(lease, "done", reason=None, took_s=1)


def test_a_full_disk_takes_no_delivery_and_keeps_those_it_has(path: Path, sqlite_store: Storage) -> None:
    accept(sqlite_store, queued("g1"))
    with files_may_not_grow_beyond(1_000_000):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            accept(sqlite_store, queued("large", body=random.Random(0).randbytes(3_000_000)))
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            accept_for_ever(sqlite_store)
    kept = len(sqlite_store.deliveries.newest(limit=20_000))
    assert accept(sqlite_store, queued("after"))[0].outcome == "queued"
    assert len(sqlite_store.deliveries.newest(limit=20_000)) == kept + 1
    assert sqlite_store.statistics.counters()["webhooks", ""] == kept + 1


def test_a_batch_is_stored_whole_or_not_at_all(store: Storage) -> None:
    accept(store, push("old", "aaa"))
    before = store.statistics.counters()
    with pytest.raises(StoreUnavailable):
        accept(store, push("g1", "bbb"), queued("g2", request_id=None))
    assert [row.guid for row in store.deliveries.newest()] == ["old"]
    assert state_of(store, "old") == "queued"
    assert store.statistics.counters() == before


def test_a_server_that_is_gone_is_unavailable_and_found_again_when_it_is_back(postgres: Cluster) -> None:
    name = postgres.create()
    store = Storage.open(postgres.url(name))
    accept(store, queued("g1"))
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert accept(store, queued("g2"))[0].outcome == "queued"  # a new connection, without a word
    postgres.run(f"ALTER DATABASE {name} CONNECTION LIMIT 0; ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for refused in (store.database.current_time, store.database.check_writable, lambda: accept(store, queued("g3"))):
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            refused()
    postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true; ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert [a.outcome for a in accept(store, queued("g2"), queued("g3"))] == ["duplicate", "queued"]
    store.close()
    postgres.drop(name)


def test_a_locked_table_of_a_server_takes_no_delivery_and_says_who_is_in_the_way(postgres: Cluster) -> None:
    name = postgres.create()
    Storage.open(postgres.url(name)).close()
    store = Storage.open(f"{postgres.url(name)}&options=-c%20lock_timeout%3D50")
    with psycopg.connect(postgres.url(name).replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=r"lock timeout; another program has locked its tables"):
            accept(store, queued("g1"))
        with pytest.raises(StoreUnavailable, match=r"lock timeout"):
            store.database.check_writable()
    assert accept(store, queued("g1")) == [Accepted("queued", "queued", "g1")]
    store.close()
    postgres.drop(name)


@pytest.mark.parametrize("own", ["", "&options=-csearch_path%3Dpublic"])
def test_no_statement_waits_for_a_server_without_end(postgres: Cluster, own: str) -> None:
    name = postgres.create()
    database = Database(parse_url(postgres.url(name) + own), skew=no_skew, busy_timeout_s=5)
    with database.reading() as connection:
        bounds = [
            connection.exec_driver_sql(f"SHOW {bound}").scalar()
            for bound in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        ]
    assert bounds == ["5s", "10s", "4s"]
    database.close()
    postgres.drop(name)


@pytest.mark.parametrize("bound", ["lock_timeout", "idle_in_transaction_session_timeout"])
def test_a_database_where_waits_have_no_end_is_not_worked_with(postgres: Cluster, shared: str, bound: str) -> None:
    """As through a pooler that was told to drop the options of a connection."""
    with pytest.raises(StoreUnavailable, match=f"{bound} is 0 there; name the PostgreSQL server itself in storage.url"):
        Storage.open(f"{postgres.url(shared)}&options=-c{bound}%3D0")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ('database "hls" does not exist', "create the database"),
        ('role "hls" does not exist', "create the user"),
        ("unsupported startup parameter: options", "name the PostgreSQL server itself"),
        ('prepared statement "_pg3_1" does not exist', "see whether PostgreSQL runs"),
    ],
)
def test_each_refusal_of_a_server_has_its_own_remedy(postgres: Cluster, shared: str, said: str, remedy: str) -> None:
    database = Database(parse_url(postgres.url(shared)), skew=no_skew, busy_timeout_s=5)
    with pytest.raises(StoreUnavailable, match=remedy), database.reading():
        raise psycopg.OperationalError(said)
    database.close()


def test_an_sqlite_that_does_not_tell_what_it_wrote_is_refused() -> None:
    require_returning((3, 35, 0))
    with pytest.raises(StoreUnavailable, match=re.escape("this Python has SQLite 3.34.1, and HLS needs 3.35")):
        require_returning((3, 34, 1))


def test_no_error_tells_what_was_to_be_written(store: Storage) -> None:
    new = queued("g1", request_id=None, sender="private-sender")
    with pytest.raises(StoreUnavailable) as refused:
        accept(store, new)
    assert "private-sender" not in "".join(traceback.format_exception(refused.value))


def test_a_file_that_is_removed_takes_no_delivery_and_hears_no_worker(path: Path, sqlite_store: Storage) -> None:
    accept(sqlite_store, queued("g1"))
    away = path.rename(path.with_name("away"))
    for refused in (
        lambda: accept(sqlite_store, queued("g2")),
        sqlite_store.deliveries.newest,
        lambda: claim(sqlite_store),
    ):
        with pytest.raises(StoreUnavailable, match=r"cannot be used: .*put "):
            refused()
    assert not path.exists()  # an empty one in its place would be taken for ours
    away.rename(path)
    assert accept(sqlite_store, queued("g2"))[0].outcome == "queued"
    assert [row.guid for row in sqlite_store.deliveries.newest()] == ["g2", "g1"]


def test_a_file_that_is_removed_while_it_is_written_to_took_no_delivery(path: Path, sqlite_store: Storage) -> None:
    def write() -> None:
        with sqlite_store.database.writing() as connection:
            connection.execute(secrets.insert().values(name="k", value=b""))
            path.unlink()

    with pytest.raises(StoreUnavailable, match=r"hls\.db was removed; put it back"):
        write()


def test_a_log_that_is_removed_beside_the_file_is_noticed(path: Path, sqlite_store: Storage) -> None:
    accept(sqlite_store, queued("g1"))
    path.with_name("hls.db-wal").unlink()
    with pytest.raises(StoreUnavailable, match=r"hls\.db-wal was removed"):
        accept(sqlite_store, queued("g2"))


def test_a_copy_that_is_restored_under_a_running_service_is_gone_on_with(path: Path, sqlite_store: Storage) -> None:
    accept(sqlite_store, queued("g1"))
    copy = path.with_name("copy")
    with closing(sqlite3.connect(path)) as now, closing(sqlite3.connect(copy)) as kept:
        now.backup(kept)
    accept(sqlite_store, queued("g2"))
    for file in path.parent.glob("hls.db*"):
        file.unlink()
    copy.rename(path)
    with pytest.raises(StoreUnavailable, match="was removed"):
        sqlite_store.deliveries.newest()
    assert accept(sqlite_store, queued("g3"))[0].outcome == "queued"
    assert [row.guid for row in sqlite_store.deliveries.newest()] == ["g3", "g1"]


def test_a_file_that_was_read_only_for_a_while_is_written_again() -> None:
    """Although a connection that was opened meanwhile stays read-only for ever."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        path = folder / "hls.db"
        store = Storage.open(f"sqlite:///{path}")
        accept(store, queued("g1"))
        store.close()
        busy = held.enter_context(closing(sqlite3.connect(path)))  # as another thread's, which keeps the log there
        assert busy.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)
        held.enter_context(as_its_owner_whom_modes_bind(folder))
        path.chmod(0o444)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="readonly database; let the user that runs HLS write"):
                accept(store, queued("g2"))
        path.chmod(0o600)
        with suppress(StoreUnavailable):  # the log that was made meanwhile is read-only, too, until it is made anew
            store.database.check_writable()
        assert accept(store, queued("g2"))[0].outcome == "queued"
        store.close()


def test_a_server_that_says_nothing_is_given_up_and_its_late_answer_is_nobodys(postgres: Cluster) -> None:
    name = postgres.create()
    store = Storage.open(postgres.url(name))

    def ask() -> None:
        with store.database.reading() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, TimedConnection)
            assert driver.timeout_s == 12
            driver.timeout_s = 0.2
            connection.exec_driver_sql("SELECT pg_sleep(5)")

    with pytest.raises(
        StoreUnavailable, match=r"the server did not answer within 0\.2 s; see whether the server hangs"
    ):
        ask()
    assert accept(store, queued("g1")) == [Accepted("queued", "queued", "g1")]
    store.close()
    postgres.drop(name)


def test_closing_ends_the_wait_for_a_server_that_says_nothing(postgres: Cluster) -> None:
    name = postgres.create()
    store = Storage.open(postgres.url(name))
    entered, ended = threading.Event(), threading.Event()

    def read() -> None:
        with store.database.reading() as connection:
            entered.set()
            connection.exec_driver_sql("SELECT pg_sleep(9)")

    def wait() -> None:
        with pytest.raises(StoreUnavailable, match="did not answer"):
            read()
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert entered.wait(10)
    store.close()
    assert ended.wait(5)
    thread.join()
    postgres.drop(name)


def test_what_a_lost_client_has_locked_is_free_again_after_a_while(postgres: Cluster) -> None:
    name = postgres.create()
    store = Storage.open(f"{postgres.url(name)}&options=-c%20idle_in_transaction_session_timeout%3D100")
    waiting = Waiting(10)

    def say_nothing_for_long() -> None:
        with store.database.writing() as connection:
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            while postgres.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}") and waiting.more():
                pass

    with pytest.raises(StoreUnavailable, match="idle-in-transaction timeout"):
        say_nothing_for_long()
    store.close()
    postgres.drop(name)


def test_a_server_that_is_starting_is_waited_for(postgres: Cluster) -> None:
    name = postgres.create()
    pauses: list[float] = []
    with Proxy(postgres.socket) as proxy:
        proxy.is_starting = True

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            proxy.is_starting = len(pauses) < 3

        store = Storage.open(postgres.url(name, port=proxy.port), pause=pause)
        assert accept(store, queued("g1"))[0].outcome == "queued"
        assert pauses == [0.5, 0.5, 0.5]
        proxy.is_starting = True
        with pytest.raises(StoreUnavailable, match="the database system is starting up; wait until it has started"):
            Storage.open(postgres.url(name, port=proxy.port), pause=pauses.append)
        assert len(pauses) == 3 + 60
        store.close()
    postgres.drop(name)


def test_a_look_whether_the_database_can_be_written_writes_as_much_as_a_delivery(store: Storage) -> None:
    with ExitStack() as held:
        held.enter_context(pytest.raises(StoreUnavailable))
        if store.database.shown_url.startswith("postgresql"):
            with store.database.writing() as connection:
                connection.exec_driver_sql(
                    "ALTER TABLE secrets ADD CONSTRAINT small CHECK (octet_length(value) < 50000) NOT VALID"
                )
            held.callback(_without_the_bound, store)
        else:
            file = Path(store.database.shown_url.removeprefix("sqlite:///"))
            held.enter_context(files_may_not_grow_beyond(file.with_name("hls.db-wal").stat().st_size + 50_000))
        store.database.check_writable()
    store.database.check_writable()


def _without_the_bound(store: Storage) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE secrets DROP CONSTRAINT small")
