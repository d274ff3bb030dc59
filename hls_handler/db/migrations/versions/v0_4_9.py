"""Add the table of triage runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.9"
down_revision = "0.4.8"


def upgrade() -> None:
    op.create_table(
        "triage_runs",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True
        ),
        sa.Column("repository_id", sa.BigInteger()),
        sa.Column("repository", sa.Text()),
        sa.Column("started_by", sa.Text()),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("most_issues", sa.Integer()),
        sa.Column("max_micro_usd", sa.BigInteger()),
        sa.Column("comments", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("skipped", sa.Text()),
        sa.Column("undone_at", sa.BigInteger()),
    )
