"""SQLite: the engine, and checks that the file in use is still in place."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from hls_handler.errors import StoreUnavailable

_USELESS_AFTER = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN}
)
"""Errors after which all connections are replaced. A connection to a file that was read-only would
stay read-only.
"""

_SYNCHRONOUS = {True: "FULL", False: "NORMAL"}

_PUT_BACK = "put it back; or stop HLS, restore a copy, and start HLS"

_CHECKPOINT_PAGES = 4_000
"""Number of 4 kB pages in the write-ahead log at which SQLite copies them into the database file.
With the default of 1,000, index pages would be copied too often, because nearly every webhook
changes them.
"""

_LARGEST_IDLE_WAL_BYTES = 16_777_216
"""Size to which SQLite truncates its write-ahead log when no reader needs it any more."""


def file_uri(path: str | Path, mode: Literal["ro", "rw"]) -> str:
    """Return SQLite's address of an existing file. It has the path's bytes, which the locale may
    not decode.
    """
    return f"file:{quote(os.fsencode(path))}?mode={mode}"


def sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    """Return an engine that raises an error if the file is missing, instead of creating an empty
    database.
    """
    engine = create_engine(
        url,
        connect_args={"timeout": busy_timeout_s, "isolation_level": None},
        pool_size=8,
        max_overflow=-1,
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, args: Any, kwargs: Any
    ) -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(
            file_uri(args[0], "rw"), **{**kwargs, "uri": True}
        )
        return connection

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[True]}")
        entry.info["durable"] = True
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_IDLE_WAL_BYTES}")
        entry.info["file"] = _file_id(Path(url.database or ""))

    @event.listens_for(engine, "handle_error")
    def drop(context: ExceptionContext) -> None:
        code = getattr(context.original_exception, "sqlite_errorcode", 0) & 0xFF
        # drops all open connections
        context.is_disconnect = context.is_disconnect or code in _USELESS_AFTER

    return engine


def enable_write_ahead_log(connection: Connection) -> bool:
    """Switch the database to a write-ahead log; return False if its file system does not support
    that.
    """
    (mode,) = _driver(connection).execute("PRAGMA journal_mode = WAL").fetchone()
    return bool(mode == "wal")


def begin_to_read(connection: Connection) -> None:
    """Begin a transaction that reads one snapshot. SQLAlchemy's event for it would slow down every
    statement.
    """
    _driver(connection).execute("BEGIN")


def begin_to_write(connection: Connection, *, durable: bool) -> None:
    """Begin a transaction with the write lock. Its commit is durable if `durable` is True.

    After a durable commit, all commits so far are on the disk. A power failure may undo later
    non-durable commits.
    """
    if connection.info["durable"] != durable:
        _driver(connection).execute(f"PRAGMA synchronous = {_SYNCHRONOUS[durable]}")
        connection.info["durable"] = durable
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _driver(connection: Connection) -> sqlite3.Connection:
    # SQLAlchemy's connection would begin a transaction, in which the PRAGMAs of the callers fail.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def require_in_place(connection: Connection, path: Path) -> None:
    """Raise `StoreUnavailable` and invalidate the connection if its file is no longer at `path`.

    SQLite would continue to write to the removed file, and these writes would be lost.
    """
    if _file_id(path) != connection.info["file"]:
        connection.invalidate()
        problem = f"{path.absolute()} was removed or replaced"
        raise StoreUnavailable(
            f"the database sqlite:///{path.absolute()} cannot be used: {problem}; {_PUT_BACK}"
        )


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (faster than Path.stat; every webhook needs it)
    except OSError:
        return None
    return status.st_dev, status.st_ino
