"""Pauses: the operator holds back all work, or that of one repository, while deliveries queue up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, FromClause, exists, func, literal_column, or_, select

from hls_handler.store.clock import from_ms
from hls_handler.store.part import Part
from hls_handler.store.tables import pauses

_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Pause:
    repository: str | None  # "owner/repo"; None: everything
    reason: str | None
    paused_at: datetime  # aware UTC


class Pausing(Part):
    """What is paused outlives restarts and holds for all machines; what runs already ends."""

    def pause(self, repository: str | None, *, reason: str | None) -> bool:
        """Begin no more work on a repository ("owner/repo", in any case), or on any; False if that was so before.

        A reason given now takes the place of the one before.
        """
        new = self._database.insert(pauses).values(
            name=_name(repository), repository=repository, reason=reason, paused_at=self._database.now
        )
        with self._database.writing() as connection:
            known = connection.execute(select(pauses.c.name).where(pauses.c.name == _name(repository))).first()
            connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"reason": reason}))
        return known is None

    def resume(self, repository: str | None) -> bool:
        """Let work go on; False if it was not paused. A pause of everything and those of repositories are apart."""
        with self._database.writing() as connection:
            gone = connection.execute(pauses.delete().where(pauses.c.name == _name(repository)))
            self._database.ring(connection)
        return gone.rowcount > 0

    def pauses(self) -> list[Pause]:
        """What is paused: everything first, then repositories by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(pauses).order_by(pauses.c.name)).all()
        return [Pause(row.repository, row.reason, from_ms(row.paused_at)) for row in rows]


def paused(deliveries: FromClause) -> ColumnElement[bool]:
    """Whether a delivery of this table may not be begun. One that is about no repository waits only for everything."""
    # Neither list depends on the delivery: each is read once, not once for each that is looked at.
    named = func.coalesce(func.lower(deliveries.c.repository), literal_column("''"))
    return or_(exists().where(pauses.c.name == _EVERYTHING), named.in_(select(pauses.c.name)))


def _name(repository: str | None) -> str:
    return _EVERYTHING if repository is None else repository.lower()
