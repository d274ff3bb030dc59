"""A database: connections, transactions, one writer at a time where it must be, and all its errors in our words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, select, text
from sqlalchemy import exc as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import ConnectionPoolEntry

from hls_handler.errors import StoreUnavailable
from hls_handler.store.clock import now_ms

CLAIMS, LANES = 7_246_174, 7_246_175
"""What names are locked for, as numbers that no other program on the same PostgreSQL is likely to use."""

_LOCK_NAMES = text(
    "SELECT pg_advisory_xact_lock(:kind, hash) FROM"
    " (SELECT DISTINCT hashtext(name) AS hash FROM unnest(CAST(:names AS text[])) AS name ORDER BY hash) AS hashes"
)
"""In one order, so that no two wait for each other."""

Insert = sqlite.Insert | postgresql.Insert

_REMEDIES = (
    ("locked", "another program is writing to it: stop that one, or wait until it is done"),
    ("lock timeout", "another program has locked its tables: stop that one, or wait until it is done"),
    ("disk is full", "free disk space"),
    ("disk I/O", "look at the disk: it refuses to read or write"),
    ("readonly", "let the user that runs HLS write to the file and its folder"),
    ("unable to open", "let the user that runs HLS create and write the file and its folder"),
    ("not a database", "the file is something else: move it away, or name another one in storage.url"),
    ("malformed", "the file is damaged: restore a copy of it"),
    ("password", "check the user and the password in storage.url"),
    ("permission", "let the database user of storage.url write to the database"),
    ("read-only", "name a server in storage.url that takes writes"),
    ("does not exist", "create the database that storage.url names"),
)


class Conflict(StoreUnavailable):
    """A guard in the database itself refused a write: somebody else was faster."""


class Database:
    """One engine on either database. Every statement of the store runs inside `reading` or `writing`."""

    def __init__(self, url: URL, *, skew: Callable[[], timedelta], busy_timeout_s: float) -> None:
        self.shown_url: Final = masked(url)
        self.now: Final = now_ms(skew)
        self.file: Final = sqlite_file(url)
        self._ask_now = select(self.now)
        self._sqlite = url.get_backend_name() == "sqlite"
        self._writer: AbstractContextManager[object] = threading.Lock() if self._sqlite else nullcontext()
        self._engine = _sqlite_engine(url, busy_timeout_s) if self._sqlite else _postgresql_engine(url)

    def prepare(self) -> None:
        """Connect for the first time; SQLite is to write ahead, so that readers and the writer do not wait."""
        with self._translated(), self._engine.connect() as connection:
            if self._sqlite and connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar() != "wal":
                raise StoreUnavailable(
                    f"the database {self.shown_url} cannot be used: its disk does not allow a write-ahead log; "
                    "put the file on a local disk"
                )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent look at the database; on SQLite it neither waits for writers nor keeps them waiting."""
        with self._translated(), self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed when the block ends and rolled back when it raises."""
        with self._translated(), self._writer, self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT, which is spelled alike in both but is not in SQLAlchemy's common part."""
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)

    def lock_names(self, connection: Connection, kind: int, names: Iterable[str]) -> bool:
        """Lock names of a kind until the transaction ends. False where nobody else could be writing: on SQLite."""
        if self._sqlite:
            return False
        connection.execute(_LOCK_NAMES, {"kind": kind, "names": list(names)})
        return True

    def now_in(self, connection: Connection) -> int:
        return connection.execute(self._ask_now).scalar_one()

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sql.IntegrityError as exc:
            raise Conflict(self._sentence(exc)) from None  # PostgreSQL's details show the whole row
        except sql.SQLAlchemyError as exc:
            raise StoreUnavailable(self._sentence(exc)) from exc

    def _sentence(self, exc: sql.SQLAlchemyError) -> str:
        cause = exc.orig if isinstance(exc, sql.DBAPIError) and exc.orig is not None else exc
        said = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        default = "see whether it is whole" if self._sqlite else "see whether PostgreSQL runs where storage.url says"
        remedy = next((remedy for sign, remedy in _REMEDIES if sign.lower() in said.lower()), default)
        return f"the database {self.shown_url} cannot be used: {said}; {remedy}"


def parsed(url: str) -> URL:
    """`storage.url` as SQLAlchemy sees it. Raises `StoreUnavailable` for what we do not work with."""
    try:
        parsed_url = make_url(url)
    except (sql.ArgumentError, ValueError) as exc:
        raise StoreUnavailable(_NOT_OURS) from exc
    if parsed_url.drivername == "sqlite" and parsed_url.database not in (None, "", ":memory:"):
        return parsed_url
    if parsed_url.drivername == "postgresql+psycopg":
        return parsed_url
    raise StoreUnavailable(_NOT_OURS)


_NOT_OURS = (
    "storage.url must be sqlite:///relative/path, sqlite:////absolute/path or "
    "postgresql+psycopg://user:password@host/database"
)


def masked(url: URL) -> str:
    """The address as it may be shown."""
    if "password" in url.query:
        url = url.update_query_dict({"password": "hidden"})
    return url.render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


_LARGEST_IDLE_WAL_BYTES = 16_777_216
"""To which SQLite cuts its write-ahead log once nobody reads from it: a reader that stays lets it grow until then."""


def _sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": busy_timeout_s, "isolation_level": None},
        pool_size=8,
        max_overflow=-1,
        hide_parameters=True,
    )

    engine.dialect.use_insertmanyvalues_wo_returning = (
        True  # many rows in one statement: a batch waits once, not by row
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_IDLE_WAL_BYTES}")

    return engine


_POSTGRESQL_BOUNDS: Mapping[str, object] = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds, as the next
    "options": "-c lock_timeout=5000 -c statement_timeout=30000 -c idle_in_transaction_session_timeout=4000",
}
"""A server that hangs, and a table that somebody else has locked, must become an error: a thread has no other way out.
A process that is frozen inside of a transaction must not hold what it has locked: the server ends its session.

What `storage.url` says itself counts more."""


def _postgresql_engine(url: URL) -> Engine:
    bounds = {name: value for name, value in _POSTGRESQL_BOUNDS.items() if name not in url.query}
    return create_engine(
        url, connect_args=bounds, pool_size=8, max_overflow=24, pool_timeout=5, pool_pre_ping=True, hide_parameters=True
    )
