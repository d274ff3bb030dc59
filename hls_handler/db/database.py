"""Connections and transactions of a database, and translation of its drivers' errors."""

from __future__ import annotations

import secrets as random_bytes
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import (
    ARRAY,
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    any_,
    bindparam,
    cast,
    column,
    false,
    func,
    select,
)
from sqlalchemy import exc as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from hls_handler.db.sqlite import (
    begin_to_read,
    begin_to_write,
    enable_write_ahead_log,
    require_in_place,
    sqlite_engine,
)
from hls_handler.db.tables import deliveries, secrets
from hls_handler.db.values import from_ms
from hls_handler.errors import StoreUnavailable

if TYPE_CHECKING:
    from hls_handler.db.postgresql import OpenConnections


import re

NO_POOLER = (
    "name the PostgreSQL server itself in storage.url: a connection pooler drops the time limits"
    " that HLS sets"
)

_REMEDIES = (
    (
        "locked|lock timeout",
        "another program has locked it: stop that one, or wait until it is done",
    ),
    ("disk is full", "free disk space"),
    ("no space left|could not extend", "free disk space where PostgreSQL keeps its data"),
    (
        "too many clients|connection slots|too many connections",
        "raise PostgreSQL's max_connections, or let fewer programs connect",
    ),
    ("queuepool", "see whether the database is overloaded, or lower limits.concurrency"),
    ("deadlock", "nothing was changed: do it again"),
    (
        "starting up|recovery mode|shutting down|administrator command",
        "wait until it has started; its log says why",
    ),
    (
        "did not answer|timeout expired",
        "see whether the server hangs, or the network on the way to it",
    ),
    ("disk i/o", "check the disk: reading or writing fails"),
    ("readonly", "let the user that runs HLS write to the file and its folder"),
    (
        "unable to open",
        (
            "put the file back if it is gone, and let the user that runs HLS write to it and its"
            " folder"
        ),
    ),
    (
        "not a database",
        "the file is not an SQLite database: move it away, or name another file in storage.url",
    ),
    ("malformed", "the file is damaged: restore a copy of it"),
    ("password", "check the user and the password in storage.url"),
    (
        "permission|read-only",
        "name a server and a user in storage.url that may write to the database",
    ),
    ('role |database "', "create the user and the database that storage.url names, or name others"),
    ("startup parameter", NO_POOLER),
)
"""Pattern of an error's first line, in any case, and what to do."""

_STARTING = ("starting up", "in recovery mode", "not yet accepting connections")
"""Parts of the messages of a PostgreSQL server that is still starting; the error has no code."""


class NotReady(StoreUnavailable):
    """The database server is starting and will accept connections later."""


def is_starting(exc: Exception, driver_error: type[Exception]) -> bool:
    """Return True if the server will accept connections later."""
    cause = _find_cause(exc)
    is_known = any(words in str(cause) for words in _STARTING)
    return is_known and isinstance(cause, driver_error)


def describe_failure(exc: Exception, shown_url: str) -> str:
    cause = _find_cause(exc)
    first_line = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    problem = f"the database {shown_url} cannot be used: {first_line}"
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, first_line, re.IGNORECASE):
            return f"{problem}; {remedy}"
    if shown_url.startswith("sqlite:"):
        return f"{problem}; see whether it is intact"
    return f"{problem}; see whether PostgreSQL runs where storage.url says"


def _find_cause(exc: Exception) -> BaseException:
    if isinstance(exc, sql.DBAPIError) and exc.orig is not None:
        return exc.orig
    return exc


T = TypeVar("T")

_CLAIM_LOCK = 7_246_174
_ACCEPT_LOCK = 7_246_175
"""Arbitrary ids of PostgreSQL's advisory locks for `lock_claims` and `lock_accepts`."""

_WRITER_LOCK_S = 5.0
"""Seconds that a writer waits at most for the other writers of this process."""

_MILLISECOND = timedelta(milliseconds=1)

Insert = sqlite.Insert | postgresql.Insert

_PROBE = "write-probe"
_PROBE_BYTES = 64_000  # a full disk may still accept a few bytes


