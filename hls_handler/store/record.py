"""What we remember of a repository across its threads: failed steps of workflows, what people made of our labels, and
where we have commented.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from hls_handler.deliveries import Lease
from hls_handler.handlers.record import Correction, Failure
from hls_handler.store.counters import field_of
from hls_handler.store.database import Database
from hls_handler.store.part import Part
from hls_handler.store.tables import comments, corrections, step_failures

DAY_MS = 24 * 3_600_000
KEPT_DAYS = 30
MOST_FAILURES = 500
FIELDS_OF_AN_ISSUE = 20
"""More corrections of one issue than this may keep those of another from being found."""

_f, _c = step_failures.c, corrections.c


class RepositoryRecord(Part):
    """Implements `handlers.record.Record` for the lease's repository, as one identity."""

    def __init__(self, database: Database, lease: Lease, identity: str) -> None:
        super().__init__(database)
        self._lease, self._identity = lease, identity

    @property
    def account(self) -> str:
        return self._identity

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        lately = (
            select(step_failures)
            .where(
                _f.repository_id == self._lease.repository_id,
                _f.workflow_id == workflow_id,
                _f.noted_at > self._database.now - min(days, KEPT_DAYS) * DAY_MS,
            )
            .order_by(_f.noted_at.desc(), _f.run_id.desc(), _f.attempt.desc(), _f.job, _f.step)
            .limit(MOST_FAILURES)
        )
        with self._database.reading() as connection:
            return tuple(
                Failure(
                    workflow_id=row.workflow_id,
                    run_id=row.run_id,
                    attempt=row.attempt,
                    job=row.job,
                    step=row.step,
                    branch=row.branch,
                    head_sha=row.head_sha,
                )
                for row in connection.execute(lately)
            )

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        lately = (
            select(_c.number, _c.field, _c.said, _c.became, _c.title)
            .where(
                _c.repository_id == self._lease.repository_id,
                _c.identity == self._identity,
                _c.is_pull_request.is_(False),
            )
            .order_by(_c.noted_at.desc(), _c.number.desc(), _c.field)
            .limit(most * FIELDS_OF_AN_ISSUE)
        )
        newest: dict[int, Correction] = {}
        with self._database.reading() as connection:
            for row in connection.execute(lately):
                newest.setdefault(row.number, Correction(field_of(row.field), row.said, row.became, row.title))
        return tuple(newest.values())[:most]

    def has_comment(self, number: int, family: str) -> bool:
        known = select(comments.c.comment_id).where(
            comments.c.repository_id == self._lease.repository_id,
            comments.c.identity == self._identity,
            comments.c.number == number,
            comments.c.family == family,
        )
        with self._database.reading() as connection:
            return connection.execute(known).first() is not None


class Recording(Part):
    """The record that handlers read, and what is written into it."""

    def record(self, lease: Lease, identity: str) -> RepositoryRecord:
        """Our record of the lease's repository, as `identity` (our login)."""
        return RepositoryRecord(self._database, lease, identity)

    def note_failures(self, lease: Lease, failures: Sequence[Failure]) -> None:
        """Keep failed steps for a while; those known already stay as they are. Raises `LeaseLost`."""
        if not failures or lease.repository_id is None:
            return
        with self._database.writing() as connection:
            self._fenced(connection, lease)
            now = self._database.now_in(connection)
            connection.execute(
                step_failures.delete().where(
                    _f.repository_id == lease.repository_id, _f.noted_at <= now - KEPT_DAYS * DAY_MS
                )
            )
            new = self._database.insert(step_failures)
            connection.execute(
                new.on_conflict_do_nothing(),
                [
                    {
                        "repository_id": lease.repository_id,
                        "run_id": failure.run_id,
                        "attempt": failure.attempt,
                        "job": failure.job,
                        "step": failure.step,
                        "workflow_id": failure.workflow_id,
                        "branch": failure.branch,
                        "head_sha": failure.head_sha,
                        "noted_at": now,
                    }
                    for failure in failures
                ],
            )
