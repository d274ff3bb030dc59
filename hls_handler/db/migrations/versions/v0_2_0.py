"""Create all tables of version 0.2.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.2.0"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bot_accounts",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("account_type", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_table(
        "comments",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("comment_id", sa.BigInteger(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number", "family"),
    )
    op.create_table(
        "corrections",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("corrected_to", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("is_pull_request", sa.Boolean(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number", "label"),
    )
    op.create_index("ix_corrections_newest", "corrections", ["repository_id", "bot_login", "recorded_at"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label"),
    )
    op.create_table(
        "deleted_calls",
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("replies", sa.BigInteger(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("calls_of_unknown_cost", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_error_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("prompt_id"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", Id, nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_kind", sa.Text(), nullable=True),
        sa.Column("repository_id", sa.BigInteger(), nullable=True),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("head_sha", sa.Text(), nullable=True),
        sa.Column("conversation_key", sa.Text(), nullable=True),
        sa.Column("posted_on", sa.BigInteger(), nullable=True),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sort_key", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("handler", sa.Text(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("has_progress", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("first_failure_at", sa.BigInteger(), nullable=True),
        sa.Column("analysis_status", sa.Text(), nullable=True),
        sa.Column("analysis_error", sa.Text(), nullable=True),
        sa.Column("posting_status", sa.Text(), nullable=True),
        sa.Column("posting_error", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'ignored', 'superseded', 'dead')", name="ck_deliveries_state"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("guid"),
    )
    op.create_index(
        "ix_deliveries_commit",
        "deliveries",
        ["conversation_key", "state", "head_sha"],
        unique=False,
        sqlite_where=sa.text("state = 'queued' AND event = 'pull_request'"),
        postgresql_where=sa.text("state = 'queued' AND event = 'pull_request'"),
    )
    op.create_index("ix_deliveries_conversation", "deliveries", ["conversation_key", "state", "id"], unique=False)
    op.create_index(
        "ix_deliveries_dead",
        "deliveries",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index(
        "ix_deliveries_digest",
        "deliveries",
        ["digest"],
        unique=False,
        sqlite_where=sa.text("digest IS NOT NULL"),
        postgresql_where=sa.text("digest IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_finished",
        "deliveries",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_finished_with_body",
        "deliveries",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL AND body IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL AND body IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_lease",
        "deliveries",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_deliveries_number", "deliveries", ["repository", "number"], unique=False)
    op.create_index(
        "ix_deliveries_posted_on",
        "deliveries",
        ["repository", "posted_on"],
        unique=False,
        sqlite_where=sa.text("posted_on IS NOT NULL"),
        postgresql_where=sa.text("posted_on IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_queued",
        "deliveries",
        ["sort_key", "id", "due_at", "conversation_key"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "uq_deliveries_one_running_per_conversation",
        "deliveries",
        ["conversation_key"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "labels",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("prompt_id", sa.Text(), nullable=True),
        sa.Column("set_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number", "name"),
    )
    op.create_table(
        "pauses",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "rate_limits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.Column("last_slot_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "repository_file_reports",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("guid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "version"),
    )
    op.create_table(
        "repository_files",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("read_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("valid_version", sa.Text(), nullable=True),
        sa.Column("valid_text", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("repository_id", "bot_login"),
    )
    op.create_table(
        "run_results",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("workflow_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("run_number", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "run_id", "attempt"),
    )
    op.create_index(
        "ix_run_results_workflow", "run_results", ["repository_id", "workflow_id", "run_number"], unique=False
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "step_failures",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("workflow_id", sa.BigInteger(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "run_id", "attempt", "job", "step"),
    )
    op.create_index(
        "ix_step_failures_workflow", "step_failures", ["repository_id", "workflow_id", "recorded_at"], unique=False
    )
    op.create_table(
        "analyses",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("reply_type", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("analysed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "step_index"),
    )
    op.create_table(
        "calls",
        sa.Column("id", Id, nullable=False),
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("conversation_key", sa.Text(), nullable=True),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_calls_delivery", "calls", ["delivery_id"], unique=False)
    op.create_index("ix_calls_prompt", "calls", ["prompt_id", "outcome", "cost_micro_usd", "id"], unique=False)
    op.create_index("ix_calls_started", "calls", ["started_at"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "name", "step_index"),
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("locked_until", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_locks_delivery", "locks", ["delivery_id"], unique=False)
    op.create_table(
        "slots",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("rate_limit", sa.Text(), nullable=False),
        sa.Column("slot_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "rate_limit"),
    )
