"""States of deliveries as SQL literals, and conditions and counts that use them.

A state as a bind parameter would hide the partial indexes from the query planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from sqlalchemy import ColumnElement, FromClause, Select, func, literal_column, select

from hls_handler.deliveries import State

_LITERALS: Mapping[str, ColumnElement[str]] = {state: literal_column(f"'{state}'") for state in get_args(State)}

HEAD_START_MS = 600_000
"""Time by which a delivery counts as older for each step of its priority."""

Moment = TypeVar("Moment", int, ColumnElement[int])


def literal(state: State) -> ColumnElement[str]:
    return _LITERALS[state]


def count_deliveries(table: FromClause, state: Literal["running", "dead"]) -> Select[int]:
    """Count the deliveries in a state by the partial index of that state.

    The second condition is always true; without it, SQLite would count through an index of all deliveries.
    """
    has = {"running": table.c.lease_until, "dead": table.c.id}[state]
    return select(func.count()).select_from(table).where(table.c.state == literal(state), has > literal_column("0"))


def sort_key(queued_at: Moment, priority: int) -> Moment:
    """The moment (ms) that the queue is ordered by: `queued_at`, minus ten minutes for each step of priority.

    So a delivery of higher priority goes before lower ones that are at most ten minutes older per step, and a waiting
    delivery is delayed by that time at most, however many deliveries arrive.
    """
    return queued_at - priority * HEAD_START_MS
