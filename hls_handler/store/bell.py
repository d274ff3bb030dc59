"""The bell: processes that share a PostgreSQL wake each other when there is something to do (LISTEN and NOTIFY).

Nobody relies on it: who is not woken looks by itself every few seconds. So a connection that is lost, or a pooler in
between that passes no notifications on, is no error for anybody; it costs a moment for each delivery.
"""

from __future__ import annotations

import logging
import os
import random
import selectors
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from hls_handler.store.database import BELL, parsed, sqlite_file
from hls_handler.store.postgresql import arguments_beside

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


class Bell:
    """One thread that listens on a connection of its own, and calls `rang` whenever a process committed something that
    others may want to know of. On SQLite, which one process holds, there is none."""

    def __init__(self, url: str, *, rang: Callable[[], None]) -> None:
        """`rang` is called in the bell's thread, for the own process's news too, and after each connect."""
        self._rang = rang
        self._ended = threading.Event()
        self._end_reader, self._end_writer = os.pipe()
        self._thread = None
        address = parsed(url)
        if sqlite_file(address) is None:
            arguments = arguments_beside(address)
            self._thread = threading.Thread(target=self._loop, args=(arguments,), name="bell", daemon=True)

    def start(self) -> None:
        if self._thread is not None:
            self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end, and wait a moment for it."""
        self._ended.set()
        os.close(self._end_writer)  # wakes it
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def _loop(self, arguments: Mapping[str, Any]) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                with psycopg.connect(**arguments, autocommit=True) as connection:
                    connection.execute(f"LISTEN {BELL}")
                    pause_s = FIRST_PAUSE_S
                    self._listen(connection)
            except (psycopg.Error, OSError) as exc:
                log.info("other machines are not heard for a while", extra={"why": str(exc).strip()})
                self._ended.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 (spread, not a secret)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        """What rang before the first look was missed; from then on nothing is."""
        with selectors.DefaultSelector() as either:
            either.register(connection.fileno(), selectors.EVENT_READ)
            either.register(self._end_reader, selectors.EVENT_READ)
            while not self._ended.is_set():
                self._rang()
                either.select()
                for _ in connection.notifies(timeout=0):
                    pass
