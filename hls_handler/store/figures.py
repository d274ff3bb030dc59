"""What each prompt came to, version by version: its answers, what they cost, and its last error."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, true

from hls_handler.store.calls import UNAVAILABLE
from hls_handler.store.clock import maybe_from_ms
from hls_handler.store.part import Part
from hls_handler.store.rows import PromptRow
from hls_handler.store.tables import calls, forgotten_calls

ANSWERED = "ok"
"""The outcome of a call whose reply was of use."""

_c, _f = calls.c, forgotten_calls.c


@dataclass(frozen=True, slots=True)
class Sums:
    """Calls by one version of a prompt; its columns in `forgotten_calls` have these names."""

    prompt_id: str
    answers: int
    cost_micro_usd: int
    calls_of_unknown_cost: int
    last_error: str | None
    last_error_at: int | None


class Summing(Part):
    """The ledger of calls, summed up for people: of those that are still there, and of those that were forgotten."""

    def prompt_figures(self) -> list[PromptRow]:
        """One row for each version of a prompt that Claude was ever asked by, in the order of their ids."""
        with self._database.reading() as connection:
            sums = summed_up(connection, true(), with_forgotten=True)
        together: dict[str, Sums] = {}
        for row in sums:
            before = together.get(row.prompt_id)
            together[row.prompt_id] = row if before is None else _together(before, row)
        return [_row(together[prompt_id]) for prompt_id in sorted(together)]


def summed_up(connection: Connection, which: ColumnElement[bool], *, with_forgotten: bool = False) -> list[Sums]:
    """The sums of calls by prompt; those of forgotten calls are rows beside them.

    Both are read by one statement: between two, calls could be forgotten, and be counted twice.
    """
    there = (
        select(
            _c.prompt_id,
            func.count().filter(_c.outcome == ANSWERED).label("answers"),
            func.sum(_c.cost_micro_usd).label("cost_micro_usd"),
            func.count()
            .filter(_c.cost_micro_usd.is_(None), _c.outcome.is_distinct_from(UNAVAILABLE))
            .label("calls_of_unknown_cost"),
            func.max(_c.id).filter(_c.outcome != ANSWERED).label("failed_id"),
            literal_column("NULL").label("last_error"),
            literal_column("NULL").label("last_error_at"),
        )
        .where(which)
        .group_by(_c.prompt_id)
    )
    forgotten = select(
        _f.prompt_id,
        _f.answers,
        _f.cost_micro_usd,
        _f.calls_of_unknown_cost,
        literal_column("NULL").label("failed_id"),
        _f.last_error,
        _f.last_error_at,
    )
    rows = connection.execute(there.union_all(forgotten) if with_forgotten else there).all()
    failed_ids = [row.failed_id for row in rows if row.failed_id is not None]
    errors = select(_c.id, _c.error, _c.finished_at).where(_c.id.in_(failed_ids))
    failed = {row.id: row for row in connection.execute(errors)} if failed_ids else {}
    return [
        Sums(
            prompt_id=row.prompt_id,
            answers=row.answers,
            cost_micro_usd=int(row.cost_micro_usd or 0),
            calls_of_unknown_cost=row.calls_of_unknown_cost,
            last_error=failed[row.failed_id].error if row.failed_id in failed else row.last_error,
            last_error_at=failed[row.failed_id].finished_at if row.failed_id in failed else row.last_error_at,
        )
        for row in rows
    ]


def _together(one: Sums, other: Sums) -> Sums:
    later = max(one, other, key=lambda row: -1 if row.last_error_at is None else row.last_error_at)
    return Sums(
        prompt_id=one.prompt_id,
        answers=one.answers + other.answers,
        cost_micro_usd=one.cost_micro_usd + other.cost_micro_usd,
        calls_of_unknown_cost=one.calls_of_unknown_cost + other.calls_of_unknown_cost,
        last_error=later.last_error,
        last_error_at=later.last_error_at,
    )


def _row(sums: Sums) -> PromptRow:
    return PromptRow(
        prompt_id=sums.prompt_id,
        answers=sums.answers,
        cost_usd=sums.cost_micro_usd / 1_000_000,
        calls_of_unknown_cost=sums.calls_of_unknown_cost,
        last_error=sums.last_error,
        last_error_at=maybe_from_ms(sums.last_error_at),
    )
