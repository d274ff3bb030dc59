"""Add the indexes of the list of deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.8"
down_revision = "0.4.7"


def upgrade() -> None:
    is_dead = sa.text("state = 'dead'")
    op.create_index(
        "ix_deliveries_discarded",
        "deliveries",
        ["discarded_at", "id"],
        sqlite_where=is_dead,
        postgresql_where=is_dead,
    )
    op.create_index("ix_deliveries_received", "deliveries", ["received_at", "state"])
