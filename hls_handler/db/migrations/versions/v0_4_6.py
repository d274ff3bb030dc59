"""Fill the counters by hour of repositories and authors from the stored rows.

Until now, their figures were computed from these rows.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0.4.6"
down_revision = "0.4.5"

HOUR_MS = 3_600_000
BOUNDS_S = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "120", "300")


def _table(name: str, columns: dict[str, Any]) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, kind) for column, kind in columns.items()))


Number = sa.BigInteger()
counter_hours = _table(
    "counter_hours", {"name": sa.Text(), "hour": Number, "label": sa.Text(), "value": Number}
)
deliveries = _table(
    "deliveries",
    dict.fromkeys(("id", "received_at", "queued_at", "finished_at", "failures"), Number)
    | dict.fromkeys(("state", "posting_status", "conversation_key"), sa.Text())
    | dict.fromkeys(("repository", "author"), sa.Text())
    | {"is_command": sa.Boolean()},
)
calls = _table("calls", dict.fromkeys(("delivery_id", "started_at", "cost_micro_usd"), Number))
analyses = _table(
    "analyses",
    dict.fromkeys(("delivery_id", "step_index", "analysed_at", "saved_micro_usd"), Number),
)
d = deliveries.c
other = deliveries.alias("other")


def _has_posted(table: Any) -> sa.ColumnElement[bool]:
    return sa.and_(table.state == "done", table.posting_status == "done")


OF_CONVERSATION = other.c.conversation_key == d.conversation_key
IS_FIRST_REPLY = sa.and_(
    _has_posted(d),
    d.conversation_key.is_not(None),
    ~d.is_command,
    ~sa.exists().where(OF_CONVERSATION, _has_posted(other.c), other.c.id < d.id),
)
FIRST_RECEIVED_AT = (
    sa.select(sa.func.min(other.c.received_at))
    .where(OF_CONVERSATION, other.c.state.in_(["done", "superseded", "dead"]))
    .scalar_subquery()
)


def upgrade() -> None:
    processing = _bucket(d.finished_at - d.queued_at)
    first_reply = _bucket(d.finished_at - FIRST_RECEIVED_AT)
    is_done = d.state == "done"
    _fill("first_reply_le", first_reply, IS_FIRST_REPLY)
    for group, who in (("repository", d.repository), ("author", d.author + " " + d.repository)):
        part = who + ":"
        _fill(f"{group}_ended", part + d.state, d.state.in_(["done", "dead"]))
        _fill(f"{group}_processing_le", part + processing, is_done)
        _fill(f"{group}_first_reply_le", part + first_reply, IS_FIRST_REPLY)
        _fill(f"{group}_recovered", who, sa.and_(is_done, d.failures > 0))
        _fill_replies(group, who)
        _fill_costs(group, who)


def _bucket(duration_ms: Any) -> Any:
    cases = ((duration_ms <= int(float(bound) * 1000), bound) for bound in BOUNDS_S)
    return sa.case(*cases, else_="inf")


def _fill_replies(group: str, who: Any) -> None:
    a = analyses.c
    rows = analyses.join(deliveries, d.id == a.delivery_id)
    is_own = a.step_index < 100
    source = sa.case((a.saved_micro_usd.is_(None), "asked"), else_="cached")
    _fill(f"{group}_replies", who + ":" + source, is_own, rows=rows, at=a.analysed_at)
    is_saved = sa.and_(is_own, a.saved_micro_usd > 0)
    saved = sa.func.sum(a.saved_micro_usd)
    _fill(f"{group}_saved_micro_usd", who, is_saved, rows=rows, at=a.analysed_at, value=saved)


def _fill_costs(group: str, who: Any) -> None:
    """Fill the costs of the hours before the first one that has them."""
    c = calls.c
    rows = calls.join(deliveries, d.id == c.delivery_id)
    name = f"{group}_cost_micro_usd"
    first = sa.select(sa.func.min(counter_hours.c.hour)).where(counter_hours.c.name == name)
    is_before = sa.func.coalesce(c.started_at < first.scalar_subquery(), sa.true())
    cost = sa.func.sum(c.cost_micro_usd)
    which = sa.and_(c.cost_micro_usd > 0, is_before)
    _fill(name, who, which, rows=rows, at=c.started_at, value=cost)


def _fill(
    name: str,
    label: Any,
    which: sa.ColumnElement[bool],
    *,
    rows: Any = deliveries,
    at: Any = d.finished_at,
    value: Any = None,
) -> None:
    hour = (at - at % HOUR_MS).label("begin")
    counted = label.label("counted")
    value = sa.func.count() if value is None else value
    query = (
        sa.select(sa.literal(name, sa.Text()), hour, counted, value)
        .select_from(rows)
        .where(which, label.is_not(None), at.is_not(None))
        .group_by(hour, counted)
    )
    op.execute(counter_hours.insert().from_select(["name", "hour", "label", "value"], query))
