"""Add the tables and columns of version 0.4.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.0"
down_revision = "0.3.0"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "findings",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("finding_key", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("comment_id", sa.BigInteger()),
        sa.Column("is_accepted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("command", sa.Text()),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number", "finding_key"),
    )
    op.create_index("ix_findings_prompt", "findings", ["prompt_id", "category", "state", "is_accepted"])
    raised = ["raised_at", "repository_id", "number", "state", "is_accepted"]
    op.create_index("ix_findings_raised", "findings", raised)
    op.create_table(
        "reviews",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reviewed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number"),
    )
    op.add_column("deliveries", sa.Column("is_command", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("deliveries", sa.Column("author", sa.Text()))
    op.add_column("analyses", sa.Column("saved_micro_usd", sa.BigInteger()))
    op.create_index(
        "ix_deliveries_commands",
        "deliveries",
        ["sort_key", "id"],
        sqlite_where=sa.text("state = 'queued' AND is_command = 1"),
        postgresql_where=sa.text("state = 'queued' AND is_command"),
    )
    op.add_column("deliveries", sa.Column("sender", sa.Text()))
    op.add_column("deliveries", sa.Column("title", sa.Text()))
    op.create_index("ix_deliveries_request", "deliveries", ["request_id"])
    op.add_column("checkpoints", sa.Column("started_at", sa.BigInteger()))
    op.add_column("checkpoints", sa.Column("github_requests", sa.BigInteger()))
    op.add_column("calls", sa.Column("review_key", sa.Text()))
    op.add_column("calls", sa.Column("request_digest", sa.LargeBinary()))
    op.create_table(
        "prompt_versions",
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("sources", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("prompt_id"),
    )
    has_key = sa.text("review_key IS NOT NULL")
    op.create_index(
        "ix_calls_review",
        "calls",
        ["review_key", "delivery_id", "cost_micro_usd"],
        sqlite_where=has_key,
        postgresql_where=has_key,
    )
    op.create_table(
        "deleted_review_calls",
        sa.Column("review_key", sa.Text(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("review_key"),
    )
    op.create_table(
        "cached_replies",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("reply_type", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger()),
        sa.Column("stored_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest"),
    )
    op.create_index("ix_cached_replies_stored", "cached_replies", ["stored_at"])
    op.create_table(
        "stops",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("stopped_by", sa.Text(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "number"),
    )
    op.create_table(
        "checks",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("commit_sha", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("check_run_id", sa.BigInteger()),
        sa.Column("is_shown", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("begun_at", sa.BigInteger()),
        sa.Column("must_end", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("rejected", sa.Text()),
        sa.Column("ending_until", sa.BigInteger()),
        sa.Column("conclusion", sa.Text()),
        sa.Column("is_exempt", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("ended_by_service", sa.Text()),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "commit_sha"),
    )
    is_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_checks_open",
        "checks",
        ["repository_id", "commit_sha"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "counter_hours",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "hour", "label"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_analyses_newest", "analyses", ["analysed_at", "delivery_id", "step_index"])
    op.create_index("ix_corrections_recorded", "corrections", ["recorded_at"])
