"""Calls are summed up by prompt, for `hls prompts list`."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("ix_calls_prompt", "calls", ["prompt_id", "outcome", "cost_micro_usd", "id"])
