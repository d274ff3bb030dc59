"""Add the cause of a delivery's reason, and the indexes of the groups by cause.

The retention fills the causes of stored deliveries, in batches and without a lock of the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.10"
down_revision = "0.4.9"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("cause", sa.Text()))
    _index("dead", "discarded_at", "cause", "id")
    _index("queued", "cause", "id", "due_at")


def _index(state: str, *columns: str) -> None:
    is_in_state = sa.text(f"state = '{state}'")
    op.create_index(
        f"ix_deliveries_{state}_cause",
        "deliveries",
        [*columns, "state"],
        sqlite_where=is_in_state,
        postgresql_where=is_in_state,
    )
