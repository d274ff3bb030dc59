"""Size of the database; SQLite's file and its write-ahead log do not grow without limit."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from hls_handler.db.tables import secrets
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, begin, finish, queued
from tests.sqlite import create_database

MB = 1_000_000


def test_size_of_sqlite_includes_reusable_and_free_bytes(tmp_path: Path) -> None:
    skew = Skew()
    store = Storage.open(create_database(tmp_path / "hls.db"), skew=skew)
    before = store.database.size()
    lease = begin(store, "g1", body=os.urandom(MB))
    after = store.database.size()
    assert before.keys() == {"database_bytes", "reusable_bytes", "disk_free_bytes"}
    assert before["reusable_bytes"] == 0
    assert after["database_bytes"] - before["database_bytes"] > MB
    assert after["disk_free_bytes"] > 0
    finish(store, lease)
    skew.advance(days=2)
    assert store.retention.delete_bodies(after=timedelta(days=1), limit=1) == 1
    assert store.database.size()["reusable_bytes"] > 0.9 * MB
    store.close()


def test_write_ahead_log_is_truncated_after_a_long_reader(tmp_path: Path) -> None:
    store = Storage.open(create_database(tmp_path / "hls.db"))
    accept(store, queued("g1"))
    reader = sqlite3.connect(tmp_path / "hls.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM deliveries").fetchone()
    for name in ("one", "two"):
        with store.database.writing() as connection:
            connection.execute(insert(secrets).values(name=name, value=bytes(15 * MB)))
    log = tmp_path / "hls.db-wal"
    assert log.stat().st_size > 30 * MB  # a reader of the old state keeps the log
    reader.close()
    # the first moves the log into the database, the second restarts it
    for name in (
        "three",
        "four",
    ):
        accept(store, queued(name))
    assert log.stat().st_size <= 16_777_216
    store.close()
