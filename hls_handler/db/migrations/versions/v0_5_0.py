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
COPY_TRIAGE_RUNS = """
INSERT INTO batches (
    id, kind, repository_id, repository, started_by, started_at, max_micro_usd, state, terms, plan
)
SELECT
    id,
    'triage',
    repository_id,
    repository,
    coalesce(started_by, ''),
    started_at,
    max_micro_usd,
    CASE WHEN undone_at IS NULL THEN 'open' ELSE 'undone' END,
    '{"limit": ' || most_issues || ', "comments": '
        || CASE WHEN comments THEN 'true' ELSE 'false' END || '}',
    '{"left_out": ' || coalesce(skipped, '{}') || '}'
FROM triage_runs
"""
FIND_BATCHES = (
    """
UPDATE deliveries
SET batch_id = CAST(substr(request_id, length('requested:triage:') + 1) AS bigint),
    request_id = 'requested:write'
WHERE request_id LIKE 'requested:triage:%'
""",
    """
UPDATE deliveries
SET batch_id = CAST(substr(request_id, length('requested:undo-triage:') + 1) AS bigint),
    request_id = 'requested:undo'
WHERE request_id LIKE 'requested:undo-triage:%'
""",
    "UPDATE deliveries SET priority = -10000000 WHERE batch_id IS NOT NULL",
    """
UPDATE calls SET batch_id = CAST(substr(review_key, 8) AS bigint), review_key = NULL
WHERE review_key LIKE 'triage %'
""",
    """
UPDATE deleted_review_calls SET review_key = 'batch ' || substr(review_key, 8)
WHERE review_key LIKE 'triage %'
""",
)
DELETE_SHADOW_STEPS = """
DELETE FROM checkpoints
WHERE
    name = 'shadow'
    OR (name IN ('unanswered', 'unshown') AND step_index >= 100)
    OR (name = 'omissions' AND step_index > 100)
"""

QUEUED = "state = 'queued'"
COVERING_INDEXES = (
    ("queued", ("sort_key", "id", "due_at", "conversation_key"), QUEUED),
    ("queued_cause", ("cause", "id", "due_at", "state"), QUEUED),
    ("dead_cause", ("discarded_at", "cause", "id", "state"), "state = 'dead'"),
    ("received", ("received_at", "state"), None),
)
"""Indexes by which webhooks are counted: names, columns before `batch_id`, conditions."""

COLLECT_COUNTERS = (
    """
CREATE TABLE old_counters AS
SELECT name, 0 AS hour, label, value FROM counters
WHERE name NOT IN ('webhook_expected_since', 'prompt_shadow_calls', 'processing_count')
UNION ALL SELECT name, hour, label, value FROM counter_hours
""",
    """
INSERT INTO old_counters
SELECT 'stored', hour, '', value FROM old_counters WHERE name IN ('webhooks', 'caught_up')
""",
    """
INSERT INTO old_counters
SELECT
    'prompt_cost_micro_usd',
    started_at - started_at % 3600000,
    CASE WHEN batch_id IS NULL THEN prompt_id ELSE 'batches' END,
    cost_micro_usd
FROM calls
WHERE cost_micro_usd > 0
""",
    """
INSERT INTO old_counters
WITH discarded AS (
    SELECT finished_at - finished_at % 3600000 AS ended_in FROM deliveries
    WHERE state = 'dead' AND discarded_at IS NOT NULL AND batch_id IS NULL
)
SELECT 'outcome', ended_in, 'discarded', 1 FROM discarded
UNION ALL SELECT 'outcome', ended_in, 'dead', -1 FROM discarded
UNION ALL SELECT 'outcome', 0, 'discarded', 1 FROM discarded
""",
    "UPDATE old_counters SET name = 'repository_event' WHERE name = 'repository'",
)
"""Add what version 0.4.10 did not count by the hour: stored deliveries, the cost of prompts and
discarded deliveries.
"""

SPLIT_COUNTERS = (
    """
CREATE TABLE split_counters AS
SELECT
    substr(name, POSITION(name, '_') + 1) AS name,
    hour,
    substr(label, POSITION(label || ':', ':') + 1) AS label,
    substr(label, 1, POSITION(label || ':', ':') - 1) AS repository,
    value
FROM old_counters
WHERE name LIKE 'repository!_%' ESCAPE '!' AND name <> 'repository_renamed'
""",
    "UPDATE split_counters SET name = 'outcome' WHERE name = 'ended'",
    "UPDATE split_counters SET name = 'recovered_by_retry' WHERE name = 'recovered'",
    "UPDATE split_counters SET label = '' WHERE name = 'replies' AND label = 'asked'",
    """
UPDATE split_counters SET name = 'reply_cache', label = 'hits'
WHERE name = 'replies' AND label = 'cached'
""",
    """
UPDATE split_counters SET name = 'reply_cache', label = 'saved_micro_usd'
WHERE name = 'saved_micro_usd'
""",
)
"""Split labels such as "octo/widgets:done"."""

