"""Reviews of pull requests: what was reviewed, and the findings with their states."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, Executable, select

from hls_handler.db.counters import Counts
from hls_handler.db.database import Database
from hls_handler.db.tables import findings, reviews
from hls_handler.db.values import compress_text, decompress_text
from hls_handler.deliveries import Lease
from hls_handler.queue.checkpoints import Checkpoints
from hls_handler.review.dismissals import COMMAND
from hls_handler.review.record import (
    NO_REVIEW,
    LedgerEntry,
    ReviewRecord,
    dump_entry,
    dump_record,
    parse_record,
)
from hls_handler.store.conversations import ConversationRef, is_of_conversation

_f = findings.c
_REVIEW = select(reviews.c.reviewed).where(is_of_conversation(reviews))
_FINDINGS = (
    select(_f.finding_key, _f.details, _f.command)
    .where(is_of_conversation(findings))
    .order_by(_f.raised_at, _f.finding_key)
)


@dataclass(frozen=True, slots=True)
class ReviewChange:
    """Store what HLS knows about its reviews of a pull request."""

    conversation: ConversationRef
    record: ReviewRecord

    def write(self, database: Database, connection: Connection, _delivery_id: int) -> Counts:
        columns = self.conversation.columns
        record = self.record
        review = {
            **columns,
            "rounds": record.rounds,
            "reviewed": compress_text(dump_record(record)),
        }
        connection.execute(database.statement(_upsert_review), review)
        rows = [
            {
                **columns,
                "finding_key": entry.key,
                "category": entry.category,
                "prompt_id": entry.prompt_id,
                "state": entry.state,
                "comment_id": entry.comment_id,
                "is_accepted": entry.is_accepted,
                "details": dump_entry(entry),
            }
            for entry in sorted(
                record.ledger, key=lambda entry: entry.key
            )  # sorted to avoid deadlocks
        ]
        if rows:
            connection.execute(database.statement(_upsert_findings), rows)
        return {}


def _upsert_review(database: Database) -> Executable:
    return database.upsert(reviews, "rounds", "reviewed")


def _upsert_findings(database: Database) -> Executable:
    upsert = database.upsert(findings, "state", "comment_id", "is_accepted", "details")
    return database.make_rows_insert(upsert.values(raised_at=database.now))


class Reviews:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints

    def find(self, pull_request: ConversationRef) -> ReviewRecord:
        """Return what HLS knows about its reviews of a pull request; an empty record if there are
        none.
        """
        with self._database.reading() as connection:
            stored = connection.execute(_REVIEW, pull_request.columns).scalar()
            if stored is None:
                return NO_REVIEW
            rows = connection.execute(_FINDINGS, pull_request.columns).all()
        record = parse_record(decompress_text(stored), [row.details for row in rows])
        commands = {row.finding_key: row.command for row in rows if row.command is not None}
        return replace(
            record,
            ledger=tuple(_with_command(entry, commands.get(entry.key)) for entry in record.ledger),
        )

    def dismiss(
        self, lease: Lease, bot_login: str, finding_key: str, *, by: str, how: str = COMMAND
    ) -> None:
        """Store that the lease's event dismissed a finding of its pull request, or took that back.
        Raises `LeaseLost`.

        `how` is the beginning of the dismissal's key: `COMMAND`, `DELETED` or `UNDISMISSED`.

        Reviews do not write this column: one that runs meanwhile cannot undo the command, nor can
        its end lose it.
        """
        key = {"repository_id": lease.repository_id, "bot_login": bot_login, "number": lease.number}
        finding_conditions = (
            _f[name] == value for name, value in {**key, "finding_key": finding_key}.items()
        )
        command = f"{how}{lease.guid[:8]} by {by}"
        with self._checkpoints.writing(lease) as (connection, _):
            connection.execute(findings.update().where(*finding_conditions).values(command=command))


def _with_command(entry: LedgerEntry, command: str | None) -> LedgerEntry:
    if command is None or command in (*entry.dismissals, *entry.void_dismissals):
        return entry
    return replace(entry, dismissals=(*entry.dismissals, command))
