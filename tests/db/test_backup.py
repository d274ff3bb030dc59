"""Backup of an SQLite database during writes: a consistent, private snapshot that overwrites no
file.
"""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from hls_handler.db.files import back_up
from hls_handler.errors import StoreUnavailable
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, queued


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_backup_during_writes_is_a_consistent_snapshot(tmp_path: Path) -> None:
    source, copy = tmp_path / "hls.db", tmp_path / "copy.db"
    store = Storage.open(url(source))
    accept(store, *(queued(f"before-{number}") for number in range(200)))
    copied, written = threading.Event(), 0
    begun = threading.Event()

    def write() -> None:
        nonlocal written
        while not copied.is_set():
            accept(store, queued(f"during-{written}-a"), queued(f"during-{written}-b"))
            written += 1
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(timeout=30)
    size = back_up(url(source), copy)
    copied.set()
    writer.join(timeout=30)
    store.close()
    assert (size, stat.S_IMODE(copy.stat().st_mode)) == (copy.stat().st_size, 0o600)
    connection = sqlite3.connect(copy)
    guids = {guid for (guid,) in connection.execute("SELECT guid FROM deliveries")}
    (counted,) = connection.execute("SELECT value FROM counters WHERE name = 'webhooks'").fetchone()
    connection.close()
    assert {f"before-{number}" for number in range(200)} <= guids
    complete = {name[:-2] for name in guids if name.endswith("-a")}
    # transactions are copied completely
    assert complete == {name[:-2] for name in guids if name.endswith("-b")}
    assert counted == len(guids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "hls.db"]


def test_backup_does_not_overwrite_a_file(tmp_path: Path) -> None:
    Storage.open(url(tmp_path / "hls.db")).close()
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StoreUnavailable, match=r"copy\.db exists: name another file"):
        back_up(url(tmp_path / "hls.db"), tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("sqlite:///{}/none.db", "copy.db", r"there is no database .*none\.db to copy"),
        (
            "sqlite:///{}/text.db",
            "copy.db",
            r"text\.db cannot be copied to .*copy\.db: file is not a database",
        ),
        (
            "postgresql+psycopg://mona:hunter2@db/hls",
            "copy.db",
            r"pg_dump for .*mona:\*\*\*@db/hls",
        ),
    ],
    ids=["no database", "another file", "postgresql"],
)
def test_failed_backup_raises_and_leaves_no_file(
    tmp_path: Path, source: str, target: str, problem: str
) -> None:
    Storage.open(url(tmp_path / "hls.db")).close()
    (tmp_path / "text.db").write_text("no database" * 1000)
    with pytest.raises(StoreUnavailable, match=problem):
        back_up(source.format(tmp_path), tmp_path / target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hls.db", "text.db"]


def test_backup_of_a_damaged_database_raises(tmp_path: Path) -> None:
    store = Storage.open(url(tmp_path / "hls.db"))
    accept(store, *(queued(f"g{number}") for number in range(300)))
    store.close()
    content = bytearray((tmp_path / "hls.db").read_bytes())
    content[-40_000:] = b"\xff" * 40_000
    (tmp_path / "hls.db").write_bytes(content)
    with pytest.raises(StoreUnavailable, match=r"cannot be copied to .*malformed"):
        back_up(url(tmp_path / "hls.db"), tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["hls.db"]
