"""Opening a database: creation, permissions, exclusive lock and errors."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from hls_handler.db.files import hold_exclusively
from hls_handler.errors import StoreUnavailable
from hls_handler.store.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import accept, claim, queued


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_rule_10_new_database_is_private_to_its_user(tmp_path: Path) -> None:
    umask_before = os.umask(0)
    try:
        store = Storage.open(f"sqlite:///{tmp_path}/new/folder/hls.db")
        accept(store, queued("g1"))
        modes = {path.name: mode(path) for path in (tmp_path / "new/folder").iterdir()}
        store.close()
    finally:
        os.umask(umask_before)
    assert modes == {"hls.db": 0o600, "hls.db-wal": 0o600, "hls.db-shm": 0o600}


def test_rule_10_existing_readable_file_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "hls.db"
    path.touch(0o644)
    Storage.open(f"sqlite:///{path}").close()
    assert mode(path) == 0o600


def test_secret_is_created_once_for_each_name(store: Storage) -> None:
    assert len(store.database.secret("nonce")) == 32
    assert store.database.secret("nonce") == store.database.secret("nonce")
    assert store.database.secret("nonce") != store.database.secret("other")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/d",
        "postgresql://u:hunter2@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "nonsense",
        "",
    ],
)
def test_open_rejects_other_urls_and_names_the_allowed_ones(url: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"storage\.url must be sqlite:///") as raised:
        Storage.open(url)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://mona:hunter2@/db?host=/nowhere", "mona:***@"),
        ("postgresql+psycopg://mona@/db?host=/nowhere&password=hunter2", "password=hidden"),
    ],
)
def test_error_of_a_silent_database_hides_the_password(url: str, shown: str) -> None:
    with pytest.raises(
        StoreUnavailable, match=r"mona.*cannot be used: .*; see whether PostgreSQL runs"
    ) as raised:
        Storage.open(url)
    assert "hunter2" not in str(raised.value)
    assert shown in str(raised.value)


def test_file_that_is_no_database_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(
        StoreUnavailable, match="file is not a database; the file is not an SQLite database"
    ):
        Storage.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear diary")


def test_second_serve_is_rejected_while_the_first_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/folder/hls.db"
    with hold_exclusively(url) as is_exclusive:
        assert is_exclusive is True
        with (
            pytest.raises(
                StoreUnavailable,
                match=rf"hls\.db is locked by another `hls serve` \(process {os.getpid()}\)",
            ),
            hold_exclusively(url),
        ):
            pass
        Storage.open(url).close()  # other commands do not take the lock
    with hold_exclusively(url):
        pass


def test_postgresql_is_not_held_exclusively(postgres: Cluster) -> None:
    url = postgres.url("any")
    with hold_exclusively(url) as first, hold_exclusively(url) as second:
        assert (first, second) == (False, False)


def test_close_ends_all_connections(postgres: Cluster) -> None:
    name = postgres.create()
    store = Storage.open(postgres.url(name))
    accept(store, queued("g1"))
    claim(store)
    store.close()
    postgres.run(f"DROP DATABASE {name}")  # PostgreSQL rejects this while a client is connected
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        postgres.run("SELECT 1", database=name)


@pytest.mark.parametrize("version", ["0.5.0", "9.0.0"])
def test_tables_of_another_version_are_rejected_and_not_changed(
    fresh_url: str, version: str
) -> None:
    Storage.open(fresh_url).close()
    engine = create_engine(fresh_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM hls_version"))
        connection.execute(text(f"INSERT INTO hls_version VALUES ('{version}')"))
    problem = (
        rf"was written by another version of HLS \(its tables are version {version}, this HLS supports"
        r" [0-9., ]+\): run that version, restore a backup that this one wrote, or name another database"
        r" in storage\.url$"
    )
    with pytest.raises(StoreUnavailable, match=problem):
        Storage.open(fresh_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM hls_version")).scalar() == version
    engine.dispose()
