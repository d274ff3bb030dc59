"""A convoy: writers of one SQLite database that are at it at the same time go through one commit together.

SQLite has one writer, and a commit that is to be durable waits for the disk. Who is done with its statements while
others wait who need the disk, too, leaves the transaction open to the next of them; the last one commits for all, and
only then does any of them go on. Nobody waits for company: a writer who is alone commits at once, and so does one that
need not wait for the disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hls_handler.store.connection import Connection

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


@dataclass(slots=True, eq=False)
class _Waiter:
    durable: bool
    turn: threading.Event = field(default_factory=threading.Event)


class Convoy:
    """For the threads of one process. Another process that writes is waited for in `begin`."""

    def __init__(
        self, *, begin: Callable[[bool], Connection], commit: Callable[[Connection], None], patience_s: float
    ) -> None:
        """`begin` gives a connection that holds the write lock, and whose commit waits for the disk if it is told so
        (`True`); `commit` commits it. Either may raise.
        """
        self._begin, self._commit, self._patience_s = begin, commit, patience_s
        self._lock = threading.Lock()
        self._busy = False
        self._waiters: deque[_Waiter] = deque()  # who came first goes first
        self._load: _Load | None = None  # open, between two writers

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiters)

    @contextmanager
    def joining(self, *, durable: bool = True) -> Iterator[Connection]:
        """A place in a transaction, which is committed when this returns, and on the disk if it is to be `durable`.

        What the block raises undoes what the block did, and nothing else. Raises `TimeoutError` when the turn did not
        come, and what `begin` and `commit` raise.
        """
        self._take_turn(durable=durable)
        load = None
        try:
            load = self._load  # on which others wait: from here on it is ended or handed on, whatever comes
            if load is None:
                load = _Load(self._begin(durable))
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
            self._hand_on(load, durable=durable)
        load.ended.wait()
        if load.error is not None:
            raise load.error

    def _take_turn(self, *, durable: bool) -> None:
        with self._lock:
            if not self._busy:
                self._busy = True
                return
            waiter = _Waiter(durable)
            self._waiters.append(waiter)
        try:
            came = waiter.turn.wait(self._patience_s)
        except BaseException:
            if self._left(waiter):  # the turn has come, and nobody takes it
                self._hand_on(self._load, durable=durable)
            raise
        if not came and not self._left(waiter):
            raise TimeoutError(f"other writes have not ended for {self._patience_s:g} s")

    def _left(self, waiter: _Waiter) -> bool:
        """Whether its turn has come after all; else it waits no longer."""
        with self._lock:
            if waiter not in self._waiters:
                return True
            self._waiters.remove(waiter)
            return False

    def _hand_on(self, load: _Load | None, *, durable: bool) -> None:
        """Leave the transaction to the next who needs the disk, or end it; then it is somebody else's turn."""
        with self._lock:
            is_shared = durable and load is not None and not load.broken and load.members < MOST
            companion = next((waiter for waiter in self._waiters if waiter.durable), None) if is_shared else None
            self._load = load if companion is not None else None
            if companion is not None:
                self._give_turn_to(companion)
                return
        try:
            if load is not None:
                self._end(load)
        finally:
            with self._lock:
                if self._waiters:
                    self._give_turn_to(self._waiters[0])
                else:
                    self._busy = False

    def _give_turn_to(self, waiter: _Waiter) -> None:
        self._waiters.remove(waiter)
        waiter.turn.set()

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
