"""A call to Claude as it is stored: its outcome, tokens and cost, and sums of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    cast,
    func,
    select,
)

from hls_handler.analysis import Receipt
from hls_handler.db.counters import OF_BATCHES
from hls_handler.db.tables import calls, deleted_calls, deleted_review_calls
from hls_handler.store.replies import CACHED, ESTIMATED

_c = calls.c

SUCCESS = "ok"
UNAVAILABLE = "unavailable"
FAILED = "failed"
"""Outcomes of calls: a valid reply; Claude did not accept the call, which is not budgeted; Claude
answered an error.
"""

FREE = (UNAVAILABLE, FAILED)
"""Outcomes of calls that cost nothing, unless their usage is unknown and therefore estimated."""

UNFINISHED = "unfinished"
"""Counted in place of an outcome while a call is in progress, and for good if its end could not be
stored.
"""

IS_CALL = _c.outcome.is_distinct_from(CACHED)
"""Condition: Claude was asked; the reply is not from the cache."""

IS_RECORDED = and_(_c.batch_id.is_not(None), _c.conversation_key.is_(None))
"""Condition: of a batch whose results are only recorded, so it is no use of a prompt."""

COUNTED_AS = case((_c.batch_id.is_(None), _c.prompt_id), else_=OF_BATCHES)
"""The label of a call in the counters by prompt."""

_IS_FREE = and_(func.coalesce(_c.outcome, UNFINISHED).in_(FREE), _c.output_tokens.is_(None))


def name_batch_costs(batch: object) -> str:
    return f"batch {batch}"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Claude. If `finished_at` is None, the call is in progress, or its end could not
    be stored.

    Tokens and cost of such a call are an upper estimate.
    """

    id: int
    index: int
    prompt_id: str
    model: str  # "NAME/MODEL" if there are fallbacks, else the model
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: float | None
    took_s: float | None
    request_id: str | None  # Claude's
    request_digest: bytes | None  # of its question (`Questions.find`); None: not recorded
    is_correction: bool  # it asked to correct the invalid reply to the call before

    @property
    def lasted_s(self) -> float | None:
        """Seconds until the end, also of a call that failed; None if the end is not stored."""
        if self.took_s is not None or self.finished_at is None:
            return self.took_s
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def is_estimate(self) -> bool:
        """True if tokens and cost are an upper estimate, because the usage is unknown."""
        is_unknown = self.outcome in (None, FAILED, "miscounted", "oversized") or ESTIMATED in (
            self.error or ""
        )
        return is_unknown and self.output_tokens is not None

    @property
    def is_free(self) -> bool:
        """True if Claude rejected the call or did not get it."""
        return self.outcome in FREE and self.output_tokens is None

    @property
    def all_input_tokens(self) -> int:
        return sum(
            tokens or 0
            for tokens in (self.input_tokens, self.cache_write_tokens, self.cache_read_tokens)
        )


def make_receipt(calls: Sequence[CallRow]) -> Receipt:
    """Return the sums over the calls of a delivery that Claude got."""
    own = [call for call in calls if call.outcome != UNAVAILABLE]
    costs = [0.0 if call.is_free else call.cost_usd for call in own]
    return Receipt(
        calls=len(own),
        input_tokens=sum(call.all_input_tokens for call in own),
        output_tokens=sum(call.output_tokens or 0 for call in own),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        is_estimate=any(call.is_estimate for call in own),
        prompt_ids=tuple(dict.fromkeys(call.prompt_id for call in own)),
        models=tuple(
            dict.fromkeys(call.model for call in own if "/" in call.model and not call.is_free)
        ),
    )


@dataclass(frozen=True, slots=True)
class PromptStats:
    """Totals of all calls by one version of a prompt."""

    prompt_id: str  # "issues/analyze@3f9c2a"
    replies: int = 0  # number of valid replies
    # of the calls whose cost is known, and the upper estimate of unfinished calls
    cost_usd: float = 0.0
    # no known price; calls that Claude rejected or did not get cost nothing
    calls_of_unknown_cost: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None


def add_up_stats(rows: Sequence[PromptStats], prompt_id: str = "") -> PromptStats:
    """Return the totals of at least one row, with the error of the latest failure."""
    latest = max(rows, key=lambda row: (row.last_error_at is not None, row.last_error_at))
    return PromptStats(
        prompt_id=prompt_id,
        replies=sum(row.replies for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        calls_of_unknown_cost=sum(row.calls_of_unknown_cost for row in rows),
        last_error=latest.last_error,
        last_error_at=latest.last_error_at,
    )


def read_batch_cost(connection: Connection, batch: int) -> int:
    """Return the cost (micro-USD) of all calls of a batch, with what those in progress have
    reserved.
    """
    paid = select(func.sum(_c.cost_micro_usd)).where(_c.batch_id == batch)
    deleted = select(deleted_review_calls.c.cost_micro_usd).where(
        deleted_review_calls.c.review_key == name_batch_costs(batch)
    )
    # one statement: between two, retention could delete a call
    both = select(paid.scalar_subquery(), deleted.scalar_subquery())
    return sum(int(cost or 0) for cost in connection.execute(both).one())


def sum_calls(
    connection: Connection, which: ColumnElement[bool], *, with_deleted: bool = False
) -> Sequence[Row[Any]]:
    """Return the sums of the calls that match `which`: a row per prompt, with the columns of
    `deleted_calls`.

    `with_deleted` adds a row per prompt for deleted calls. One statement reads both: between two
    statements, retention could delete a call, which would then be counted twice.
    """
    sums = (
        select(
            _c.prompt_id,
            func.count().filter(_c.outcome == SUCCESS).label("replies"),
            cast(func.coalesce(func.sum(_c.cost_micro_usd), 0), BigInteger).label("cost_micro_usd"),
            func.count()
            .filter(_c.cost_micro_usd.is_(None), ~_IS_FREE)
            .label("calls_of_unknown_cost"),
            func.max(_c.id).filter(_c.outcome != SUCCESS).label("failed_id"),
        )
        .where(which, IS_CALL, ~IS_RECORDED)
        .group_by(_c.prompt_id)
        .subquery()
    )
    failed = calls.alias("failed")
    last = (failed.c.error.label("last_error"), failed.c.finished_at.label("last_error_at"))
    columns = [column for column in sums.c if column.name != "failed_id"]
    existing: Select[Any] = select(*columns, *last).outerjoin_from(
        sums, failed, failed.c.id == sums.c.failed_id
    )
    return connection.execute(
        existing.union_all(select(deleted_calls)) if with_deleted else existing
    ).all()
