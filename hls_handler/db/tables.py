"""The tables of the database, the same on SQLite and PostgreSQL.

Times are milliseconds since the epoch (UTC) by the database's clock, durations milliseconds, money
micro-USD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
)

from hls_handler.db.values import UntrustedString

metadata = MetaData()

# SQLite increments automatically only an INTEGER
Id = BigInteger().with_variant(Integer(), "sqlite")


def _delivery(*, primary_key: bool = False) -> Column[int]:
    references = ForeignKey("deliveries.id", ondelete="CASCADE")
    return Column("delivery_id", Id, references, primary_key=primary_key, nullable=False)


def _conversation_columns() -> tuple[Column[Any], ...]:
    return (
        Column("repository_id", BigInteger, primary_key=True),
        Column("bot_login", Text, primary_key=True),
        Column("number", BigInteger, primary_key=True),
    )


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(
        name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where)
    )


deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True),  # in the order in which deliveries were stored
    Column("guid", Text, nullable=False, unique=True),
    Column("event", UntrustedString, nullable=False),
    Column("action", UntrustedString),
    Column("request_id", UntrustedString, nullable=False),
    Column("state", Text, nullable=False),
    Column("discarded_at", BigInteger),  # of a dead one: a person discarded it
    Column("reason", UntrustedString),  # why it waits, or why it ended in this state
    Column("cause", Text),  # `find_cause` of the reason, while it is queued or running, or dead
    Column("reason_kind", UntrustedString),  # the reason that ignored deliveries are counted under
    Column("repository_id", BigInteger),
    Column("repository", UntrustedString),
    Column("number", BigInteger),
    Column("head_sha", UntrustedString),
    Column(
        "author", UntrustedString
    ),  # login, of the issue or pull request; NULL unless `metrics.authors`
    Column("sender", UntrustedString),  # login; NULL if GitHub names none
    Column(
        "title", UntrustedString
    ),  # of the issue or pull request: cleaned, redacted, at most 200 characters
    Column(
        "conversation_key", Text
    ),  # "186853002#7"; at most one delivery of each key runs at a time
    Column("is_command", Boolean, nullable=False, server_default=false()),  # such as `/stop`
    Column(
        "posted_on", BigInteger
    ),  # number of the conversation to comment on, if the event names none
    Column("priority", Integer, nullable=False, server_default="0"),
    Column(
        "sort_key", BigInteger, nullable=False, server_default="0"
    ),  # the smallest is claimed first
    Column("received_at", BigInteger, nullable=False),  # when GitHub first sent it
    Column(
        "queued_at", BigInteger, nullable=False
    ),  # when the receiver or an operator last queued it
    Column("due_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("duration_ms", BigInteger),  # from the first receipt until a worker finished it
    Column("handler", Text),
    Column("github_requests", BigInteger),  # of all attempts that ended; NULL before the first end
    Column("worker", Text),
    Column("lease_until", BigInteger),  # while running
    Column(
        "attempt", Integer, nullable=False, server_default="0"
    ),  # incremented by every claim; the fencing token
    Column(
        "attempts", Integer, nullable=False, server_default="0"
    ),  # failures that count against max_attempts
    Column(
        "failures", Integer, nullable=False, server_default="0"
    ),  # all failures, including outages
    Column(
        "crashes", Integer, nullable=False, server_default="0"
    ),  # leases that ended without a new checkpoint
    Column("has_progress", Boolean, nullable=False, server_default=false()),  # since the last claim
    Column("first_failure_at", BigInteger),
    Column("analysis_status", Text),
    Column("analysis_error", UntrustedString),
    Column("posting_status", Text),
    Column("posting_error", UntrustedString),
    Column("batch_id", BigInteger),  # NULL: of a webhook
    Column(
        "digest", LargeBinary
    ),  # repository id and number (8 bytes each) and SHA-256 of the body
    Column(
        "body", LargeBinary
    ),  # zstd; the last column, so that SQLite reads the others without it
    CheckConstraint(
        "state IN ('queued', 'running', 'done', 'ignored', 'superseded', 'dead')",
        name="ck_deliveries_state",
    ),
    # The columns after the first two are only there to make the index covering.
    _partial_index(
        "ix_deliveries_queued",
        "sort_key",
        "id",
        "due_at",
        "conversation_key",
        "batch_id",
        where="state = 'queued'",
    ),
    Index(
        "ix_deliveries_commands",
        "sort_key",
        "id",
        sqlite_where=text("state = 'queued' AND is_command = 1"),
        postgresql_where=text("state = 'queued' AND is_command"),
    ),
    _partial_index("ix_deliveries_lease", "lease_until", where="state = 'running'"),
    Index("ix_deliveries_conversation", "conversation_key", "state", "id"),
    _partial_index(
        "uq_deliveries_one_running_per_conversation",
        "conversation_key",
        where="state = 'running'",
        unique=True,
    ),
    # The state is constant here, but without it SQLite uses the index `ix_deliveries_conversation`.
    _partial_index(
        "ix_deliveries_commit",
        "conversation_key",
        "state",
        "head_sha",
        where="state = 'queued' AND event = 'pull_request'",
    ),
    _partial_index("ix_deliveries_discarded", "discarded_at", "id", where="state = 'dead'"),
    # The state is constant here, but without it the indexes are not covering for SQLite.
    _partial_index(
        "ix_deliveries_dead_cause",
        "discarded_at",
        "cause",
        "id",
        "state",
        "batch_id",
        where="state = 'dead'",
    ),
    _partial_index(
        "ix_deliveries_queued_cause",
        "cause",
        "id",
        "due_at",
        "state",
        "batch_id",
        where="state = 'queued'",
    ),
    # The columns after the first make the index covering for the numbers of a span.
    Index("ix_deliveries_received", "received_at", "state", "batch_id"),
    Index("ix_deliveries_number", "repository", "number"),
    _partial_index("ix_deliveries_head", "head_sha", "number", where="event = 'pull_request'"),
    _partial_index("ix_deliveries_push", "repository", "received_at", where="event = 'push'"),
    Index("ix_deliveries_request", "request_id"),
    _partial_index("ix_deliveries_digest", "digest", where="digest IS NOT NULL"),
    _partial_index(
        "ix_deliveries_posted_on", "repository", "posted_on", where="posted_on IS NOT NULL"
    ),
    _partial_index("ix_deliveries_batch", "batch_id", "number", where="batch_id IS NOT NULL"),
    _partial_index("ix_deliveries_finished", "finished_at", where="finished_at IS NOT NULL"),
    _partial_index(
        "ix_deliveries_finished_with_body",
        "finished_at",
        where="finished_at IS NOT NULL AND body IS NOT NULL",
    ),
)

pauses = Table(
    "pauses",
    metadata,
    Column(
        "name", UntrustedString, primary_key=True
    ),  # "owner/repo" in lower case, or "*" for all repositories
    Column("repository", UntrustedString),  # as the operator wrote it; NULL for all repositories
    Column("reason", UntrustedString),
    Column("paused_at", BigInteger, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("repository_id", BigInteger),
    Column("repository", UntrustedString),
    Column("started_by", UntrustedString, nullable=False),  # as `operators.log_act`
    Column("started_at", BigInteger, nullable=False),
    Column("max_micro_usd", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # "open", "stopped", "undone"
    Column("terms", UntrustedString, nullable=False),  # JSON: the options
    Column("plan", UntrustedString, nullable=False),  # JSON: what was chosen, and left out
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _delivery(primary_key=True),
    Column("name", Text, primary_key=True),
    Column("step_index", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("started_at", BigInteger),  # NULL: of a step that is not measured
    Column("github_requests", BigInteger),  # that the step sent; NULL as above
    Column("value", LargeBinary, nullable=False),  # JSON, zstd
)

calls = Table(
    "calls",
    metadata,
    Column("id", Id, primary_key=True),
    _delivery(),
    Column("step_index", Integer, nullable=False),
    Column("conversation_key", Text),
    Column("prompt_id", UntrustedString, nullable=False),
    Column("model", UntrustedString, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),  # NULL: in progress, or its worker died
    Column("outcome", Text),
    Column("error", UntrustedString),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cost_micro_usd", BigInteger),
    Column("duration_ms", BigInteger),
    Column("request_id", UntrustedString),  # Claude's id of the request; NULL without a response
    Column("review_key", Text),  # pull request whose budget counts the call; else NULL
    Column("batch_id", BigInteger),
    # Of the row in `questions`; NULL: a reply from the cache
    Column("request_digest", LargeBinary),
    # The question asks to correct the invalid reply to the call before, which it follows.
    Column("is_correction", Boolean, nullable=False, server_default=false()),
    Column("output_cost_micro_usd", BigInteger),  # the part of the cost for output tokens
    # The call whose reply the cache of replies has used again; the outcome is then "cached".
    Column("paid_by", BigInteger),
    # Repository id (8 bytes) and digest of the question; NULL: the reply is not used again
    Column("cache_key", LargeBinary),
    # NULL: no valid reply
    Column("reply_type", Text),
    Column("lost", UntrustedString),  # JSON: why entries were left out, by field of the reply
    # Redacted: the JSON of a valid reply, or the text of one that cannot be used. The last column,
    # so that SQLite reads the others without it.
    Column("reply", UntrustedString),
    Index("ix_calls_delivery", "delivery_id"),
    Index("ix_calls_started", "started_at"),
    # The columns after the first only make the index covering for sums.
    Index("ix_calls_prompt", "prompt_id", "outcome", "cost_micro_usd", "id"),
    _partial_index(
        "ix_calls_review",
        "review_key",
        "delivery_id",
        "cost_micro_usd",
        where="review_key IS NOT NULL",
    ),
    _partial_index("ix_calls_batch", "batch_id", "cost_micro_usd", where="batch_id IS NOT NULL"),
    _partial_index("ix_calls_cache", "cache_key", "finished_at", where="cache_key IS NOT NULL"),
    _partial_index("ix_calls_paid_by", "paid_by", where="paid_by IS NOT NULL"),
    # The columns after the first are there for the order of replies with the same time.
    _partial_index(
        "ix_calls_newest",
        "finished_at",
        "delivery_id",
        "step_index",
        where="reply_type IS NOT NULL",
    ),
)

questions = Table(
    "questions",
    metadata,
    _delivery(primary_key=True),
    Column("digest", LargeBinary, primary_key=True),  # `calls.request_digest`
    Column("system_digest", LargeBinary, nullable=False),
    # zstd: the user's message as it was sent; of a correction the last message only
    Column("message", LargeBinary, nullable=False),
    Index("ix_questions_system", "system_digest"),
)

system_texts = Table(
    "system_texts",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("system", LargeBinary, nullable=False),  # zstd
    Column("schema", LargeBinary, nullable=False),  # zstd, JSON
)

deleted_calls = Table(
    "deleted_calls",
    metadata,
    Column("prompt_id", UntrustedString, primary_key=True),
    Column("replies", BigInteger, nullable=False),
    Column("cost_micro_usd", BigInteger, nullable=False),
    Column("calls_of_unknown_cost", BigInteger, nullable=False),
    Column("last_error", UntrustedString),
    Column("last_error_at", BigInteger),
)

deleted_review_calls = Table(
    "deleted_review_calls",
    metadata,
    Column("review_key", Text, primary_key=True),  # or "batch 3"
    Column("cost_micro_usd", BigInteger, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    *_conversation_columns(),
    Column("name", UntrustedString, primary_key=True),
    Column("state", Text, nullable=False),  # "intended", "set", "removed"
    Column(
        "field", UntrustedString
    ),  # its label group if a reply asked for it; NULL if only facts did
    Column("prompt_id", UntrustedString),  # of that reply; NULL if only facts asked for the label
    Column("set_at", BigInteger),  # when GitHub confirmed the label; NULL before
)

corrections = Table(
    "corrections",
    metadata,
    *_conversation_columns(),
    Column("label", UntrustedString, primary_key=True),  # the label that the bot set
    Column("field", UntrustedString, nullable=False),  # its label group
    Column(
        "corrected_to", UntrustedString, nullable=False
    ),  # the label that people set instead; "" for none
    Column("title", UntrustedString, nullable=False),  # beginning of the conversation's title
    Column("prompt_id", UntrustedString, nullable=False),
    Column("is_pull_request", Boolean, nullable=False),
    Column("set_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("ix_corrections_newest", "repository_id", "bot_login", "recorded_at"),
    Index("ix_corrections_recorded", "recorded_at"),
)

comments = Table(
    "comments",
    metadata,
    *_conversation_columns(),
    Column("family", Text, primary_key=True),
    Column("comment_id", BigInteger, nullable=False),
    Column("body_digest", Text, nullable=False),
    Column(
        "state", UntrustedString
    ),  # JSON: what the comment reports (`EnsureComment.state`); NULL if nothing
)

findings = Table(
    "findings",
    metadata,
    *_conversation_columns(),
    Column(
        "finding_key", Text, primary_key=True
    ),  # file, quoted line and category; see review/ledger.py
    Column("category", UntrustedString, nullable=False),
    Column("prompt_id", UntrustedString, nullable=False),  # of the reply that first raised it
    Column(
        "state", Text, nullable=False
    ),  # that in `details`, or "ignored": open when the pull request was closed
    Column("comment_id", BigInteger),  # of the review comment; NULL if only the summary has it
    Column(
        "is_accepted", Boolean, nullable=False, server_default=false()
    ),  # a person reacted with thumbs up
    Column("details", UntrustedString, nullable=False),  # JSON: the rest of the ledger's entry
    Column("command", Text),  # key of the last command about it; see review/dismissals.py
    Column("raised_at", BigInteger, nullable=False),
    # The columns after the first only make the index covering for sums.
    Index("ix_findings_raised", "raised_at", "repository_id", "number", "state", "is_accepted"),
)

reviews = Table(
    "reviews",
    metadata,
    *_conversation_columns(),
    Column("rounds", Integer, nullable=False, server_default="0"),  # reviews that ended
    Column("reviewed", LargeBinary),  # JSON, zstd: the digests of the reviewed changes by path
)

stops = Table(
    "stops",
    metadata,
    Column("repository_id", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("stopped_by", UntrustedString, nullable=False),  # login
    Column("stopped_at", BigInteger, nullable=False),
)

checks = Table(
    "checks",
    metadata,
    _delivery(primary_key=True),
    Column("commit_sha", Text, primary_key=True),
    Column("repository_id", BigInteger, nullable=False),
    Column("external_id", Text, nullable=False),  # of the check run; begins with the GUID
    Column(
        "check_run_id", BigInteger
    ),  # NULL: a commit status, or GitHub's response has not arrived
    Column(
        "is_shown", Boolean, nullable=False, server_default=false()
    ),  # GitHub confirmed that it is in progress
    Column("begun_at", BigInteger),  # NULL: nothing was written to GitHub
    # True: it is ended in any case, because a result on the commit is outdated, or because a limit
    # was reached.
    Column("must_end", Boolean, nullable=False, server_default=false()),
    Column("ended_at", BigInteger),
    Column("rejected", UntrustedString),  # why GitHub rejected the check; NULL if it did not
    Column("ending_until", BigInteger),  # while a process ends the check of a finished delivery
    Column("conclusion", Text),  # of the check that ended; NULL if none was set
    Column(
        "is_exempt", Boolean, nullable=False, server_default=false()
    ),  # settings exclude the commit from reviews
    Column(
        "ended_by_service", UntrustedString
    ),  # how such a process ended it: "cancelled: Not reviewed: ..."
    Index("ix_checks_commit", "repository_id", "commit_sha"),
    _partial_index("ix_checks_open", "repository_id", "commit_sha", where="ended_at IS NULL"),
)

step_failures = Table(
    "step_failures",
    metadata,
    Column("repository_id", BigInteger, primary_key=True),
    Column("run_id", BigInteger, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("job", UntrustedString, primary_key=True),
    Column("step", UntrustedString, primary_key=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("branch", UntrustedString, nullable=False),
    Column("head_sha", UntrustedString, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("ix_step_failures_workflow", "repository_id", "workflow_id", "recorded_at"),
)

repository_files = Table(
    "repository_files",
    metadata,
    Column(
        "repository_id", BigInteger, primary_key=True
    ),  # or the negative id of an organisation, for its file
    Column("bot_login", Text, primary_key=True),
    Column("repository", UntrustedString, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    Column(
        "version", Text
    ),  # the blob's SHA, or the type of another object at the path; NULL: nothing is there
    Column("text", UntrustedString),  # redacted; NULL if it cannot be read
    Column("error", UntrustedString),  # why it cannot be read although something is there
    Column("valid_version", Text),  # of the last valid file; NULL after the file was removed
    Column("valid_text", UntrustedString),
)

repository_file_reports = Table(
    "repository_file_reports",
    metadata,
    Column("repository_id", BigInteger, primary_key=True),
    Column("bot_login", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("guid", Text, nullable=False),  # the delivery that reports it
)

run_results = Table(
    "run_results",
    metadata,
    Column("repository_id", BigInteger, primary_key=True),
    Column("run_id", BigInteger, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("event", UntrustedString, nullable=False),
    Column("branch", UntrustedString, nullable=False),
    Column("run_number", BigInteger, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("head_sha", UntrustedString, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("ix_run_results_workflow", "repository_id", "workflow_id", "run_number"),
)

texts = Table(
    "texts",
    metadata,
    Column("id", Id, primary_key=True),
    Column(
        "scope", Text, nullable=False
    ),  # "document186853002", "issue186853002": a word of the full-text index
    Column("name", UntrustedString, nullable=False),  # path of the file, or number of the issue
    Column("line", Integer, nullable=False),  # first line of the section; 0 for an issue
    Column("end_line", Integer, nullable=False),
    Column(
        "title", UntrustedString, nullable=False
    ),  # headings of the section, or title of the issue
    Column("text", UntrustedString, nullable=False),  # cleaned and redacted
    Column(
        "words", UntrustedString, nullable=False
    ),  # stems of name, title and text, for the full-text index
    Column("version", Text),  # id of the file's blob; of an issue the JSON list of its labels
    Index("uq_texts_place", "scope", "name", "line", unique=True),
)

FULL_TEXT_INDEX: Mapping[str, str] = {
    "sqlite": """
