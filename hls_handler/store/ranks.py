"""Who goes first: a delivery's rank, by which the queue is ordered."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement

HEAD_START_MS = 600_000
"""How much older a delivery counts for each step of its priority."""


Moment = TypeVar("Moment", int, ColumnElement[int])


def rank(queued_at: Moment, priority: int) -> Moment:
    """The moment (milliseconds) that a delivery is queued by: the smallest rank goes first.

    A delivery of a higher priority goes before all lower ones that came within the last ten minutes for each step, and
    after older ones: whoever waits is overtaken for so long and no longer, however much comes in.
    """
    return queued_at - priority * HEAD_START_MS
