"""Stored history of repositories: workflow results, corrections, comments, and the repository's
settings file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, bindparam, func, select

from hls_handler.actions import field_of
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    comments,
    corrections,
    deliveries,
    repository_file_reports,
    repository_files,
    run_results,
    step_failures,
)
from hls_handler.db.values import HOUR_MS, from_row
from hls_handler.deliveries import Lease
from hls_handler.events import Issue
from hls_handler.handlers.reader import (
    CorrectedLabel,
    Failure,
    HistoryUpdate,
    RunResult,
    StoredIssue,
    StoredSection,
)
from hls_handler.queue.checkpoints import Checkpoints
from hls_handler.retrieval.words import question_words
from hls_handler.review.record import ReviewRecord
from hls_handler.settings.path_globs import PathFilter
from hls_handler.store.conversations import ConversationRef, is_of_conversation
from hls_handler.store.review_records import Reviews
from hls_handler.store.texts import NewText, Texts, document_scope, issue_scope
from hls_handler.untrusted.cleaning import clean_and_redact, clean_title

DAY_MS = 24 * HOUR_MS
RETENTION_DAYS = 30
MIN_SIMILAR = 0.2  # result of `rate` for an older issue that is shown
MAX_ISSUE_CHARS = 4_000
MAX_FAILURES = MAX_RESULTS = 500
MAX_CORRECTIONS_PER_ISSUE = 20
"""Corrections read for each requested issue. If one issue has more, fewer issues may be
returned.
"""

FindNearest = Callable[[str, str], Sequence[int]]
"""Given a scope of texts and a question, return the ids of the texts that fit it by their meaning,
best first.
"""

_f = step_failures.c
_r = run_results.c
_c = corrections.c
_d = deliveries.c
_file = repository_files.c
_report = repository_file_reports.c
_CORRECTIONS = (
    select(_c.number, _c.field, _c.label, _c.corrected_to, _c.title)
    .where(_c.repository_id == bindparam("of_repository"), _c.bot_login == bindparam("of_bot"))
    .where(_c.is_pull_request.is_(False))
    .order_by(_c.recorded_at.desc(), _c.number.desc(), _c.field)
    .limit(bindparam("limit"))
)
_COMMENT = select(comments.c.state).where(
    is_of_conversation(comments), comments.c.family == bindparam("of_family")
)


class StoredHistory:
    """The stored history of one repository and bot account; implements
    `handlers.reader.RepositoryHistory`.
    """

    def __init__(
        self,
        database: Database,
        reviews: Reviews,
        texts: Texts,
        repository_id: int | None,
        accounts: tuple[str, ...],
        find_nearest: FindNearest | None = None,
    ) -> None:
        self._database = database
        self._reviews = reviews
        self._texts = texts
        self._repository_id = repository_id
        self._find_nearest = find_nearest
        self.accounts = accounts
        self._bot_login = accounts[0]

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        query = (
            select(_f.workflow_id, _f.run_id, _f.attempt, _f.job, _f.step, _f.branch, _f.head_sha)
            .where(
                _f.repository_id == self._repository_id,
                _f.workflow_id == workflow_id,
                _f.recorded_at > self._database.now - min(days, RETENTION_DAYS) * DAY_MS,
            )
            .order_by(_f.recorded_at.desc(), _f.run_id.desc(), _f.attempt.desc(), _f.job, _f.step)
            .limit(MAX_FAILURES)
        )
        with self._database.reading() as connection:
            return tuple(Failure(**row._mapping) for row in connection.execute(query))

    def ends(self, workflow_id: int) -> tuple[RunResult, ...]:
        columns = (
            _r.workflow_id,
            _r.event,
            _r.branch,
            _r.run_id,
            _r.run_number,
            _r.attempt,
            _r.passed,
            _r.head_sha,
        )
        query = (
            select(*columns)
            .where(
                _r.repository_id == self._repository_id,
                _r.workflow_id == workflow_id,
                _r.recorded_at > self._database.now - RETENTION_DAYS * DAY_MS,
            )
            .order_by(_r.run_number.desc(), _r.attempt.desc())
            .limit(MAX_RESULTS)
        )
        with self._database.reading() as connection:
            return tuple(RunResult(**row._mapping) for row in connection.execute(query))

    def find_pull_request(self, repository: str, commit: str) -> int | None:
        query = select(func.max(_d.number)).where(
            _d.repository == repository, _d.event == "pull_request", _d.head_sha == commit
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def issue(
        self, number: int, family: str, *, most_corrections: int
    ) -> tuple[str | None, tuple[CorrectedLabel, ...]]:
        terms = {"of_repository": self._repository_id, "of_bot": self._bot_login}
        newest: dict[int, CorrectedLabel] = {}
        with self._database.reading() as connection:
            comment = connection.execute(
                _COMMENT, {**self._conversation(number).columns, "of_family": family}
            ).first()
            for row in connection.execute(
                _CORRECTIONS, {**terms, "limit": most_corrections * MAX_CORRECTIONS_PER_ISSUE}
            ):
                correction = CorrectedLabel(
                    field_of(row.field), row.label, row.corrected_to, row.title
                )
                newest.setdefault(row.number, correction)
        return comment.state if comment else None, tuple(newest.values())[:most_corrections]

    def sections(self, title: str, body: str, ignored: PathFilter) -> tuple[StoredSection, ...]:
        assert self._repository_id is not None
        nearest: Sequence[int] = ()
        if self._find_nearest is not None:
            question = clean_and_redact(f"{title}\n\n{body}")
            nearest = self._find_nearest(document_scope(self._repository_id), question)
        return self._texts.find_sections(
            self._repository_id, question_words(title, body), ignored, nearest
        )

    def similar_issues(
        self, number: int, title: str, body: str, labels: Collection[str]
    ) -> tuple[StoredIssue, ...]:
        assert self._repository_id is not None

        def admits(name: str, stored_labels: str | None) -> bool:
            return int(name) < number and _may_be_same(json.loads(stored_labels or "[]"), labels)

        texts = self._texts.search(
            issue_scope(self._repository_id), question_words(title, body), admits
        )
        return tuple(
            StoredIssue(int(text.name), text.score) for text in texts if text.score >= MIN_SIMILAR
        )

    def has_comment(self, number: int, family: str) -> bool:
        return self._comment(number, family) is not None

    def comment_state(self, number: int, family: str) -> str | None:
        comment = self._comment(number, family)
        return None if comment is None else comment.state

    def review(self, number: int) -> ReviewRecord:
        return self._reviews.find(self._conversation(number))

    def _comment(self, number: int, family: str) -> Row[*tuple[Any, ...]] | None:
        with self._database.reading() as connection:
            return connection.execute(
                _COMMENT, {**self._conversation(number).columns, "of_family": family}
            ).first()

    def _conversation(self, number: int) -> ConversationRef:
        assert self._repository_id is not None
        return ConversationRef(self._repository_id, self._bot_login, number)


def _may_be_same(labels: Collection[str], others: Collection[str]) -> bool:
    return not labels or not others or bool(set(labels) & set(others))


def text_of_issue(issue: Issue) -> NewText:
    labels = json.dumps([label.name for label in issue.labels])
    text = clean_and_redact(issue.body)[:MAX_ISSUE_CHARS]
    return NewText(str(issue.number), clean_title(issue.title), text, version=labels)


class Repositories:
    def __init__(
        self, database: Database, checkpoints: Checkpoints, reviews: Reviews, texts: Texts
    ) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._reviews = reviews
        self._texts = texts

    def history(
        self, repository_id: int | None, *accounts: str, find_nearest: FindNearest | None = None
    ) -> StoredHistory:
        """Return the history of the first of HLS's accounts."""
        texts = self._texts
        reviews = self._reviews
        return StoredHistory(self._database, reviews, texts, repository_id, accounts, find_nearest)

    def save(self, lease: Lease, history_update: HistoryUpdate) -> None:
        """Store workflow results and failed steps; delete those that are older than 30 days. Raises
        `LeaseLost`.

        Store the text of an issue in place of its older text, and delete those of closed issues.
        """
        if lease.repository_id is not None:
            closed = map(str, history_update.closed_issues)
            new = [text_of_issue(history_update.issue)] if history_update.issue is not None else []
            self._texts.replace(issue_scope(lease.repository_id), closed, new)
        if lease.repository_id is None or not (history_update.ends or history_update.failures):
            return
        with self._checkpoints.writing(lease, durable=False) as (connection, _):
            now = self._database.now_in(connection)
            for table, rows in (
                (step_failures, [asdict(failure) for failure in history_update.failures]),
                (run_results, [asdict(end) for end in history_update.ends]),
            ):
                columns = {"repository_id": lease.repository_id, "recorded_at": now}
                is_of_repository = table.c.repository_id == lease.repository_id
                is_old = table.c.recorded_at <= now - RETENTION_DAYS * DAY_MS
                connection.execute(table.delete().where(is_of_repository, is_old))
                self._database.insert_rows(
                    connection, table, [columns | row for row in rows], if_new=True
                )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A settings file as last read, and its last valid version. See the table
    `repository_files`.
    """

    version: str | None
    text: str | None
    error: str | None = None
    valid_version: str | None = None
    valid_text: str | None = None
    age_s: float = 0.0  # since it was read


class RepositoryFiles:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints
        age_ms = (database.now - _file.read_at).label("age_ms")
        newest = select(repository_files, age_ms).order_by(_file.read_at.desc()).limit(1)
        is_wanted = database.is_one_of(_file.repository_id, "of_ids")
        self._select = select(repository_files, age_ms).where(
            is_wanted, _file.bot_login == bindparam("of_bot")
        )
        self._select_by_name = newest.where(func.lower(_file.repository) == bindparam("of_name"))

    def find(self, bot_login: str, *ids: int) -> dict[int, StoredFile]:
        """Return the stored files, as the bot account last read them, by the ids that `save` was
        called with.
        """
        with self._database.reading() as connection:
            rows = connection.execute(self._select, {"of_ids": list(ids), "of_bot": bot_login})
            return {row.repository_id: _to_file(row) for row in rows}

    def find_by_name(self, name: str) -> StoredFile | None:
        """Return the newest stored file of "owner/repo" or "owner", of any bot account; None if
        none is stored.
        """
        with self._database.reading() as connection:
            row = connection.execute(self._select_by_name, {"of_name": name.lower()}).first()
        return None if row is None else _to_file(row)

    def save(
        self, lease: Lease, repository_id: int, repository: str, bot_login: str, file: StoredFile
    ) -> None:
        """Store the file that was just read. Raises `LeaseLost`.

        An organisation's file is stored with its negative id, and its name instead of "owner/repo".
        """
        columns = asdict(file) | {"repository": repository}
        del columns["age_s"]
        save = self._database.upsert(repository_files, "read_at", *columns).values(
            read_at=self._database.now
        )
        with self._checkpoints.writing(lease) as (connection, _):
            connection.execute(
                save, {"repository_id": repository_id, "bot_login": bot_login, **columns}
            )

    def claim_report(self, lease: Lease, repository_id: int, bot_login: str, version: str) -> bool:
        """Record that the delivery reports the problems of `version` of `.github/hls.yaml`. Raises
        `LeaseLost`.

        Return False if another delivery has reported them.
        """
        key = {"repository_id": repository_id, "bot_login": bot_login, "version": version}
        claim = [{**key, "guid": lease.guid}]
        reporter = select(_report.guid).where(
            _report.repository_id == repository_id,
            _report.bot_login == bot_login,
            _report.version == version,
        )
        with self._checkpoints.writing(lease) as (connection, _):
            self._database.insert_rows(connection, repository_file_reports, claim, if_new=True)
            return bool(connection.execute(reporter).scalar_one() == lease.guid)


def _to_file(row: Row[*tuple[Any, ...]]) -> StoredFile:
    # negative if the clock was set back
    return from_row(StoredFile, row, age_s=abs(row.age_ms) / 1000)
