"""PostgreSQL: an engine on which every wait for the server has a time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.abc import PQGen
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.pool import ConnectionPoolEntry

T = TypeVar("T")

RESPONSE_TIMEOUT_S = 12.0
"""Seconds to wait for a response, longer than the server's statement_timeout. Without it, HLS would
wait forever for a frozen server, or after a proxy or firewall has dropped the connection.
"""

_ARGUMENTS: Mapping[str, object] = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds, as in the next line
    "options": (
        "-c lock_timeout=5000 -c statement_timeout=10000 -c"
        " idle_in_transaction_session_timeout=4000 -c tcp_keepalives_idle=10 -c"
        " tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c enable_seqscan=off -c jit=off"
    ),
}
"""Connection arguments; those in `storage.url` take precedence.

The timeouts turn a hanging server and a locked table into errors, because a waiting thread cannot
be interrupted. They also let the server end the session of a frozen process, which would keep the
locks of its transaction.

Sequential scans and JIT are disabled. The server would plan a prepared statement for a small table,
and keep that plan when the table has grown, until it collects statistics again.
"""


class ResponseTimeout(psycopg.OperationalError):
    """The server did not respond in time. The connection is closed, so no later statement gets the
    late response.
    """


class TimedConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server does not respond within `timeout_s`; None means no
    limit.
    """

    timeout_s: float | None = RESPONSE_TIMEOUT_S

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        try:
            return super().wait(self._with_timeout(gen), *args, **kwargs)
        except ResponseTimeout:
            self.close()
            raise

    def _with_timeout(self, gen: PQGen[T]) -> Generator[Any, Any, T]:
        began = time.monotonic()
        try:
            event = next(gen)
            while True:
                # psycopg resumes this several times a second, also without a response
                ready = yield event
                if (
                    not ready
                    and self.timeout_s is not None
                    and time.monotonic() - began > self.timeout_s
                ):
                    raise ResponseTimeout(f"the server did not answer within {self.timeout_s:g} s")
                event = gen.send(ready)
        except StopIteration as end:
            answer: T = end.value
            return answer


class OpenConnections:
    def __init__(self) -> None:
        self._open: WeakSet[TimedConnection] = WeakSet()
        self._lock = threading.Lock()

    def connect(self, *args: Any, **kwargs: Any) -> TimedConnection:
        connection = TimedConnection.connect(*args, **kwargs)
        with self._lock:
            self._open.add(connection)
        return connection

    def end_waits(self) -> None:
        """Make all threads stop waiting for the server, so that the process can end."""
        with self._lock:
            waiting = tuple(self._open)
        for connection in waiting:
            connection.timeout_s = 0.0


def postgresql_engine(url: URL, connections: OpenConnections) -> Engine:
    engine = create_engine(
        url,
        connect_args=_arguments(url),
        pool_size=8,
        max_overflow=24,
        pool_timeout=5,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, args: Any, kwargs: Any
    ) -> TimedConnection:
        connection = connections.connect(*args, **kwargs)
        # the default sends a body as escaped text
        connection.adapters.register_dumper(list, ListBinaryDumper)
        return connection

    return engine


def disable_timeout(connection: Connection) -> None:
    """Remove the time limit for responses on this connection, and take the connection out of the
    pool.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, TimedConnection)
    driver.timeout_s = None
    connection.detach()


def find_missing_timeout(connection: Connection) -> str | None:
    """Return the name of a timeout that the session does not have: a connection pooler may drop
    HLS's options.
    """
    for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
        if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "0":
            return name
    return None


def _arguments(url: URL) -> dict[str, object]:
    # appended, because PostgreSQL uses the last value of an option
    extra = url.query.get("options", ())
    options = " ".join(
        [str(_ARGUMENTS["options"]), *([extra] if isinstance(extra, str) else extra)]
    )
    return {name: value for name, value in _ARGUMENTS.items() if name not in url.query} | {
        "options": options
    }
