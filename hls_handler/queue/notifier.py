"""Wake-up across the processes that share a PostgreSQL database (LISTEN and NOTIFY).

Notifications only save time, because workers also poll every few seconds. Therefore a lost connection is no error.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hls_handler.db.database import CHANNEL, parse_url, sqlite_file

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
CHECK_END_S = 0.5


class Notifier:
    """A thread that calls `on_wake_up` after each `Database.notify` of any process. Does nothing on SQLite."""

    def __init__(self, url: str, *, on_wake_up: Callable[[], None]) -> None:
        """`on_wake_up` runs in the notifier's thread, after each connect and after each notification."""
        self._on_wake_up = on_wake_up
        self._ended = threading.Event()
        self._thread = None
        address = parse_url(url)
        if sqlite_file(address) is None:
            from hls_handler.db.postgresql import connect_arguments  # here: SQLite does not need psycopg

            arguments = connect_arguments(address)
            self._thread = threading.Thread(target=self._loop, args=(arguments,), name="notifier", daemon=True)

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread; wait at most one second for its end."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _loop(self, arguments: Mapping[str, Any]) -> None:
        import psycopg

        retry_s = FIRST_RETRY_S
        while not self._ended.is_set():
            try:
                with psycopg.connect(**arguments, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    retry_s = FIRST_RETRY_S
                    self._listen(connection)
            except (psycopg.Error, OSError) as exc:
                log.info("lost the connection for wake-ups; connecting again", extra={"why": str(exc).strip()})
                self._ended.wait(retry_s * random.uniform(0.5, 1.0))  # noqa: S311 (spread, not a secret)
                retry_s = min(2 * retry_s, LAST_RETRY_S)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        self._on_wake_up()  # notifications from before LISTEN are lost
        while not self._ended.is_set():
            if list(connection.notifies(timeout=CHECK_END_S, stop_after=1)):
                self._on_wake_up()
