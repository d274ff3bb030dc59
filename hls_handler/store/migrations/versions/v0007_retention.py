"""What is finished is forgotten after a while, found by when that was; what its calls came to stays summed up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    finished = sa.text("finished_at IS NOT NULL")
    op.create_index(
        "ix_deliveries_finished", "deliveries", ["finished_at"], sqlite_where=finished, postgresql_where=finished
    )
    has_body = sa.text("finished_at IS NOT NULL AND body IS NOT NULL")
    op.create_index(
        "ix_deliveries_body", "deliveries", ["finished_at"], sqlite_where=has_body, postgresql_where=has_body
    )
    op.create_table(
        "forgotten_calls",
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("calls_of_unknown_cost", sa.BigInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("last_error_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("prompt_id"),
    )
