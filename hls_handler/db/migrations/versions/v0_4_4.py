"""Add whether a reserved slot can move to a later time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.4"
down_revision = "0.4.3"


def upgrade() -> None:
    op.add_column("slots", sa.Column("can_move", sa.Boolean(), server_default=sa.false(), nullable=False))
