"""A convoy: writers of one SQLite database that are at it at the same time go through one commit together.

SQLite has one writer, and each commit waits for the disk. Who is done with its statements while others wait for their
turn leaves the transaction open to the next of them; the last one commits for all, and only then does any of them go
on. Nobody waits for company: a writer who is alone commits at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

MOST = 32
"""Writers in one transaction: the first of them waits for the statements of all."""


@dataclass(slots=True)
class _Load:
    """One transaction and who is in it."""

    connection: Connection
    members: int = 0  # whose statements are done
    broken: bool = False  # nothing of it is left to be committed
    error: BaseException | None = None  # why it was not committed
    ended: threading.Event = field(default_factory=threading.Event)


class Convoy:
    """For the threads of one process. Another process that writes is waited for in `begin`."""

    def __init__(
        self, *, begin: Callable[[], Connection], commit: Callable[[Connection], None], patience_s: float
    ) -> None:
        """`begin` gives a connection that holds the write lock; `commit` commits it. Either may raise."""
        self._begin, self._commit, self._patience_s = begin, commit, patience_s
        self._free = threading.Condition()
        self._busy = False
        self._waiting = 0
        self._load: _Load | None = None  # open, between two writers

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._waiting

    @contextmanager
    def joining(self) -> Iterator[Connection]:
        """A place in a transaction, which is committed when this returns.

        What the block raises undoes what the block did, and nothing else. Raises `TimeoutError` when the turn did not
        come, and what `begin` and `commit` raise.
        """
        self._take_turn()
        load = None
        try:
            load = self._load  # on which others wait: from here on it is ended or handed on, whatever comes
            if load is None:
                load = _Load(self._begin())
            in_company = load.members > 0
            if in_company:
                load.connection.exec_driver_sql("SAVEPOINT writer")
            try:
                yield load.connection
                if in_company:
                    load.connection.exec_driver_sql("RELEASE writer")
            except BaseException as exc:
                _undo(load, exc, in_company=in_company)
                raise
            load.members += 1
        finally:
            self._hand_on(load)
        load.ended.wait()
        if load.error is not None:
            raise load.error

    def _take_turn(self) -> None:
        with self._free:
            self._waiting += 1
            try:
                if not self._free.wait_for(lambda: not self._busy, timeout=self._patience_s):
                    raise TimeoutError(f"other writes have not ended for {self._patience_s:g} s")
                self._busy = True
            finally:
                self._waiting -= 1

    def _hand_on(self, load: _Load | None) -> None:
        """Leave the transaction to whoever waits, or end it; then it is somebody else's turn."""
        with self._free:
            goes_on = load is not None and not load.broken and self._waiting > 0 and load.members < MOST
            self._load = load if goes_on else None
            if goes_on:
                self._leave()
                return
        try:
            if load is not None:
                self._end(load)
        finally:
            with self._free:
                self._leave()

    def _leave(self) -> None:
        self._busy = False
        self._free.notify()

    def _end(self, load: _Load) -> None:
        """Commit for all that are in it, or tell them why not; each raises that for itself."""
        try:
            if load.members and not load.broken:
                self._commit(load.connection)
        except BaseException as exc:  # noqa: BLE001 (raised by every member, the one that commits among them)
            load.error = exc
        finally:
            load.ended.set()
            load.connection.close()


def _undo(load: _Load, exc: BaseException, *, in_company: bool) -> None:
    """Undo what one writer did. SQLite itself may have given up the whole transaction: of a full disk, for one.

    Unless it is known that only that was undone, nothing is committed.
    """
    load.broken, load.error = True, exc
    if in_company and _is_open(load.connection):
        load.connection.exec_driver_sql("ROLLBACK TO writer")
        load.connection.exec_driver_sql("RELEASE writer")
        load.broken, load.error = False, None


def _is_open(connection: Connection) -> bool:
    if connection.invalidated:
        return False
    return bool(getattr(connection.connection.driver_connection, "in_transaction", False))
