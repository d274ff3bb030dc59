"""The tables: everything that must survive, alike on SQLite and PostgreSQL.

Times are milliseconds since the epoch (UTC) by the database's clock, durations milliseconds, money micro-USD. Whoever
changes a table writes a migration; a test compares the two.
"""

from __future__ import annotations

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
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()

Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up by itself only in an INTEGER


class Words(TypeDecorator[str]):
    """Text that a stranger may have had a hand in: what a database cannot hold (NUL, half a surrogate) is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        if value is None or value.isprintable():
            return value
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _delivery() -> Column[int]:
    return Column("delivery_id", Id, ForeignKey("deliveries.id", ondelete="CASCADE"), nullable=False)


deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True),  # the order of acceptance
    Column("guid", Text, nullable=False, unique=True),
    Column("event", Words, nullable=False),
    Column("action", Words),
    Column("request_id", Words, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Words),  # why it waits, or why it ended so
    Column("reason_kind", Words),  # what ignored ones are counted under
    Column("repository_id", BigInteger),
    Column("repository", Words),
    Column("installation", BigInteger),
    Column("number", BigInteger),
    Column("head_sha", Words),
    Column("sender", Words),
    Column("thread_key", Text),  # "186853002#7"; one delivery of a key runs at a time
    Column("said_on", BigInteger),  # of one that is about no thread: the number of that on which it is said
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("rank", BigInteger, nullable=False, server_default="0"),  # the smallest goes first: ranks.py
    Column("received_at", BigInteger, nullable=False),  # for the first time
    Column("queued_at", BigInteger, nullable=False),  # by the door or by an operator, for the last time
    Column("due_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("took_ms", BigInteger),  # of the last run
    Column("handler", Text),
    Column("worker", Text),
    Column("lease_until", BigInteger),  # of a running one
    Column("attempt", Integer, nullable=False, server_default="0"),  # grows with every claim; the fence
    Column("attempts", Integer, nullable=False, server_default="0"),  # failures of its own
    Column("failures", Integer, nullable=False, server_default="0"),  # all failures, a dependency's too
    Column("crashes", Integer, nullable=False, server_default="0"),  # leases that ended without a new step
    Column("progressed", Boolean, nullable=False, server_default=false()),  # a step was recorded under this lease
    Column("first_failure_at", BigInteger),
    Column("analysis_status", Text),
    Column("analysis_error", Words),
    Column("posting_status", Text),
    Column("posting_error", Words),
    Column("digest", LargeBinary),  # SHA-256 of the body
    Column("body", LargeBinary),  # zstd; the last column, so that reading the others does not walk over it
    CheckConstraint(
        "state IN ('queued', 'running', 'done', 'ignored', 'superseded', 'dead')", name="ck_deliveries_state"
    ),
)

_QUEUED, _RUNNING, _DEAD = text("state = 'queued'"), text("state = 'running'"), text("state = 'dead'")
_QUEUED_COMMIT = text("state = 'queued' AND event = 'pull_request'")
_SAID_ELSEWHERE = text("said_on IS NOT NULL")
_HAS_DIGEST = text("digest IS NOT NULL")
_FINISHED = text("finished_at IS NOT NULL")
_HAS_OLD_BODY = text("finished_at IS NOT NULL AND body IS NOT NULL")

Index(
    "ix_deliveries_queued",
    deliveries.c.rank,
    deliveries.c.id,
    deliveries.c.due_at,  # this and the next only so that the search need not visit the rows
    deliveries.c.thread_key,
    sqlite_where=_QUEUED,
    postgresql_where=_QUEUED,
)
Index("ix_deliveries_lease", deliveries.c.lease_until, sqlite_where=_RUNNING, postgresql_where=_RUNNING)
Index("ix_deliveries_thread", deliveries.c.thread_key, deliveries.c.state, deliveries.c.id)
Index(
    "uq_deliveries_one_running_per_thread",
    deliveries.c.thread_key,
    unique=True,
    sqlite_where=_RUNNING,
    postgresql_where=_RUNNING,
)
Index(
    "ix_deliveries_commit",
    deliveries.c.thread_key,
    deliveries.c.state,  # always the same here, but without it SQLite takes the index above
    deliveries.c.head_sha,
    sqlite_where=_QUEUED_COMMIT,
    postgresql_where=_QUEUED_COMMIT,
)
Index("ix_deliveries_dead", deliveries.c.id, sqlite_where=_DEAD, postgresql_where=_DEAD)
Index("ix_deliveries_number", deliveries.c.repository, deliveries.c.number)
Index("ix_deliveries_digest", deliveries.c.digest, sqlite_where=_HAS_DIGEST, postgresql_where=_HAS_DIGEST)
Index(
    "ix_deliveries_said_on",
    deliveries.c.repository,
    deliveries.c.said_on,
    sqlite_where=_SAID_ELSEWHERE,
    postgresql_where=_SAID_ELSEWHERE,
)
Index("ix_deliveries_finished", deliveries.c.finished_at, sqlite_where=_FINISHED, postgresql_where=_FINISHED)
Index(
    "ix_deliveries_finished_with_body",
    deliveries.c.finished_at,
    sqlite_where=_HAS_OLD_BODY,
    postgresql_where=_HAS_OLD_BODY,
)

pauses = Table(
    "pauses",
    metadata,
    Column("name", Words, primary_key=True),  # "owner/repo" in small letters, or "*" for everything
    Column("repository", Words),  # as the operator wrote it; None for everything
    Column("reason", Words),
    Column("paused_at", BigInteger, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("delivery_id", Id, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("step_index", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("took_ms", BigInteger, nullable=False),
    Column("remembered_at", BigInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),  # JSON, zstd
)

calls = Table(
    "calls",
    metadata,
    Column("id", Id, primary_key=True),
    _delivery(),
    Column("step_index", Integer, nullable=False),  # from 100 on: of a shadow
    Column("thread_key", Text),
    Column("prompt_id", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("sender", Words),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),  # None: under way, or its worker died
    Column("outcome", Text),
    Column("error", Words),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("cache_read_tokens", BigInteger),
    Column("cost_micro_usd", BigInteger),
    Column("took_ms", BigInteger),
    Index("ix_calls_delivery", "delivery_id"),
    Index("ix_calls_started", "started_at"),
    # All but the first only so that summing a prompt up need not visit the rows.
    Index("ix_calls_prompt", "prompt_id", "outcome", "cost_micro_usd", "id"),
)

forgotten_calls = Table(
    "forgotten_calls",
    metadata,
    Column("prompt_id", Words, primary_key=True),
    Column("answers", BigInteger, nullable=False),
    Column("cost_micro_usd", BigInteger, nullable=False),
    Column("calls_of_unknown_cost", BigInteger, nullable=False),
    Column("last_error", Words),
    Column("last_error_at", BigInteger),
)

analyses = Table(
    "analyses",
    metadata,
    Column("id", Id, primary_key=True),
    _delivery(),
    Column("step_index", Integer, nullable=False),  # from 100 on: of a shadow
    Column("prompt_id", Words, nullable=False),
    Column("reply_type", Text, nullable=False),
    Column("model", Words, nullable=False),
    Column("reply", Words, nullable=False),  # JSON
    Column("analysed_at", BigInteger, nullable=False),
    UniqueConstraint("delivery_id", "step_index", name="uq_analyses_step"),
)

labels = Table(
    "labels",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, primary_key=True),  # our login
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Words, primary_key=True),
    Column("state", Text, nullable=False),  # "intended", "ours", "gone"
    Column("changed_at", BigInteger, nullable=False),
    Column("field", Words),  # its group, if it came from a reply; None of one from facts, or from before version 0005
    Column("prompt_id", Words),  # whose reply it was; None as above
    Column("set_at", BigInteger),  # when it was known to be on GitHub; None until then, and from before version 0005
)

corrections = Table(
    "corrections",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("said", Words, primary_key=True),  # the label that we had set
    Column("field", Words, nullable=False),  # the group of that label
    Column("became", Words, nullable=False),  # the label that people put in its place; "" for none
    Column("title", Words, nullable=False),  # of the thread, its beginning
    Column("prompt_id", Words, nullable=False),
    Column("is_pull_request", Boolean, nullable=False),
    Column("set_at", BigInteger, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Index("ix_corrections_newest", "repository_id", "identity", "noted_at"),
)

comments = Table(
    "comments",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("family", Text, primary_key=True),
    Column("comment_id", BigInteger, nullable=False),
    Column("body_digest", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)

step_failures = Table(
    "step_failures",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("job", Words, primary_key=True),
    Column("step", Words, primary_key=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("branch", Words, nullable=False),
    Column("head_sha", Words, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Index("ix_step_failures_workflow", "repository_id", "workflow_id", "noted_at"),
)

repository_files = Table(
    "repository_files",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, primary_key=True),
    Column("repository", Words, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    Column("version", Text),  # the blob's SHA, or what stands there in place of a file; None: nothing does
    Column("text", Words),  # redacted; None where there is none to read
    Column("flaw", Words),  # why there is none to read, though something stands there
    Column("good_version", Text),  # of the last one without problems; None once the file is gone
    Column("good_text", Words),
)

repository_file_tellings = Table(
    "repository_file_tellings",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("identity", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("guid", Text, nullable=False),  # the delivery that tells
    Column("told_at", BigInteger, nullable=False),
)

run_ends = Table(
    "run_ends",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("run_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("workflow_id", BigInteger, nullable=False),
    Column("event", Words, nullable=False),
    Column("branch", Words, nullable=False),
    Column("run_number", BigInteger, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("head_sha", Words, nullable=False),
    Column("noted_at", BigInteger, nullable=False),
    Index("ix_run_ends_workflow", "repository_id", "workflow_id", "run_number"),
)

identities = Table(
    "identities",
    metadata,
    Column("fingerprint", Text, primary_key=True),  # of the credential, never the credential
    Column("login", Words, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("account_type", Words, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Text, primary_key=True),
    _delivery(),
    Column("locked_until", BigInteger, nullable=False),
    Index("ix_locks_delivery", "delivery_id"),
)

pace = Table(
    "pace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next_at", BigInteger, nullable=False),  # the first slot that nobody has reserved
    Column("held_until", BigInteger, nullable=False),  # slots before this are void: the server said so
    Column("taken_at", BigInteger, nullable=False),  # when the last turn was taken, however late
)

turns = Table(
    "turns",
    metadata,
    Column("delivery_id", Id, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("pace", Text, primary_key=True),
    Column("slot_at", BigInteger, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("label", Words, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
