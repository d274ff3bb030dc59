"""Stops: the command /stop ends the work on a pull request until /resume."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import stops
from hls_handler.db.values import from_ms
from hls_handler.deliveries import Lease
from hls_handler.queue.checkpoints import Checkpoints

_OF_PULL_REQUEST = and_(stops.c.repository_id == bindparam("of_repository"), stops.c.number == bindparam("of_number"))
_FIND = select(stops.c.stopped_by, stops.c.stopped_at).where(_OF_PULL_REQUEST)
_DELETE = stops.delete().where(_OF_PULL_REQUEST)


@dataclass(frozen=True, slots=True)
class Stop:
    by: str  # login
    at: datetime  # aware UTC

    def __str__(self) -> str:
        return f"{self.by} stopped HLS on this pull request at {self.at:%Y-%m-%d %H:%M} UTC; /resume ends the stop"


class Stops:
    """The stopped pull requests. A stop applies to all accounts of HLS."""

    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database, self._checkpoints = database, checkpoints

    def add(self, lease: Lease, number: int, *, by: str) -> None:
        """Stop the pull request `number` of the lease's repository. An existing stop stays. Raises `LeaseLost`."""
        row = {"repository_id": lease.repository_id, "number": number, "stopped_by": by}
        with self._checkpoints.writing(lease) as (connection, _):
            row["stopped_at"] = self._database.now_in(connection)
            self._database.insert_rows(connection, stops, [row], if_new=True)

    def remove(self, lease: Lease, number: int) -> None:
        """End the stop of the pull request `number`, if there is one. Raises `LeaseLost`."""
        with self._checkpoints.writing(lease) as (connection, _):
            connection.execute(_DELETE, {"of_repository": lease.repository_id, "of_number": number})

    def find(self, repository_id: int, number: int) -> Stop | None:
        with self._database.reading() as connection:
            row = connection.execute(_FIND, {"of_repository": repository_id, "of_number": number}).first()
        return None if row is None else Stop(row.stopped_by, from_ms(row.stopped_at))