class Database:
    """An SQLite or PostgreSQL database. Statements run in `reading` or `writing`, which raise
    `StoreUnavailable`.
    """

    def __init__(self, url: URL, *, skew: Callable[[], timedelta], busy_timeout_s: float) -> None:
        """For tests, `skew` is added to the clock. `busy_timeout_s` is how long SQLite waits for a
        writing process.
        """
        self.shown_url: Final = masked(url)
        self.file: Final = sqlite_file(url)
        self._skew = skew
        self.now: Final = self._sql_now()
        self._driver_error: type[Exception] = sqlite3.Error
        self._integrity_error: type[Exception] = sqlite3.IntegrityError
        self._connections: OpenConnections | None = None
        if self.file is not None:
            self._engine = sqlite_engine(url, busy_timeout_s)
        else:
            # here and below: with SQLite, HLS does not need psycopg, which takes 9 MB of memory
            import psycopg

            from hls_handler.db.postgresql import OpenConnections, postgresql_engine

            self._driver_error = psycopg.Error
            self._integrity_error = psycopg.IntegrityError
            self._connections = OpenConnections()
            self._engine = postgresql_engine(url, self._connections)
        # An INSERT takes as long to build as to run.
        self._inserts: dict[tuple[str, tuple[str, ...], bool], Insert] = {}
        self._statements: dict[Callable[[Database], Any], Any] = {}
        self._writer = threading.Lock()
        self._lock_claims = select(func.pg_advisory_xact_lock(_CLAIM_LOCK))
        self._lock_accepts = select(func.pg_advisory_xact_lock(_ACCEPT_LOCK), self.now)
        self._secrets: dict[str, bytes] = {}

    def prepare(self) -> None:
        """Connect and check the database. Raises `StoreUnavailable`, and `NotReady` while a server
        is starting.
        """
        with self._translated(), self._engine.connect() as connection:
            if self.file is None:
                from hls_handler.db.postgresql import find_missing_timeout

                missing = find_missing_timeout(connection)
                if missing is not None:
                    raise StoreUnavailable(
                        f"the database {self.shown_url} cannot be used: the session has no"
                        f" {missing}, but HLS requested one; {NO_POOLER}"
                    )
            elif not enable_write_ahead_log(connection):
                raise StoreUnavailable(
                    f"the database {self.shown_url} cannot be used: its disk does not allow a"
                    " write-ahead log; put the file on a local disk"
                )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a transaction that only reads.

        On SQLite, the transaction reads one snapshot, and neither waits for writers nor blocks
        them. On PostgreSQL, each statement reads what was committed before this statement.
        """
        with self._translated(), self._engine.connect() as connection:
            if self.file is not None:
                require_in_place(connection, self.file)
                begin_to_read(connection)
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True, has_timeout: bool = True) -> Iterator[Connection]:
        """Begin a transaction that is committed at the end of the block, or rolled back if the
        block raises.

        After an error nothing is stored, unless only the response to the commit was lost.
        `has_timeout=False` removes the time limit for PostgreSQL's responses; the server's own
        timeouts still apply.

        On SQLite, a commit that is not `durable` does not wait for the disk. A power failure may
        undo the commit, but a crash of the process cannot. On PostgreSQL, `durable` has no effect
        and every commit is durable. Otherwise a crash of the server could undo the renewal of a
        delivery's lease, and a second worker could claim this delivery.
        """
        with self._translated():
            if self.file is not None:
                with self._writing_to_file(self.file, durable=durable) as connection:
                    yield connection
                return
            with self._engine.connect() as connection:
                if not has_timeout:
                    from hls_handler.db.postgresql import disable_timeout

                    disable_timeout(connection)
                yield connection
                connection.commit()

    def insert(self, table: Table) -> Insert:
        """Return an INSERT of the database's dialect, because SQLAlchemy's general INSERT has no ON
        CONFLICT.
        """
        if self.file is not None:
            return sqlite.insert(table)
        return postgresql.insert(table)

    def upsert(self, table: Table, *replaced: str) -> Insert:
        """Return an INSERT that replaces the columns `replaced` if a row with the same primary key
        exists.
        """
        new = self.insert(table)
        return new.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={name: new.excluded[name] for name in replaced},
        )

    def statement(self, build: Callable[[Database], T]) -> T:
        """Return `build(self)`, which is called once, because a statement takes longer to build
        than to run.
        """
        if build not in self._statements:
            self._statements[build] = build(self)
        statement: T = self._statements[build]
        return statement

    def make_rows_insert(self, new: Insert) -> Executable:
        """Return the INSERT for an execution with a list of rows.

        On PostgreSQL it returns the primary keys, because SQLAlchemy then sends one statement with
        all rows instead of using psycopg's executemany, see `insert_rows`. On SQLite, executemany
        is twice as fast.
        """
        if self.file is not None:
            return new
        return new.returning(*new.table.primary_key)

    def insert_rows(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Mapping[str, object]],
        *,
        if_new: bool = False,
    ) -> None:
        """Insert rows, which all have the same columns. With `if_new`, rows that already exist stay
        unchanged.

        On PostgreSQL, one INSERT has an array for each column. psycopg's executemany would send a
        pipeline, after which PostgreSQL does not enforce idle_in_transaction_session_timeout, and a
        frozen process would keep its locks. With many VALUES, psycopg would parse the statement's
        text each time.
        """
        if not rows:
            return
        names = tuple(rows[0])
        if (table.name, names, if_new) not in self._inserts:
            new = self.insert(table)
            if self.file is None:
                new = new.from_select(names, _select_arrays(table, names))
            if if_new:
                new = new.on_conflict_do_nothing()
            self._inserts[table.name, names, if_new] = new
        insert = self._inserts[table.name, names, if_new]
        if self.file is not None:
            connection.execute(insert, list(rows))
        else:
            connection.execute(insert, {name: [row[name] for row in rows] for name in names})

    def is_one_of(self, column: Column[Any], name: str) -> ColumnElement[bool]:
        """Return the SQL condition that the column's value is in a list, which is the bind
        parameter `name`.

        On PostgreSQL the list is one array, because psycopg parses a statement with many parameters
        at each execution.
        """
        if self.file is not None:
            return column.in_(bindparam(name, expanding=True))
        return column == any_(bindparam(name, type_=ARRAY(column.type)))

    def lock_accepts(self, connection: Connection) -> int:
        """Take the lock for storing a batch, and return the database's time (ms) after taking it.

        The transaction's end releases the lock. SQLite needs none, because it has one writer.
        """
        if self.file is not None:
            return self.now_in(connection)
        _, now = connection.execute(self._lock_accepts).one()
        return int(now)

    def lock_claims(self, connection: Connection) -> None:
        """Take the lock for claims until the transaction ends. SQLite needs no lock, because it has
        one writer.
        """
        if self.file is None:
            connection.execute(self._lock_claims)

    def _sql_now(self) -> ColumnElement[int]:
        """Return SQL for the time in ms when a statement is executed; on SQLite by the clock of
        this machine.
        """
        if self.file is not None:
            return bindparam("now_ms", callable_=self._machine_ms, type_=BigInteger())
        # 0, except in tests, which let time pass without waiting
        skew_ms = bindparam(
            "skew_ms", callable_=lambda: self._skew() // _MILLISECOND, type_=BigInteger()
        )
        # clock_timestamp() is volatile. In a subquery, it is called once, so that PostgreSQL can
        # use an index.
        seconds = func.date_part("epoch", func.clock_timestamp())
        return select(cast(seconds * 1000, BigInteger) + skew_ms).scalar_subquery()

    def now_in(self, connection: Connection) -> int:
        """Return the database's time in milliseconds. SQLite uses the clock of this machine."""
        if self.file is not None:
            return self._machine_ms()
        now: int = connection.execute(select(self.now)).scalar_one()
        return now

    def current_time(self) -> datetime:
        """Return the database's time, aware UTC."""
        if self.file is not None:
            return from_ms(self._machine_ms())
        with self.reading() as connection:
            return from_ms(self.now_in(connection))

    def check_writable(self) -> None:
        """Write 64 kB and delete them, to test whether a delivery can be stored. Raises
        `StoreUnavailable` if not.
        """
        probe = {"name": _PROBE, "value": random_bytes.token_bytes(_PROBE_BYTES)}
        # fails if another program locks the table
        no_rows = deliveries.update().where(false()).values(reason=None)
        with self.writing() as connection:
            connection.execute(no_rows)
            connection.execute(self.upsert(secrets, "value"), probe)
        with self.writing() as connection:
            connection.execute(secrets.delete().where(secrets.c.name == _PROBE))

    def secret(self, name: str) -> bytes:
        """Return the 32 random bytes stored under `name`. The first call by any process creates
        them.
        """
        if name in self._secrets:
            return self._secrets[name]
        new = self.insert(secrets).values(name=name, value=random_bytes.token_bytes(32))
        upsert = new.on_conflict_do_update(index_elements=["name"], set_={"value": secrets.c.value})
        with self.writing() as connection:
            value: bytes = connection.execute(upsert.returning(secrets.c.value)).scalar_one()
        return self._secrets.setdefault(name, value)

    def size(self) -> dict[str, int]:
        """Return "database_bytes"; for SQLite also "reusable_bytes" (in free pages) and
        "disk_free_bytes".
        """
        with self.reading() as connection:
            if self.file is None:
                server_size = func.pg_database_size(func.current_database())
                return {"database_bytes": connection.execute(select(server_size)).scalar_one()}
            pages = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        try:
            database_bytes = self.file.stat().st_size
            for suffix in ("-wal", "-shm"):
                # another process that closes the database deletes them
                with suppress(FileNotFoundError):
                    database_bytes += self.file.with_name(self.file.name + suffix).stat().st_size
            return {
                "database_bytes": database_bytes,
                "reusable_bytes": pages * page_bytes,
                "disk_free_bytes": shutil.disk_usage(self.file.parent).free,
            }
        except OSError as exc:
            raise StoreUnavailable(
                f"the size of {self.file.absolute()} cannot be read: {exc.strerror}"
            ) from exc

    def close(self) -> None:
        """Close all connections, and interrupt threads that wait for the server. A later use
        connects again.
        """
        if self._connections is not None:
            self._connections.end_waits()
        self._engine.dispose()

    def _machine_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._skew() // _MILLISECOND

    @contextmanager
    def _writing_to_file(self, file: Path, *, durable: bool) -> Iterator[Connection]:
        # SQLite polls for its own lock, so without this lock a thread could miss its turn until the
        # busy timeout.
        if not self._writer.acquire(timeout=_WRITER_LOCK_S):
            raise TimeoutError(f"other writes have not ended within {_WRITER_LOCK_S:g} s")
        try:
            with self._engine.connect() as connection:
                require_in_place(connection, file)
                begin_to_write(connection, durable=durable)
                yield connection
                connection.commit()
                if durable:
                    require_in_place(connection, file)
        finally:
            self._writer.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            locked = f"{exc}; see whether another program locks the database"
            raise StoreUnavailable(
                f"the database {self.shown_url} cannot be used: {locked}"
            ) from exc
        except (sql.IntegrityError, self._integrity_error) as exc:
            raise StoreUnavailable(
                describe_failure(exc, self.shown_url)
            ) from None  # the text of PostgreSQL's error shows the whole row
        except (sql.SQLAlchemyError, self._driver_error) as exc:
            if is_starting(exc, self._driver_error):
                raise NotReady(describe_failure(exc, self.shown_url)) from exc
            raise StoreUnavailable(describe_failure(exc, self.shown_url)) from exc


