"""Reviews of pull requests: what was reviewed, and the findings with their states."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    select,
    tuple_,
)

from hls_handler.db.counters import Counts
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, findings, reviews
from hls_handler.db.values import compress_text, decompress_text
from hls_handler.deliveries import Lease
from hls_handler.queue.checkpoints import Checkpoints
from hls_handler.review.dismissals import COMMAND
from hls_handler.review.proposals import MIN_DISMISSED, MIN_FINDINGS, CategoryFindings
from hls_handler.review.record import (
    NO_REVIEW,
    FindingState,
    LedgerEntry,
    ReviewRecord,
    dump_entry,
    dump_record,
    parse_record,
)
from hls_handler.review.rules import RaisedFinding
from hls_handler.store.conversations import ConversationRef, of_conversation

_f = findings.c
_d = deliveries.c
_REVIEW = select(reviews.c.reviewed).where(of_conversation(reviews))
_FINDINGS = (
    select(_f.finding_key, _f.details, _f.command)
    .where(of_conversation(findings))
    .order_by(_f.raised_at, _f.finding_key)
)


MAX_GROUPS = 20  # of `Reviews.find_often_dismissed`


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
                "severity": entry.severity,
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
    return database.of_many_rows(upsert.values(raised_at=database.now, changed_at=database.now))


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

    def find_often_dismissed(
        self, period: timedelta, repository: str | None = None
    ) -> list[CategoryFindings]:
        """Return the findings raised within a period up to now, by repository and category, of
        groups of at least `MIN_FINDINGS`, of which people dismissed at least `MIN_DISMISSED`.

        There are at most `MAX_GROUPS`, those with the greatest share of dismissals first.
        """
        is_within = _f.raised_at > self._database.now - period // timedelta(milliseconds=1)
        with self._database.reading() as connection:
            groups = connection.execute(_select_often_dismissed(is_within, repository)).all()
            if not groups:
                return []
            keys = [(group.repository_id, group.category) for group in groups]
            wanted = tuple_(_f.repository_id, _f.category).in_(keys)
            details = select(_f.repository_id, _f.category, _f.details).where(is_within, wanted)
            rows = connection.execute(details).all()
        stored: dict[tuple[int, str], list[str]] = {}
        for row in rows:
            stored.setdefault((row.repository_id, row.category), []).append(row.details)
        return [
            CategoryFindings(
                group.repository,
                group.category,
                parse_record(None, stored[group.repository_id, group.category]).ledger,
            )
            for group in groups
        ]

    def newest_findings(
        self, repository_id: int, *, most: int, states: Collection[FindingState] = ()
    ) -> list[RaisedFinding]:
        """Return the findings of all pull requests of a repository in these states, () for all, the
        last raised first.
        """
        is_of = _f.repository_id == repository_id
        query = (
            select(_f.number, _f.details)
            .where(and_(is_of, _f.state.in_(states)) if states else is_of)
            .order_by(_f.raised_at.desc(), _f.number.desc(), _f.finding_key)
            .limit(most)
        )
        found: list[RaisedFinding] = []
        with self._database.reading() as connection:
            for row in connection.execute(query):
                ledger = parse_record(None, [row.details]).ledger
                found += [RaisedFinding(row.number, entry) for entry in ledger]
        return found

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
        of_finding = (
            _f[name] == value for name, value in {**key, "finding_key": finding_key}.items()
        )
        command = f"{how}{lease.guid[:8]} by {by}"
        with self._checkpoints.writing(lease) as (connection, _):
            connection.execute(findings.update().where(*of_finding).values(command=command))


def _select_often_dismissed(
    is_within: ColumnElement[bool], repository: str | None
) -> Select[int, str, str]:
    dismissed = func.sum(case((_f.state == "dismissed", 1), else_=0))
    share = dismissed / func.count()
    groups = (
        select(_f.repository_id, _f.category, share.label("share"))
        .add_columns(func.max(_f.number).label("number"))
        .where(is_within)
        .group_by(_f.repository_id, _f.category)
        .having(func.count() >= MIN_FINDINGS, dismissed >= MIN_DISMISSED)
        .subquery()
    )
    found = groups.c
    key = cast(found.repository_id, Text) + "#" + cast(found.number, Text)
    of_number = deliveries.alias()
    newest = select(func.max(of_number.c.id)).where(of_number.c.conversation_key == key)
    named = (
        select(found.repository_id, found.category, _d.repository)
        .select_from(groups)
        .join(deliveries, _d.id == newest.scalar_subquery())
    )
    if repository is not None:
        named = named.where(func.lower(_d.repository) == repository.lower())
    return named.order_by(found.share.desc(), *found).limit(MAX_GROUPS)


def _with_command(entry: LedgerEntry, command: str | None) -> LedgerEntry:
    if command is None or command in (*entry.dismissals, *entry.void_dismissals):
        return entry
    return replace(entry, dismissals=(*entry.dismissals, command))
