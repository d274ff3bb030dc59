"""Add when a person discarded a dead delivery, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.7"
down_revision = "0.4.6"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("discarded_at", sa.BigInteger()))
    op.add_column("audit", sa.Column("reason", sa.Text()))
