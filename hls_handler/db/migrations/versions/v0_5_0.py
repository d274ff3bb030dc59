"""Drop what no version reads any more. All processes of 0.4.10 must be stopped."""

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
    op.execute(KEEP_SUMS_OF_SHADOW_CALLS)
    op.execute("DELETE FROM calls WHERE step_index >= 100")
    op.execute(DELETE_SHADOW_STEPS)
    op.execute("DELETE FROM checkpoints WHERE name IN ('ask', 'unusable')")
    op.execute(
        "DELETE FROM counters WHERE name IN ('webhook_expected_since', 'prompt_shadow_calls')"
    )