FILL_COUNTERS = """
INSERT INTO counters (name, hour, label, repository, value)
SELECT name, hour, label, repository, sum(value) FROM (
    SELECT name, hour, label, '' AS repository, value FROM old_counters
    WHERE (name NOT LIKE 'repository!_%' ESCAPE '!' OR name = 'repository_renamed')
        AND name <> 'prompt_cost_micro_usd'
        AND (hour = 0 OR name IN (
            'cost_micro_usd', 'first_reply_le', 'outcome', 'outsider_cost_micro_usd',
            'processing_le', 'rejected', 'reply_cache', 'stored'
        ))
    UNION ALL
    SELECT 'cost_micro_usd', hour, label, '', value FROM old_counters
    WHERE name = 'prompt_cost_micro_usd'
    UNION ALL
    SELECT 'cost_micro_usd', hour, '', '', -value FROM old_counters
    WHERE name = 'prompt_cost_micro_usd'
    UNION ALL
    SELECT name, hour, label, repository, value FROM split_counters
    UNION ALL
    SELECT name, hour, label, '', -value FROM split_counters
    WHERE hour = 0 OR name NOT IN ('recovered_by_retry', 'replies')
) AS parts
GROUP BY name, hour, label, repository
HAVING sum(value) <> 0
"""
"""What 0.4.10 counted by label and by repository apart, such as costs, keeps both sums: one part
has no label, one no repository, and a negative one neither. Its hours by author are left out: they
repeat a part of those by repository.
"""

FINER_BUCKETS = {
    "1": "0.75",
    "2.5": "1.5",
    "5": "3",
    "10": "6",
    "30": "12",
    "60": "45",
    "120": "90",
    "300": "180",
}
"""Old bucket of a histogram -> the lowest new one in its range."""
MOVE_BUCKET = """
UPDATE counters SET label = :new
WHERE label = :old AND name IN ('first_reply_le', 'processing_le')
"""


def upgrade() -> None:
    op.drop_table("cached_replies")
    op.drop_table("analyses")
    op.drop_table("audit")
    op.drop_table("prompt_versions")
    op.drop_index("ix_deliveries_dead", "deliveries")
    op.drop_index("ix_findings_prompt", "findings")
    op.drop_column("findings", "changed_at")
    op.drop_column("findings", "severity")
    _add_batches()
    _cover_batches()
    op.execute(KEEP_SUMS_OF_SHADOW_CALLS)
    op.execute("DELETE FROM calls WHERE step_index >= 100")
    _merge_counters()
    op.execute(DELETE_SHADOW_STEPS)
    op.execute("DELETE FROM checkpoints WHERE name IN ('ask', 'unusable')")
    op.create_index("ix_checks_commit", "checks", ["repository_id", "commit_sha"])
    where = sa.text("event = 'pull_request'")
    op.create_index(
        "ix_deliveries_head",
        "deliveries",
        ["head_sha", "number"],
        sqlite_where=where,
        postgresql_where=where,
    )
    _move_to_finer_buckets()


def _move_to_finer_buckets() -> None:
    """Move counts to the lowest of the finer buckets that lie in their old one."""
    for old, new in FINER_BUCKETS.items():
        op.execute(sa.text(MOVE_BUCKET).bindparams(old=old, new=new))


def _merge_counters() -> None:
    position = "strpos"
    if op.get_bind().dialect.name == "sqlite":
        position = "instr"
    for statement in COLLECT_COUNTERS:
        op.execute(statement)
    op.drop_table("counters")
    op.drop_table("counter_hours")
    op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    where = sa.text("hour = 0")
    op.create_index(
        "ix_counters_totals", "counters", ["hour"], sqlite_where=where, postgresql_where=where
    )
    for statement in SPLIT_COUNTERS:
        op.execute(statement.replace("POSITION", position))
    op.execute(FILL_COUNTERS)
    op.drop_table("old_counters")
    op.drop_table("split_counters")


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
    op.execute(COPY_TRIAGE_RUNS)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('batches', 'id'), coalesce(max(id), 1), max(id)"
            " IS NOT NULL) FROM batches"
        )
    for statement in FIND_BATCHES:
        op.execute(statement)
    op.drop_table("triage_runs")


def _cover_batches() -> None:
    for suffix, columns, condition in COVERING_INDEXES:
        name = f"ix_deliveries_{suffix}"
        where = None if condition is None else sa.text(condition)
        op.drop_index(name, "deliveries")
        op.create_index(
            name,
            "deliveries",
            [*columns, "batch_id"],
            sqlite_where=where,
            postgresql_where=where,
        )
