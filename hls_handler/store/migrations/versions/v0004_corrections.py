"""What people made of our labels is kept, and of each label which prompt had it set.

Labels from before stay without one: nobody knows whose word they were, so neither they nor their changes are counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("labels", sa.Column("field", sa.Text()))
    op.add_column("labels", sa.Column("prompt_id", sa.Text()))
    op.add_column("labels", sa.Column("set_at", sa.BigInteger()))
    op.create_table(
        "corrections",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("prompt_id", sa.Text(), nullable=False),
        sa.Column("is_pull_request", sa.Boolean(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "identity", "number", "said"),
    )
    op.create_index("ix_corrections_newest", "corrections", ["repository_id", "identity", "noted_at"])
