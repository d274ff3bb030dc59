"""State of catch-up in the database: how far each hook was read, and which process is reading."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import or_, select

from hls_handler.db.counters import CATCH_UP_LEASE, CAUGHT_UP_TO, LAST_WEBHOOK, CounterWriter
from hls_handler.db.database import Database
from hls_handler.db.tables import counters, deliveries, repository_files

LEASE_MS = 60_000
_CHUNK = 500  # GUIDs in one query

_n = counters.c


class CatchUpStore:
    def __init__(self, database: Database, counter_writer: CounterWriter) -> None:
        self._database, self._counters = database, counter_writer
        self._lease = counters.update().where(_n.name == CATCH_UP_LEASE, _n.label == "")

    def find_known(self, guids: Collection[str]) -> set[str]:
        """Return those of the GUIDs that are stored, in any state."""
        wanted, known = list(guids), set[str]()
        query = select(deliveries.c.guid).where(self._database.is_one_of(deliveries.c.guid, "guids"))
        with self._database.reading() as connection:
            for begin in range(0, len(wanted), _CHUNK):
                known.update(connection.execute(query, {"guids": wanted[begin : begin + _CHUNK]}).scalars())
        return known

    def repository_names(self) -> dict[int, str]:
        """Return {repository id: "owner/repo"} of the repositories whose events were processed."""
        query = select(repository_files.c.repository_id, repository_files.c.repository)
        with self._database.reading() as connection:
            return {row.repository_id: row.repository for row in connection.execute(query)}

    def received_repositories(self) -> list[str]:
        """Return the names of all repositories whose events were ever received, the last active one first."""
        times = select(_n.label, _n.value).where(_n.name == LAST_WEBHOOK)
        names = select(_n.label).where(_n.name == "repository")
        with self._database.reading() as connection:
            last = {row.label: row.value for row in connection.execute(times)}
            return sorted(connection.execute(names).scalars(), key=lambda name: (-last.get(name, 0), name))

    def caught_up_to(self, hook: str) -> int:
        """Return the id up to which all attempts of the hook were processed; 0 if it was never read completely."""
        query = select(_n.value).where(_n.name == CAUGHT_UP_TO, _n.label == hook)
        with self._database.reading() as connection:
            return connection.execute(query).scalar() or 0

    def save_caught_up_to(self, hook: str, attempt_id: int) -> None:
        with self._database.writing(durable=False) as connection:
            self._counters.set_values(connection, CAUGHT_UP_TO, {hook: attempt_id})

    def acquire(self, held: int = 0) -> int | None:
        """Return a lease of a minute for reading, or `held` renewed; None while another process has one."""
        with self._database.writing(durable=False) as connection:
            now = self._database.now_in(connection)
            row = {"name": CATCH_UP_LEASE, "label": "", "value": 0}
            self._database.insert_rows(connection, counters, [row], if_new=True)
            # One that ends later than a new lease was taken before the clock was set back.
            may_take = or_(_n.value == held, _n.value <= now, _n.value > now + LEASE_MS)
            taken = connection.execute(self._lease.where(may_take).values(value=now + LEASE_MS))
        return now + LEASE_MS if taken.rowcount else None

    def release(self, lease: int | None = None) -> None:
        """End the lease; with None, that of any process."""
        held = self._lease if lease is None else self._lease.where(_n.value == lease)
        with self._database.writing(durable=False) as connection:
            connection.execute(held.values(value=0))
