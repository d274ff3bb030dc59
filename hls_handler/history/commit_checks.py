"""Stores the checks on commits: which delivery began each, and whether it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, not_, or_, select

from hls_handler.actions import CommitCheck
from hls_handler.db.database import Database
from hls_handler.db.tables import checks, deliveries
from hls_handler.db.values import from_ms, has_passed
from hls_handler.deliveries import OPEN_STATES, Lease, State
from hls_handler.errors import Postponed
from hls_handler.queue.changes import Change, DeliveryWriter, prepare

_c, _d = checks.c, deliveries.c
_OPEN = _c.ended_at.is_(None)
_IS_FINISHED = not_(_d.state.in_(OPEN_STATES))
_COLUMNS = (_c.external_id, _c.check_run_id, _c.is_shown, _c.rejected, _c.ended_at, _c.ending_until)


@dataclass(frozen=True, slots=True)
class UnendedCheck:
    """A check that is in progress although its delivery is finished."""

    delivery_id: int
    guid: str
    repository: str  # "owner/repo"
    state: State
    reason: str | None  # why the delivery ended in this state
    check: CommitCheck


class CommitChecks:
    def __init__(self, database: Database, writer: DeliveryWriter) -> None:
        self._database, self._writer = database, writer

    def begin(self, lease: Lease, commit: str, *, changes: Sequence[Change] = ()) -> CommitCheck:
        """Record that the delivery is about to begin its check on a commit, and return the check. Raises `LeaseLost`.

        A finished delivery's check on the same commit that has not ended becomes that of this delivery. Raises
        `Postponed` while another process is ending the check; the changes are stored nevertheless.
        """
        prepared = prepare(changes)
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease, prepared)
            own = _of(row_id, commit)
            mine = connection.execute(select(*_COLUMNS).where(own).with_for_update()).first()
            if mine is not None and (mine.ended_at is None or mine.rejected is not None):
                self._require_not_ending(connection, mine)
                return _to_check(commit, mine)
            left = connection.execute(
                select(_c.delivery_id, *_COLUMNS)
                .join(deliveries, _d.id == _c.delivery_id)
                .where(_c.repository_id == lease.repository_id, _c.commit_sha == commit, _OPEN, _IS_FINISHED)
                .order_by(_c.delivery_id.desc())
                .with_for_update(of=checks)
            ).first()
            if left is not None:
                self._require_not_ending(connection, left)
                ended = checks.update().where(_of(left.delivery_id, commit)).values(ended_at=self._database.now)
                connection.execute(ended)
            # GitHub keeps a check run that has ended, so a repeated delivery creates another one.
            external_id = lease.guid if mine is None else f"{lease.guid}:{lease.attempt}"
            check = CommitCheck(commit, external_id) if left is None else _to_check(commit, left)
            values: dict[str, object] = {
                "external_id": check.external_id,
                "check_run_id": check.check_run_id,
                "is_shown": check.is_shown,
                "begun_at": self._database.now,
                "ended_at": None,
                "ending_until": None,
                "ended_by_service": None,
            }
            if mine is not None:
                connection.execute(checks.update().where(own).values(values))
            else:
                key = {"delivery_id": row_id, "commit_sha": commit, "repository_id": lease.repository_id}
                connection.execute(checks.insert().values(**key, **values))
            return check

    def claim_unended(self, *, lease_s: float, slowest_write_s: float) -> UnendedCheck | None:
        """Return a check that is to be ended, for `lease_s` seconds not returned again; None if there is none.

        A check that GitHub did not confirm is left out for `slowest_write_s`, in which its creation may take effect.
        """
        now = self._database.now
        due = and_(
            or_(_c.ending_until.is_(None), has_passed(_c.ending_until, now)),
            or_(_c.is_shown, has_passed(_c.begun_at, now - int(slowest_write_s * 1000))),
        )
        query = (
            select(_c.delivery_id, _c.commit_sha, *_COLUMNS, _d.guid, _d.repository, _d.state, _d.reason)
            .join(deliveries, _d.id == _c.delivery_id)
            .where(_OPEN, _IS_FINISHED, due)
            .order_by(_c.repository_id, _c.commit_sha)  # the order of the index
            .limit(1)
        )
        with self._database.reading() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._database.writing(durable=False) as connection:
            row = connection.execute(query.with_for_update(of=checks, skip_locked=True)).first()
            if row is None:
                return None
            held = {"ending_until": now + int(lease_s * 1000)}
            connection.execute(checks.update().where(_of(row.delivery_id, row.commit_sha)).values(held))
        check = _to_check(row.commit_sha, row)
        return UnendedCheck(row.delivery_id, row.guid, row.repository or "", row.state, row.reason, check)

    def mark_ended(self, unended: UnendedCheck, result: str) -> None:
        """Store that the check was ended, and how, for `service_results`: "cancelled: Not reviewed: ..."."""
        mine = _of(unended.delivery_id, unended.check.commit)
        values = {"ended_at": self._database.now, "ended_by_service": result}
        with self._database.writing(durable=False) as connection:
            connection.execute(checks.update().where(mine, _OPEN).values(values))

    def service_results(self, guid: str) -> tuple[str, ...]:
        """Return how checks of the delivery were ended by `mark_ended`."""
        query = (
            select(_c.ended_by_service)
            .join(deliveries, _d.id == _c.delivery_id)
            .where(_d.guid == guid, _c.ended_by_service.is_not(None))
            .order_by(_c.begun_at)
        )
        with self._database.reading() as connection:
            return tuple(connection.execute(query).scalars())

    def _require_not_ending(self, connection: Connection, row: Row[*tuple[Any, ...]]) -> None:
        until = row.ending_until
        if until is not None and until > self._database.now_in(connection):
            raise Postponed("another process is ending the check on this commit", at=from_ms(until))


def _of(delivery_id: int, commit: str) -> ColumnElement[bool]:
    return and_(_c.delivery_id == delivery_id, _c.commit_sha == commit)


def _to_check(commit: str, row: Row[*tuple[Any, ...]]) -> CommitCheck:
    return CommitCheck(
        commit, row.external_id, row.check_run_id, bool(row.is_shown), is_new=False, rejected=row.rejected
    )
