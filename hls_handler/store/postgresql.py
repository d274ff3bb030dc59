"""How PostgreSQL is connected to: whatever becomes of the server or the way there, every wait for it has an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from hls_handler.errors import StoreUnavailable

T = TypeVar("T")

ANSWERS_WITHIN_S = 12.0
"""Longer than the server itself lets a statement run. Without an end of our own, what is sent into a connection whose
other end is gone without a word (a frozen server, a proxy or a firewall that forgot it) is waited for for ever."""

_BOUNDS: Mapping[str, object] = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds, as the next
    "options": "-c lock_timeout=5000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=4000"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c enable_seqscan=off -c jit=off",
}
"""A server that hangs, and a table that somebody else has locked, must become an error: a thread has no other way out.
A process that is frozen inside of a transaction, or gone without a word, must not hold what it has locked: the server
ends its session.

What is asked often has its index, and the server is to take it. While a table is small, it would plan to read all of
it, and keep to that plan for a prepared statement when the table has grown, until it takes statistics again. Nor is it
to compile the statements that seem so costly then.

What `storage.url` says itself counts more."""

NO_POOLER = "name the PostgreSQL server itself in storage.url: through a pooler, nothing bounds how long HLS waits"

_STARTING = ("starting up", "in recovery mode", "not yet accepting connections")


class ServerSilent(psycopg.OperationalError):
    """The server did not answer in time, and the connection is closed: a late answer would be taken for the next."""


class Bounded(psycopg.Connection[Any]):
    """A connection that is given up when the server does not answer within `patience_s`; None waits for ever."""

    patience_s: float | None = ANSWERS_WITHIN_S

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        try:
            return super().wait(self._in_time(gen), *args, **kwargs)
        except ServerSilent:
            self.close()
            raise

    def _in_time(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        """The same wait, which ends with our patience: whoever waits looks in several times a second."""
        began = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and self.patience_s is not None and time.monotonic() - began > self.patience_s:
                    raise ServerSilent(f"the server did not answer within {self.patience_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            answer: T = end.value
            return answer


class Connections:
    """All that are open, whoever uses them."""

    def __init__(self) -> None:
        self._open: WeakSet[Bounded] = WeakSet()
        self._lock = threading.Lock()

    def connect(self, *args: Any, **kwargs: Any) -> Bounded:
        connection = Bounded.connect(*args, **kwargs)
        with self._lock:
            self._open.add(connection)
        return connection

    def end_waits(self) -> None:
        """Whoever waits for an answer now does so no longer: a thread that does would keep the process from ending."""
        with self._lock:
            waiting = tuple(self._open)
        for connection in waiting:
            connection.patience_s = 0.0


def postgresql_engine(url: URL, connections: Connections) -> Engine:
    engine = create_engine(
        url,
        connect_args=_bounds(url),
        pool_size=8,
        max_overflow=24,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Dialect, _entry: ConnectionPoolEntry, args: Any, kwargs: Any) -> Bounded:
        return connections.connect(*args, **kwargs)

    return engine


def be_patient(connection: Connection) -> None:
    """Let this connection's statements take as long as they need; it does not go back into the pool."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, Bounded)
    driver.patience_s = None
    connection.detach()


def is_starting(exc: BaseException) -> bool:
    """Whether a server refused because it is not ready yet. A refused connection has no code, only words."""
    return isinstance(exc, psycopg.OperationalError) and any(words in str(exc) for words in _STARTING)


def arguments_beside(url: URL) -> dict[str, Any]:
    """What psycopg is to be called with for a connection beside the engine's."""
    _, arguments = create_engine(url).dialect.create_connect_args(url)
    return {**arguments, **_bounds(url)}


def require_bounds(connection: Connection, shown_url: str) -> None:
    """Raise `StoreUnavailable` where waits for locks and idle transactions have no end, as a pooler would have it."""
    for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "0":
            raise StoreUnavailable(f"the database {shown_url} cannot be used: {name} is 0 there; {NO_POOLER}")


def _bounds(url: URL) -> dict[str, object]:
    """Those that the address does not name; options of its own are added to ours, and the later of two counts."""
    own = url.query.get("options", ())
    options = " ".join([str(_BOUNDS["options"]), *([own] if isinstance(own, str) else own)])
    return {name: value for name, value in _BOUNDS.items() if name not in url.query} | {"options": options}
