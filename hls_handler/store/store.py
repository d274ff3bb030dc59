"""The store: everything that must survive, in one database."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Self

from sqlalchemy import false, select

from hls_handler.store.accept import Accepting
from hls_handler.store.arrivals import Arriving
from hls_handler.store.calls import Calling
from hls_handler.store.clock import from_ms, no_skew
from hls_handler.store.corrections import Correcting
from hls_handler.store.counters import Counting
from hls_handler.store.database import Database, NotReady, parsed
from hls_handler.store.endings import Ending
from hls_handler.store.figures import Summing
from hls_handler.store.files import ensure_private_file
from hls_handler.store.memory import Identities
from hls_handler.store.migrate import migrate, require_current
from hls_handler.store.pauses import Pausing
from hls_handler.store.queue import Queueing
from hls_handler.store.reads import Reading
from hls_handler.store.record import Recording
from hls_handler.store.repository_files import KeepingFiles
from hls_handler.store.retention import Retaining
from hls_handler.store.size import Measuring
from hls_handler.store.steps import Remembering
from hls_handler.store.tables import deliveries, keys
from hls_handler.store.threads import Overtaking

log = logging.getLogger(__name__)

_BEAT, _BEAT_BYTES = "heartbeat", 64_000  # a full disk has room for less
_LOOKS, _LOOK_EVERY_S = 60, 0.5  # for a server that is starting: half a minute


class Store(
    Accepting,  # the door
    Queueing,  # workers: claim and keep a delivery
    Pausing,  # what the operator holds back
    Remembering,  # its steps
    Overtaking,  # what is newer on its thread
    Calling,  # turns, budget and locks; calls, and what Claude said
    Identities,  # what we did on GitHub
    Correcting,  # and what people made of it
    Recording,  # what we know of a repository
    KeepingFiles,  # what its own settings file says
    Ending,  # give a delivery back
    Counting,
    Arriving,  # when webhooks came
    Summing,
    Reading,  # commands, stats and health
    Retaining,  # forget what is old
    Measuring,
):
    """One database, used by any number of threads; each part has a module of its own.

    Every method is one transaction and raises `StoreUnavailable` when the database cannot be used. What is said of
    time is said by the database's clock.
    """

    @classmethod
    def open(
        cls,
        url: str,
        *,
        skew: Callable[[], timedelta] = no_skew,
        busy_timeout_s: float = 5.0,
        pause: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Open a database, made and migrated as needed. Raises `StoreUnavailable`, saying what to do.

        A server that is just starting is waited for, with `pause`. `skew` is added to the database's clock, so that
        tests need not sleep. `busy_timeout_s` is how long a write waits for
        another process that writes to the same SQLite file.
        """
        parsed_url = parsed(url)
        ensure_private_file(parsed_url)
        database = Database(parsed_url, skew=skew, busy_timeout_s=busy_timeout_s)
        try:
            _prepare(database, pause)
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @classmethod
    def open_as_it_is(cls, url: str) -> Self:
        """Open a database that is there, for whoever only reads: nothing is made, changed or migrated.

        Raises `StoreUnavailable`, also where its tables are another version's.
        """
        database = Database(parsed(url), skew=no_skew, busy_timeout_s=5.0)
        try:
            require_current(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close all connections. Threads that still work with the store reopen them."""
        self._database.close()

    def now(self) -> datetime:
        """The database's time, aware UTC."""
        return from_ms(self._database.ask_now())

    def check_writable(self) -> None:
        """Write as much as a delivery needs, and take it away. Raises `StoreUnavailable` when that cannot be done."""
        beat = self._database.insert(keys).values(name=_BEAT, value=secrets.token_bytes(_BEAT_BYTES))
        none_of_them = deliveries.update().where(false()).values(reason=None)  # waits for whoever has locked the table
        with self._database.writing() as connection:
            connection.execute(none_of_them)
            connection.execute(
                beat.on_conflict_do_update(index_elements=["name"], set_={"value": beat.excluded["value"]})
            )
        with self._database.writing() as connection:  # its room is there for a delivery then
            connection.execute(keys.delete().where(keys.c.name == _BEAT))

    def secret(self, name: str) -> bytes:
        """32 random bytes, made when first asked for and kept: the same for every process on this database."""
        known = self._secrets.get(name)
        if known is not None:
            return known
        fresh = {"name": name, "value": secrets.token_bytes(32)}
        with self._database.writing() as connection:
            self._database.insert_rows(connection, keys, [fresh], if_new=True)
            value: bytes = connection.execute(select(keys.c.value).where(keys.c.name == name)).scalar_one()
        return self._secrets.setdefault(name, value)

    @cached_property
    def _secrets(self) -> dict[str, bytes]:
        return {}


def _prepare(database: Database, pause: Callable[[float], object]) -> None:
    """Connect; a server that is starting, as after a machine's boot or a crash of its own, gets a while for it."""
    for look in range(_LOOKS):
        try:
            database.prepare()
        except NotReady as exc:
            if look == 0:
                log.warning("waiting for the database to start", extra={"why": str(exc)})
            pause(_LOOK_EVERY_S)
        else:
            return
    database.prepare()
