"""Audit: what people changed or allowed: in the console, through the API and with commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, func, select

from hls_handler.db.database import Database
from hls_handler.db.tables import audit
from hls_handler.db.values import from_row

Action = Literal[
    "retry",
    "discard",
    "pause",
    "resume",
    "trial",
    "catch-up",
    "forget",
    "triage",
    "undo triage",
    "continue",
]

_c = audit.c


@dataclass(frozen=True, slots=True)
class Change:
    id: int
    changed_at: datetime  # aware UTC
    person: str  # login at the proxy or on GitHub, "API key", "command line (mona on host)"
    action: Action
    object: str  # GUID, "owner/repo" or prompt id; "" for everything
    cost_usd: float | None
    reason: str | None  # that the person gave, or the limit that "continue" exceeds


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, person: str, action: Action, about: str) -> int:
        """Store a change that is none of the database; return its id."""
        with self._database.writing() as connection:
            return record_change(self._database, connection, person, action, about)

    def newest_id(self) -> int:
        """Return the id of the newest change; 0 if there is none."""
        with self._database.reading() as connection:
            return connection.execute(select(func.max(_c.id))).scalar() or 0

    def set_cost(self, change: int, cost_usd: float | None) -> None:
        if cost_usd is None:
            return
        cost = round(cost_usd * 1_000_000)
        with self._database.writing() as connection:
            connection.execute(audit.update().where(_c.id == change).values(cost_micro_usd=cost))

    def find(
        self,
        *,
        person: str = "",
        action: Action | None = None,
        about: str = "",
        before: int | None = None,
        most: int,
    ) -> Sequence[Change]:
        """Return the newest changes, only of people whose name contains `person`, of this action,
        of the object `about`, and with an id below `before`.
        """
        query = select(audit).order_by(_c.id.desc()).limit(most)
        if person:
            query = query.where(_c.person.icontains(person, autoescape=True))
        if action is not None:
            query = query.where(_c.action == action)
        if about:
            query = query.where(_c.object == about)
        if before is not None:
            query = query.where(_c.id < before)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            from_row(
                Change,
                row,
                cost_usd=None if row.cost_micro_usd is None else row.cost_micro_usd / 1_000_000,
            )
            for row in rows
        ]


def record_change(
    database: Database,
    connection: Connection,
    person: str,
    action: Action,
    about: str,
    reason: str | None = None,
) -> int:
    """Store a change in the transaction that makes it; return its id."""
    new = audit.insert().values(
        changed_at=database.now, person=person, action=action, object=about, reason=reason
    )
    change: int = connection.execute(new.returning(_c.id)).scalar_one()
    return change
