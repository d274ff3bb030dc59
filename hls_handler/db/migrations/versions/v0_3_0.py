"""Add the columns of version 0.3.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.3.0"
down_revision = "0.2.0"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("github_requests", sa.BigInteger()))
    op.add_column("calls", sa.Column("request_id", sa.Text()))
    op.add_column("comments", sa.Column("state", sa.Text()))
