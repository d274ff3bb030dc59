"""A database: connections, transactions, one writer at a time where it must be, and all its errors in our words."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import URL, Connection, Table, select, text
from sqlalchemy import exc as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.sql.dml import ReturningInsert

from hls_handler.errors import StoreUnavailable
from hls_handler.store.clock import now_ms
from hls_handler.store.postgresql import (
    NO_POOLER,
    Connections,
    be_patient,
    is_starting,
    postgresql_engine,
    require_bounds,
)
from hls_handler.store.sqlite import (
    prepare_to_write,
    require_in_place,
    require_returning,
    sqlite_engine,
    write_ahead,
)

_CLAIM_LOCK = text("SELECT pg_advisory_xact_lock(7246174)")
"""The number identifies claims; no other program on the same PostgreSQL is likely to use it."""

_WRITER_LOCK_S = 5.0
"""Time limit for a writer that waits for the other writers of this process."""

Insert = sqlite.Insert | postgresql.Insert

BELL: Final = "hls_bell"
"""The channel of PostgreSQL on which processes wake each other; it carries nothing else."""

_RING = text(f"NOTIFY {BELL}")

_REMEDIES = (
    ("locked", "another program is writing to it: stop that one, or wait until it is done"),
    ("lock timeout", "another program has locked its tables: stop that one, or wait until it is done"),
    ("disk is full", "free disk space"),
    ("No space left", "free disk space where PostgreSQL keeps its data"),
    ("could not extend", "free disk space where PostgreSQL keeps its data"),
    ("too many clients", "raise PostgreSQL's max_connections, or let fewer programs connect"),
    ("connection slots", "raise PostgreSQL's max_connections, or let fewer programs connect"),
    ("too many connections", "raise the limit of connections that the database or its user has"),
    ("QueuePool", "see whether the database is overloaded, or lower limits.concurrency"),
    ("starting up", "wait until it has started"),
    ("recovery mode", "wait until it has recovered; its own log tells why it has to"),
    ("shutting down", "wait until it is started again"),
    ("administrator command", "wait: whoever looks after PostgreSQL ended the connection"),
    ("did not answer", "see whether the server hangs, or the network on the way to it"),
    ("timeout expired", "see whether the server hangs, or the network on the way to it"),
    ("disk I/O", "look at the disk: it refuses to read or write"),
    ("readonly", "let the user that runs HLS write to the file and its folder"),
    ("unable to open", "put the file back if it is gone, and let the user that runs HLS write to it and its folder"),
    ("not a database", "the file is something else: move it away, or name another one in storage.url"),
    ("malformed", "the file is damaged: restore a copy of it"),
    ("password", "check the user and the password in storage.url"),
    ("permission", "let the database user of storage.url write to the database"),
    ("read-only", "name a server in storage.url that takes writes"),
    ("role ", "create the user that storage.url names, or name another"),
    ('database "', "create the database that storage.url names"),
    ("startup parameter", NO_POOLER),
)


class Conflict(StoreUnavailable):
    """A guard in the database itself refused a write: somebody else was faster."""


class NotReady(StoreUnavailable):
    """A server that is starting: it answers by itself in a while."""


class Database:
    """One engine on either database. Every statement of the store runs inside `reading` or `writing`."""

    def __init__(
        self,
        url: URL,
        *,
        skew: Callable[[], timedelta],
        busy_timeout_s: float,
    ) -> None:
        self.shown_url: Final = masked(url)
        self.now: Final = now_ms(skew)
        self._skew = skew
        self.file: Final = sqlite_file(url)
        self._ask_now = select(self.now)
        self._sqlite = url.get_backend_name() == "sqlite"
        self._connections = Connections()
        self._engine = sqlite_engine(url, busy_timeout_s) if self._sqlite else postgresql_engine(url, self._connections)
        self._inserts: dict[tuple[str, bool], ReturningInsert[Any]] = {}
        self._writer = threading.Lock()

    def prepare(self) -> None:
        """Connect for the first time; SQLite is to write ahead, so that readers and the writer do not wait.

        Raises `NotReady` of a server that will answer by itself in a while.
        """
        if self._sqlite:
            require_returning(sqlite3.sqlite_version_info)
        with self._translated(), self._engine.connect() as connection:
            if not self._sqlite:
                require_bounds(connection, self.shown_url)
            elif not write_ahead(connection):
                raise StoreUnavailable(
                    f"the database {self.shown_url} cannot be used: its disk does not allow a write-ahead log; "
                    "put the file on a local disk"
                )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one consistent state; on SQLite it neither waits for writers nor blocks them."""
        with self._translated(), self._engine.connect() as connection:
            if self.file is not None:
                require_in_place(connection, self.file)
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True, however_long: bool = False) -> Iterator[Connection]:
        """One transaction, committed when the block ends and rolled back when it raises.

        An error says that nothing was written, unless the answer to the commit itself was lost. `however_long` waits
        for a server's answers without end.

        What is not `durable` outlives us, however we end, but SQLite does not wait until the disk has it: should the
        machine itself fail, what was written last may be gone, back to a moment no older than the last durable commit.
        PostgreSQL always waits: its server may fail while a worker lives, whose claim it would have forgotten.
        """
        with self._translated():
            if self.file is not None:
                with self._writing_to_file(self.file, durable=durable) as connection:
                    yield connection
                return
            with self._engine.connect() as connection:
                if however_long:
                    be_patient(connection)
                yield connection
                connection.commit()

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT, which is spelled alike in both but is not in SQLAlchemy's common part."""
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)

    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], *, if_new: bool = False
    ) -> None:
        """Insert rows that all have the same columns; with `if_new`, one that is there already stays as it is."""
        if not rows:
            return
        insert = self._inserts.get((table.name, if_new))
        if insert is None:
            new = self.insert(table).on_conflict_do_nothing() if if_new else self.insert(table)
            insert = self._inserts[table.name, if_new] = new.returning(*table.primary_key.columns)
        connection.execute(insert, list(rows))

    def lock_claims(self, connection: Connection) -> None:
        """Let no other process claim until the transaction ends; on SQLite the transaction itself does that."""
        if not self._sqlite:
            connection.execute(_CLAIM_LOCK)

    def ring(self, connection: Connection) -> None:
        """Wake the other processes once this transaction is committed; nobody shares an SQLite database.

        However often a transaction rings, it is heard once. PostgreSQL commits those that ring one after the other.
        """
        if not self._sqlite:
            connection.execute(_RING)

    def now_in(self, connection: Connection) -> int:
        """The database's time; SQLite's is that of this machine, which need not be asked for it."""
        return self._machine_ms() if self._sqlite else connection.execute(self._ask_now).scalar_one()

    def ask_now(self) -> int:
        """The database's time, outside of a transaction."""
        if self._sqlite:
            return self._machine_ms()
        with self.reading() as connection:
            return self.now_in(connection)

    def close(self) -> None:
        self._connections.end_waits()
        self._engine.dispose()

    def _machine_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._skew() // timedelta(milliseconds=1)

    @contextmanager
    def _writing_to_file(self, file: Path, *, durable: bool) -> Iterator[Connection]:
        """A transaction under the process's writer lock: without it, writers starve in SQLite's busy timeout."""
        if not self._writer.acquire(timeout=_WRITER_LOCK_S):
            raise TimeoutError(f"other writes have not ended for {_WRITER_LOCK_S:g} s")
        try:
            with self._engine.connect() as connection:
                require_in_place(connection, file)
                prepare_to_write(connection, durable=durable)
                yield connection
                connection.commit()
                if durable:
                    require_in_place(connection, file, after_writing=True)
        finally:
            self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            locked = f"{exc}; see whether another program locks it"
            raise StoreUnavailable(f"the database {self.shown_url} cannot be used: {locked}") from exc
        except (sql.IntegrityError, sqlite3.IntegrityError, psycopg.IntegrityError) as exc:
            raise Conflict(self._sentence(exc)) from None  # PostgreSQL's details show the whole row
        except (sql.SQLAlchemyError, sqlite3.Error, psycopg.Error) as exc:
            raise (NotReady if is_starting(_cause(exc)) else StoreUnavailable)(self._sentence(exc)) from exc

    def _sentence(self, exc: Exception) -> str:
        cause = _cause(exc)
        said = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        default = "see whether it is whole" if self._sqlite else "see whether PostgreSQL runs where storage.url says"
        remedy = next((remedy for sign, remedy in _REMEDIES if sign.lower() in said.lower()), default)
        return f"the database {self.shown_url} cannot be used: {said}; {remedy}"


def _cause(exc: Exception) -> BaseException:
    """The driver's own error, if SQLAlchemy has wrapped one."""
    return exc.orig if isinstance(exc, sql.DBAPIError) and exc.orig is not None else exc


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
    hidden = {name: "hidden" for name in ("password", "sslpassword") if name in url.query}
    if hidden:
        url = url.update_query_dict(hidden)
    return url.render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
