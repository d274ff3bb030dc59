"""Deliveries are claimed by rank, those that wait behind another of their thread are marked, and work can be paused.

What was queued before is ranked as if it had come by today's rules, and marked as nobody's: a mark only saves looking.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("rank", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("deliveries", sa.Column("behind", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE deliveries SET rank = queued_at - priority * 600000 WHERE state IN ('queued', 'running')")
    op.drop_index("ix_deliveries_queued", table_name="deliveries")
    op.create_index(
        "ix_deliveries_queued",
        "deliveries",
        ["behind", "rank", "id", "due_at", "thread_key"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.create_table(
        "pauses",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("paused_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
