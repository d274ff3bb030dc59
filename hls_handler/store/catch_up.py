"""State of catch-up in the database: how far each hook was read, and when a process last began to
read.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import and_, func, or_, select

from hls_handler.db.counters import CATCH_UP_BEGAN, CAUGHT_UP_TO, LAST_WEBHOOK, TOTAL, CounterWriter
from hls_handler.db.database import Database
from hls_handler.db.tables import counters, deliveries, repository_files

_CHUNK = 500  # GUIDs in one query

_n = counters.c


class CatchUpStore:
    def __init__(self, database: Database, counter_writer: CounterWriter) -> None:
        self._database = database
        self._counters = counter_writer

    def find_known(self, guids: Collection[str]) -> set[str]:
        """Return those of the GUIDs that are stored, in any state."""
        searched = list(guids)
        chunks = (searched[begin : begin + _CHUNK] for begin in range(0, len(searched), _CHUNK))
        query = select(deliveries.c.guid).where(
            self._database.is_one_of(deliveries.c.guid, "guids")
        )
        with self._database.reading() as connection:
            return {
                guid
                for chunk in chunks
                for guid in connection.execute(query, {"guids": chunk}).scalars()
            }

    def repository_names(self) -> dict[int, str]:
        """Return {repository id: "owner/repo"} of the repositories whose events were processed."""
        query = select(repository_files.c.repository_id, repository_files.c.repository)
        with self._database.reading() as connection:
            return {row.repository_id: row.repository for row in connection.execute(query)}

    def received_repositories(self) -> list[str]:
        """Return the names of all repositories whose events were ever received, the last active one
        first.
        """
        last = counters.alias("last")
        is_last = and_(last.c.name == LAST_WEBHOOK, last.c.label == _n.repository)
        is_of_repository = (_n.name == "event", _n.hour == TOTAL, _n.repository != "")
        query = select(_n.repository).outerjoin(last, is_last).where(*is_of_repository)
        newest = func.coalesce(func.max(last.c.value), 0).desc()
        query = query.group_by(_n.repository).order_by(newest, _n.repository)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def caught_up_to(self, hook: str) -> int:
        """Return the id up to which all attempts of the hook were processed; 0 if it was never read
        completely.
        """
        query = select(_n.value).where(_n.name == CAUGHT_UP_TO, _n.label == hook)
        with self._database.reading() as connection:
            return connection.execute(query).scalar() or 0

    def save_caught_up_to(self, hook: str, attempt_id: int) -> None:
        with self._database.writing(durable=False) as connection:
            self._counters.set_values(connection, CAUGHT_UP_TO, {hook: attempt_id})

    def begin_run(self, *, every: timedelta) -> bool:
        """Record that a run begins, unless a process began one within `every`; then return
        False.
        """
        with self._database.writing(durable=False) as connection:
            now = self._database.now_in(connection)
            row = {
                "name": CATCH_UP_BEGAN,
                "hour": TOTAL,
                "label": "",
                "repository": "",
                "value": 0,
            }
            self._database.insert_rows(connection, counters, [row], if_new=True)
            # A time in the future was stored before the clock was set back.
            is_due = or_(_n.value <= now - every // timedelta(milliseconds=1), _n.value > now)
            begin = counters.update().where(_n.name == CATCH_UP_BEGAN, _n.label == "", is_due)
            return connection.execute(begin.values(value=now)).rowcount > 0
