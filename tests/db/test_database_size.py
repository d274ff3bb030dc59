"""How large the database is, and that what SQLite keeps beside it does not grow for ever."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from hls_handler.db.tables import secrets
from hls_handler.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import Skew, accept, begin, queued

MB = 1_000_000


def test_the_size_of_an_sqlite_database_is_told_with_the_room_it_has(tmp_path: Path) -> None:
    skew = Skew()
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", skew=skew)
    before = store.database.size()
    lease = begin(store, "g1", body=os.urandom(MB))
    after = store.database.size()
    assert before.keys() == {"database_bytes", "reusable_bytes", "disk_free_bytes"}
    assert before["reusable_bytes"] == 0
    assert after["database_bytes"] - before["database_bytes"] > MB
    assert after["disk_free_bytes"] > 0
    store.queue.finish(lease, "done", reason=None, took_s=0)
    skew.pass_by(days=2)
    assert store.retention.delete_bodies(after=timedelta(days=1), most=1) == 1
    assert store.database.size()["reusable_bytes"] > 0.9 * MB
    store.close()


def test_what_was_freed_is_used_again(tmp_path: Path) -> None:
    skew = Skew()
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", skew=skew)
    for number in range(4):
        store.queue.finish(begin(store, f"g{number}", body=os.urandom(MB)), "done", reason=None, took_s=0)
        skew.pass_by(days=91)
        assert store.retention.delete_deliveries(after=timedelta(days=90), most=5) == 1
    store.close()  # all that is in the log beside it goes into the file
    assert MB < (tmp_path / "hls.db").stat().st_size < 2.5 * MB


def test_the_size_of_a_postgresql_database_is_told(postgres: Cluster) -> None:
    store = Storage.open(postgres.url(postgres.create()))
    (figure,) = store.database.size().items()
    store.close()
    assert figure[0] == "database_bytes"
    assert figure[1] > MB


def test_the_write_ahead_log_is_cut_once_a_reader_that_stayed_is_gone(tmp_path: Path) -> None:
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db")
    accept(store, queued("g1"))
    reader = sqlite3.connect(tmp_path / "hls.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM deliveries").fetchone()
    for name in ("one", "two"):
        with store.database.writing() as connection:
            connection.execute(insert(secrets).values(name=name, value=bytes(15 * MB)))
    log = tmp_path / "hls.db-wal"
    assert log.stat().st_size > 30 * MB  # nothing of it may go while somebody reads what was before
    reader.close()
    for name in ("three", "four"):  # the first moves the log into the database, the second begins it anew
        accept(store, queued(name))
    assert log.stat().st_size <= 16_777_216
    store.close()