CREATE VIRTUAL TABLE texts_words
    USING fts5(scope, words, content='texts', content_rowid='id', tokenize='unicode61');

CREATE TRIGGER texts_inserted AFTER INSERT ON texts BEGIN
    INSERT INTO texts_words(rowid, scope, words) VALUES (new.id, new.scope, new.words);
END;

CREATE TRIGGER texts_deleted AFTER DELETE ON texts BEGIN
    INSERT INTO texts_words(texts_words, rowid, scope, words)
    VALUES ('delete', old.id, old.scope, old.words);
END;
""",
    "postgresql": """
CREATE INDEX ix_texts_words ON texts USING gin (to_tsvector('simple', scope || ' ' || words));
""",
}
"""By dialect, the statements that create the index of `texts.words`, with an empty line between
them. Rows are inserted and deleted, never changed.
"""

document_indexes = Table(
    "document_indexes",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("commit_sha", Text),  # whose documentation is in `texts`; NULL: none, or that of two
    Column("checked_at", BigInteger, nullable=False),
)

bot_accounts = Table(
    "bot_accounts",
    metadata,
    Column("fingerprint", Text, primary_key=True),  # of the credential, never the credential itself
    Column("login", UntrustedString, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("account_type", UntrustedString, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Text, primary_key=True),
    _delivery(),
    Column("locked_until", BigInteger, nullable=False),
    Index("ix_locks_delivery", "delivery_id"),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", BigInteger, nullable=False),  # the first slot that is not reserved
    Column(
        "held_until", BigInteger, nullable=False
    ),  # no slot before this time: the server asked to wait, or failed
    Column("last_slot_at", BigInteger, nullable=False),  # when the last slot was used
)

slots = Table(
    "slots",
    metadata,
    _delivery(primary_key=True),
    Column("rate_limit", Text, primary_key=True),
    Column("slot_at", BigInteger, nullable=False),
    Column(
        "can_move", Boolean, nullable=False, server_default=false()
    ),  # to a later time, for a more urgent request
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    # The time when it begins; 0: since the first start. See `HOURLY` in db/counters.py.
    Column("hour", BigInteger, primary_key=True),
    Column("label", UntrustedString, primary_key=True),
    Column("repository", UntrustedString, primary_key=True),  # "": of none, or not counted by it
    Column("value", BigInteger, nullable=False),
    _partial_index("ix_counters_totals", "hour", where="hour = 0"),
    # Rows are stored in the order of the key, so that a period is read without lookups.
    sqlite_with_rowid=False,
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
