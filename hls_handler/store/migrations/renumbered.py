"""Two early versions whose numbers were given to others later: told apart by their tables, and set right."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

_AS_NOW_COUNTED = {"0004": "0003", "0005": "0004"}


def set_right(connection: sa.Connection, found: str | None, *, version_table: str) -> str | None:
    """The version that the tables have as versions are counted now.

    The first 0004 was 0003 without the ends of runs, and the first 0005 came after it with what now is 0004.
    """
    if found not in _AS_NOW_COUNTED or sa.inspect(connection).has_table("run_ends"):
        return found
    op = Operations(MigrationContext.configure(connection))
    op.create_table(
        "run_ends",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("workflow_id", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("run_number", sa.BigInteger(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "run_id", "attempt"),
    )
    op.create_index("ix_run_ends_workflow", "run_ends", ["repository_id", "workflow_id", "run_number"])
    op.add_column("deliveries", sa.Column("said_on", sa.BigInteger(), nullable=True))
    op.create_index("ix_deliveries_said_on", "deliveries", ["repository", "said_on"])
    versions = sa.table(version_table, sa.column("version_num", sa.Text))
    connection.execute(versions.update().values(version_num=_AS_NOW_COUNTED[found]))
    return _AS_NOW_COUNTED[found]
