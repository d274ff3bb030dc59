"""Drop what no version reads any more. All processes of 0.4.10 must be stopped."""

from alembic import op

revision = "0.5.0"
down_revision = "0.4.10"


def upgrade() -> None:
    op.drop_table("cached_replies")
    op.drop_table("analyses")
    op.drop_index("ix_deliveries_dead", "deliveries")
    op.drop_column("findings", "changed_at")
    op.execute("DELETE FROM counters WHERE name = 'webhook_expected_since'")
