"""Add the tables of version 0.4.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.0"
down_revision = "0.3.0"


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
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number", "finding_key"),
    )
    op.create_index("ix_findings_prompt", "findings", ["prompt_id", "category", "state"])
    op.create_table(
        "reviews",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("bot_login", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reviewed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("repository_id", "bot_login", "number"),
    )
