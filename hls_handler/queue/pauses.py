"""Pauses: the deliveries of a paused repository, or all deliveries, are stored but not
processed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, FromClause, exists, func, literal_column, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import pauses
from hls_handler.db.values import from_ms
from hls_handler.logs import log_act

_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Pause:
    repository: str | None  # "owner/repo"; None: everything
    reason: str | None
    paused_at: datetime  # aware UTC


class Pauses:
    """The pauses that operators set. They survive restarts and apply to all machines, but not to
    running deliveries.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def pause(self, repository: str | None, *, reason: str | None, by: str) -> bool:
        """Pause "owner/repo", or everything (None). If already paused, replace only the reason and
        return False.

        `by` is the person who does it.
        """
        new = self._database.insert(pauses).values(
            name=_name(repository),
            repository=repository,
            reason=reason,
            paused_at=self._database.now,
        )
        with self._database.writing() as connection:
            pause = connection.execute(
                select(pauses.c.name).where(pauses.c.name == _name(repository))
            ).first()
            connection.execute(
                new.on_conflict_do_update(index_elements=["name"], set_={"reason": reason})
            )
        log_act(by, "pause", [repository or _EVERYTHING], reason=reason)
        return pause is None

    def resume(self, repository: str | None, *, by: str) -> bool:
        """End the pause of "owner/repo", or the pause of everything (None). Return False if there
        is no such pause.
        """
        with self._database.writing() as connection:
            deleted = connection.execute(pauses.delete().where(pauses.c.name == _name(repository)))
        if deleted.rowcount:
            log_act(by, "resume", [repository or _EVERYTHING])
        return deleted.rowcount > 0

    def active(self) -> list[Pause]:
        """Return all pauses: the pause of everything first, then repositories by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(pauses).order_by(pauses.c.name)).all()
        return [Pause(row.repository, row.reason, from_ms(row.paused_at)) for row in rows]


def is_paused(deliveries: FromClause) -> ColumnElement[bool]:
    """Return the SQL condition that a delivery is paused, by the pause of its repository or of
    everything.
    """
    # Neither subquery depends on the delivery, so each is evaluated once.
    named = func.coalesce(func.lower(deliveries.c.repository), literal_column("''"))
    return or_(is_everything_paused(), named.in_(select(pauses.c.name)))


def is_everything_paused() -> ColumnElement[bool]:
    return exists().where(pauses.c.name == _EVERYTHING)


def _name(repository: str | None) -> str:
    if repository is None:
        return _EVERYTHING
    return repository.lower()


def find_pause(repository: str | None, pauses: Sequence[Pause]) -> Pause | None:
    """Return the pause that applies to "owner/repo", or None. If two apply, return the pause of
    everything.
    """
    name = (repository or "").lower()
    fitting = [
        pause for pause in pauses if pause.repository is None or pause.repository.lower() == name
    ]
    return min(fitting, key=lambda pause: pause.repository is not None, default=None)


def describe_pause(pause: Pause) -> str:
    """Return a sentence: "owner/repo is paused since 2026-11-20 20:00 UTC: a migration"."""
    what = pause.repository or "everything"
    since = f"{what} is paused since {pause.paused_at:%Y-%m-%d %H:%M} UTC"
    if not pause.reason:
        return since
    return f"{since}: {pause.reason}"


def resume_command(pause: Pause) -> str:
    """Return the command that ends the pause: "`hls resume owner/repo`", with backticks."""
    if not pause.repository:
        return "`hls resume`"
    return f"`hls resume {pause.repository}`"


def explain_pause(pause: Pause) -> str:
    """Return the sentence, and the command that ends the pause."""
    return f"{describe_pause(pause)}; {resume_command(pause)} ends the pause"


def pause_to_dict(pause: Pause) -> dict[str, object]:
    """Return the pause as JSON for /stats; `repository` is null for a pause of everything."""
    return {
        "repository": pause.repository,
        "reason": pause.reason,
        "since": pause.paused_at.isoformat(),
    }
