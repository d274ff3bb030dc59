"""A body that comes again is found by the repository and number that it names, and an index has no entries of nothing.

An older HLS that still runs looks for digests alone, which takes it longer now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_index("ix_deliveries_body_of", "deliveries", ["repository", "number", "digest"])
    op.drop_index("ix_deliveries_digest", table_name="deliveries")
    op.drop_index("ix_deliveries_repository", table_name="deliveries")
    op.drop_index("ix_deliveries_said_on", table_name="deliveries")
    said_elsewhere = sa.text("said_on IS NOT NULL")
    op.create_index(
        "ix_deliveries_said_on",
        "deliveries",
        ["repository", "said_on"],
        sqlite_where=said_elsewhere,
        postgresql_where=said_elsewhere,
    )
