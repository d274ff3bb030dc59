"""What we remember of a repository across its threads: failed steps of workflows, what people made of our labels, and
where we have commented.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import bindparam, select

from hls_handler.deliveries import Lease
from hls_handler.handlers.record import Correction, Failure, Happened, RunEnd
from hls_handler.store.counters import field_of
from hls_handler.store.database import Database
from hls_handler.store.part import Part, Shared
from hls_handler.store.tables import comments, corrections, deliveries, run_ends, step_failures

DAY_MS = 24 * 3_600_000
KEPT_DAYS = 30
MOST_FAILURES = 500
MOST_ENDS = 500
FIELDS_OF_AN_ISSUE = 20
"""More corrections of one issue than this may keep those of another from being found."""

_f, _e, _c = step_failures.c, run_ends.c, corrections.c

_COMMENT = select(comments.c.comment_id).where(
    *(comments.c[name] == bindparam(name) for name in ("repository_id", "identity", "number", "family"))
)
_CORRECTIONS = (
    select(_c.number, _c.field, _c.said, _c.became, _c.title)
    .where(
        _c.repository_id == bindparam("repository_id"),
        _c.identity == bindparam("identity"),
        _c.is_pull_request.is_(False),
    )
    .order_by(_c.noted_at.desc(), _c.number.desc(), _c.field)
    .limit(bindparam("most"))
)


class RepositoryRecord(Part):
    """Implements `handlers.record.Record` for the lease's repository, as one identity."""

    def __init__(self, database: Database, shared: Shared, lease: Lease, identity: str) -> None:
        super().__init__(database, shared)
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

    def ends(self, workflow_id: int) -> tuple[RunEnd, ...]:
        lately = (
            select(run_ends)
            .where(
                _e.repository_id == self._lease.repository_id,
                _e.workflow_id == workflow_id,
                _e.noted_at > self._database.now - KEPT_DAYS * DAY_MS,
            )
            .order_by(_e.run_number.desc(), _e.attempt.desc())
            .limit(MOST_ENDS)
        )
        with self._database.reading() as connection:
            return tuple(
                RunEnd(
                    workflow_id=row.workflow_id,
                    event=row.event,
                    branch=row.branch,
                    run_id=row.run_id,
                    run_number=row.run_number,
                    attempt=row.attempt,
                    passed=row.passed,
                    head_sha=row.head_sha,
                )
                for row in connection.execute(lately)
            )

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        terms = {
            "repository_id": self._lease.repository_id,
            "identity": self._identity,
            "most": most * FIELDS_OF_AN_ISSUE,
        }
        newest: dict[int, Correction] = {}
        with self._database.reading() as connection:
            for row in connection.execute(_CORRECTIONS, terms):
                newest.setdefault(row.number, Correction(field_of(row.field), row.said, row.became, row.title))
        return tuple(newest.values())[:most]

    def has_comment(self, number: int, family: str) -> bool:
        where = {
            "repository_id": self._lease.repository_id,
            "identity": self._identity,
            "number": number,
            "family": family,
        }
        with self._database.reading() as connection:
            return connection.execute(_COMMENT, where).first() is not None


class Recording(Part):
    """The record that handlers read, and what is written into it."""

    def record(self, lease: Lease, identity: str) -> RepositoryRecord:
        """Our record of the lease's repository, as `identity` (our login)."""
        return RepositoryRecord(self._database, self._shared, lease, identity)

    def note(self, lease: Lease, happened: Happened) -> None:
        """Keep how runs ended and which steps failed for a while; what is known stays as it is. Raises `LeaseLost`."""
        if lease.repository_id is None or not (happened.ends or happened.failures):
            return
        with self._database.writing(durable=False) as connection:
            self._fenced(connection, lease)
            now = self._database.now_in(connection)
            for table, rows in (
                (step_failures, [asdict(failure) for failure in happened.failures]),
                (run_ends, [asdict(end) for end in happened.ends]),
            ):
                kept = {"repository_id": lease.repository_id, "noted_at": now}
                here = table.c.repository_id == lease.repository_id
                connection.execute(table.delete().where(here, table.c.noted_at <= now - KEPT_DAYS * DAY_MS))
                self._database.insert_rows(connection, table, [kept | row for row in rows], if_new=True)

    def note_thread(self, lease: Lease, number: int) -> None:
        """Keep on which thread it is said what comes of a delivery that is about none. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._fenced(connection, lease)
            connection.execute(deliveries.update().where(deliveries.c.id == row_id).values(said_on=number))