def _select_arrays(table: Table, names: Sequence[str]) -> Select[Any]:
    """Return "SELECT * FROM unnest(:guid, :state)", one row for each position of the arrays."""
    arrays = (bindparam(name, type_=ARRAY(table.c[name].type)) for name in names)
    rows = (
        func.unnest(*arrays)
        .table_valued(*(column(name, table.c[name].type) for name in names))
        .render_derived()
    )
    return select(*rows.c)


def parse_url(url: str) -> URL:
    """Parse `storage.url`. Raises `StoreUnavailable` unless it is an SQLite file or PostgreSQL with
    psycopg.
    """
    try:
        parsed = make_url(url)
    except (sql.ArgumentError, ValueError) as exc:
        raise StoreUnavailable(_UNSUPPORTED) from exc
    is_file = parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:")
    if not is_file and parsed.drivername != "postgresql+psycopg":
        raise StoreUnavailable(_UNSUPPORTED)
    return parsed


_UNSUPPORTED = (
    "storage.url must be sqlite:///relative/path, sqlite:////absolute/path or "
    "postgresql+psycopg://user:password@host/database"
)


def masked(url: URL) -> str:
    """Return the URL with its passwords hidden and the path of an SQLite file absolute, for
    messages.
    """
    file = sqlite_file(url)
    if file is not None:
        return f"sqlite:///{file.absolute()}"
    hidden = {name: "hidden" for name in ("password", "sslpassword") if name in url.query}
    if hidden:
        url = url.update_query_dict(hidden)
    return url.render_as_string(hide_password=True)


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite database; None for PostgreSQL."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)
