"""Add the questions of calls, and the replies to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.5"
down_revision = "0.4.4"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "system_texts",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("system", sa.LargeBinary(), nullable=False),
        sa.Column("schema", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "questions",
        sa.Column("delivery_id", Id, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("system_digest", sa.LargeBinary(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("delivery_id", "digest"),
    )
    op.create_index("ix_questions_system", "questions", ["system_digest"])
    op.add_column(
        "calls",
        sa.Column("is_correction", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("calls", sa.Column("output_cost_micro_usd", sa.BigInteger()))
    op.add_column("calls", sa.Column("paid_by", sa.BigInteger()))
    op.add_column("calls", sa.Column("cache_key", sa.LargeBinary()))
    op.add_column("calls", sa.Column("reply_type", sa.Text()))
    op.add_column("calls", sa.Column("lost", sa.Text()))
    op.add_column("calls", sa.Column("reply", sa.Text()))
    _index("ix_calls_cache", "cache_key", "finished_at", where="cache_key IS NOT NULL")
    _index("ix_calls_paid_by", "paid_by", where="paid_by IS NOT NULL")
    _index(
        "ix_calls_newest",
        "finished_at",
        "delivery_id",
        "step_index",
        where="reply_type IS NOT NULL",
    )


def _index(name: str, *columns: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, "calls", list(columns), sqlite_where=condition, postgresql_where=condition
    )
