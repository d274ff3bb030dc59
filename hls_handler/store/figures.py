"""What each prompt came to, version by version: its answers, what they cost, and its last error."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Row

from hls_handler.store.calls import UNAVAILABLE
from hls_handler.store.clock import maybe_from_ms
from hls_handler.store.part import Part
from hls_handler.store.rows import PromptRow
from hls_handler.store.tables import calls

ANSWERED = "ok"
"""The outcome of a call whose reply was of use."""

_c = calls.c


class Summing(Part):
    """The ledger of calls, summed up for people."""

    def prompt_figures(self) -> list[PromptRow]:
        """One row for each version of a prompt that Claude was ever asked by, in the order of their ids."""
        with self._database.reading() as connection:
            sums = connection.execute(_SUMS).all()
            newest = [row.failed_id for row in sums if row.failed_id is not None]
            failed = {row.id: row for row in connection.execute(_calls_of(newest))} if newest else {}
            return sorted((_row(row, failed.get(row.failed_id)) for row in sums), key=lambda row: row.prompt_id)


_SUMS = select(
    _c.prompt_id,
    func.count().filter(_c.outcome == ANSWERED).label("answers"),
    func.sum(_c.cost_micro_usd).label("cost_micro_usd"),
    func.count()
    .filter(_c.cost_micro_usd.is_(None), _c.outcome.is_distinct_from(UNAVAILABLE))
    .label("calls_of_unknown_cost"),
    func.max(_c.id).filter(_c.outcome != ANSWERED).label("failed_id"),
).group_by(_c.prompt_id)


def _calls_of(ids: list[int]) -> Select[Any]:
    return select(_c.id, _c.error, _c.finished_at).where(_c.id.in_(ids))


def _row(sums: Row[Any], failed: Row[Any] | None) -> PromptRow:
    return PromptRow(
        prompt_id=sums.prompt_id,
        answers=sums.answers,
        cost_usd=int(sums.cost_micro_usd or 0) / 1_000_000,
        calls_of_unknown_cost=sums.calls_of_unknown_cost,
        last_error=None if failed is None else failed.error,
        last_error_at=None if failed is None else maybe_from_ms(failed.finished_at),
    )
