"""Drop what no version reads any more, and add batches. All processes of 0.4.10 must be
stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0.5.0"
down_revision = "0.4.10"

KEEP_SUMS_OF_SHADOW_CALLS = """
INSERT INTO deleted_calls (prompt_id, replies, cost_micro_usd, calls_of_unknown_cost)
SELECT
    prompt_id,
    sum(CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END),
    coalesce(sum(cost_micro_usd), 0),
    sum(CASE WHEN outcome = 'ok' AND cost_micro_usd IS NULL THEN 1 ELSE 0 END)
FROM calls
WHERE step_index >= 100
GROUP BY prompt_id
ON CONFLICT (prompt_id) DO UPDATE SET
    replies = deleted_calls.replies + excluded.replies,
    cost_micro_usd = deleted_calls.cost_micro_usd + excluded.cost_micro_usd,
    calls_of_unknown_cost = deleted_calls.calls_of_unknown_cost + excluded.calls_of_unknown_cost
"""
DELETE_SHADOW_STEPS = """
DELETE FROM checkpoints
WHERE
    name = 'shadow'
    OR (name IN ('unanswered', 'unshown') AND step_index >= 100)
    OR (name = 'omissions' AND step_index > 100)
"""


def upgrade() -> None:
    op.drop_table("cached_replies")
    op.drop_table("analyses")
    op.drop_table("audit")
    op.drop_index("ix_deliveries_dead", "deliveries")
    op.drop_column("findings", "changed_at")
    op.drop_column("findings", "severity")
    _add_batches()
    op.execute(KEEP_SUMS_OF_SHADOW_CALLS)
    op.execute("DELETE FROM calls WHERE step_index >= 100")
    op.execute(DELETE_SHADOW_STEPS)
    op.execute("DELETE FROM checkpoints WHERE name IN ('ask', 'unusable')")
    op.execute(
        "DELETE FROM counters WHERE name IN ('webhook_expected_since', 'prompt_shadow_calls')"
    )


def _add_batches() -> None:
    texts = ("state", "terms", "plan")
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("repository_id", sa.BigInteger),
        sa.Column("repository", sa.Text),
        sa.Column("started_by", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("max_micro_usd", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
    )
    for table, covered in (("deliveries", "number"), ("calls", "cost_micro_usd")):
        op.add_column(table, sa.Column("batch_id", sa.BigInteger))
        where = sa.text("batch_id IS NOT NULL")
        op.create_index(
            f"ix_{table}_batch",
            table,
            ["batch_id", covered],
            sqlite_where=where,
            postgresql_where=where,
        )
