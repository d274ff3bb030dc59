"""Add columns that revision 0.4.0 did not have at first, if they are missing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0.4.3"
down_revision = "0.4.2"


def upgrade() -> None:
    _add_missing("findings", sa.Column("command", sa.Text()))
    _add_missing("checks", sa.Column("conclusion", sa.Text()))
    _add_missing("checks", sa.Column("is_exempt", sa.Boolean(), server_default=sa.false(), nullable=False))


def _add_missing(table: str, column: sa.Column[object]) -> None:
    if column.name not in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)
