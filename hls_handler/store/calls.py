"""Calls to Claude: begun within pace and budget, and accounted for when they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, distinct, func, select
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from hls_handler.analysis import Answered, Usage
from hls_handler.deliveries import SHADOW_STEPS, Lease
from hls_handler.errors import Wait
from hls_handler.store.analyses import KeepingAnalyses
from hls_handler.store.clock import HOUR_MS, from_ms
from hls_handler.store.pace import budget_frees_at
from hls_handler.store.part import OWN_ID, lost
from hls_handler.store.steps import Keepable, packed
from hls_handler.store.tables import calls, turns
from hls_handler.store.turns import Turning

CLAUDE_PACE = "claude"  # what `hold_pace` names when Claude's server says to wait
_BUDGET = "claude.calls_per_hour"
UNAVAILABLE = "unavailable"
"""The outcome of a call that Claude did not take up and nobody pays for: the budget does not count it."""

_c = calls.c
_COUNTS = _c.outcome.is_distinct_from(UNAVAILABLE)
_OF_THE_HOUR = and_(_c.started_at > bindparam("since"), _COUNTS)
_HOW_MANY = select(func.count()).select_from(calls).where(_OF_THE_HOUR)
_STARTS = select(_c.started_at).where(_OF_THE_HOUR).order_by(_c.started_at)
_DROP_RESERVED = turns.delete().where(turns.c.delivery_id == bindparam("of_delivery"), turns.c.pace == _BUDGET)
_AHEAD = select(func.count()).select_from(turns).where(turns.c.pace == _BUDGET, turns.c.slot_at > bindparam("moment"))


class Calling(Turning, KeepingAnalyses):
    """The ledger of calls to Claude."""

    def begin_call(
        self,
        lease: Lease,
        *,
        index: int,
        prompt_id: str,
        model: str,
        sender: str | None,
        requests_per_second: float,
        calls_per_hour: int,
        kept: Sequence[Keepable] = (),
    ) -> int:
        """Note that a call begins, and give its id. Raises `Wait` when pace or budget do not allow it yet.

        Either way what waits is `kept`.

        The budget counts every call that began within an hour, also those that failed or never ended; an outage, in
        which Claude takes none up, does not use it up. Raises `LeaseLost`.
        """
        steps_to_keep = packed(kept)
        with self._database.writing() as connection:
            row_id = self._fenced_with(connection, lease, steps_to_keep)
            pace = self._lock_pace(connection, CLAUDE_PACE)  # or two workers would both take the last call
            now = self._database.now_in(connection)
            wait = self._budget(connection, row_id, calls_per_hour, now)
            if wait is None:
                turn = self._turn(connection, row_id, CLAUDE_PACE, 1 / requests_per_second, pace, now)
                wait = None if turn.go else Wait("waits for its turn to ask Claude", at=from_ms(turn.slot_at))
            if wait is None:
                call = {
                    "delivery_id": row_id,
                    "step_index": index,
                    "thread_key": lease.thread_key,
                    "prompt_id": prompt_id,
                    "model": model,
                    "sender": sender,
                }
                call_id: int = connection.execute(self._begin_call, call).scalar_one()
                return call_id
        raise wait

    def end_call(
        self,
        lease: Lease,
        call_id: int,
        *,
        outcome: str,
        usage: Usage | None,
        error: str | None,
        kept: Sequence[Keepable] = (),
        answered: Answered | None = None,
        is_last: bool = False,
    ) -> None:
        """Note what became of a call: "ok", or why not. Not fenced: the money is spent, whoever holds the lease.

        A call that has ended already is left as it is. What waits is `kept`, the steps of the call among it, and
        `answered` is what Claude said, all together with what it cost or not at all: should the worker die in between,
        a reply would be there that nobody had paid for. With the one that `is_last` the analysis is done. That is
        fenced: raises `LeaseLost`, the cost noted all the same.
        """
        spent: dict[str, object] = {}
        if usage is not None:
            spent = {
                "model": usage.model,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cost_micro_usd": _micro_usd(usage.cost_usd),
                "took_ms": round(usage.took_s * 1000),
            }
        statuses = {"analysis_status": "done", "analysis_error": None} if is_last else {}
        is_fenced, steps_to_keep = bool(kept) or answered is not None, packed(kept)
        terms = {"of_call": call_id, "of_guid": lease.guid, "outcome": outcome, "error": error, **spent}
        with self._database.writing() as connection:
            row_id = self._remember_in(connection, lease, steps_to_keep, **statuses) if is_fenced else None
            ended = connection.execute(self._end_call, terms).first()
            if ended is not None:
                if row_id is not None and answered is not None:
                    self._save_analysis(connection, row_id, ended.step_index, answered)
                shadow = ended.step_index >= SHADOW_STEPS
                self._count(connection, _spent(ended.prompt_id, outcome, usage, shadow=shadow))
        if is_fenced and row_id is None:
            raise lost(lease)

    def calls_last_hour(self) -> int:
        """How much of the hourly budget is used up."""
        recent = select(func.count()).select_from(calls).where(_c.started_at > self._database.now - HOUR_MS, _COUNTS)
        with self._database.reading() as connection:
            return connection.execute(recent).scalar_one()

    def thread_runs_last_hour(self, lease: Lease) -> int:
        """How many other deliveries of this thread asked Claude within the last hour (the guard against loops)."""
        terms = {"of_thread": lease.thread_key or "", "of_guid": lease.guid}
        with self._database.reading() as connection:
            runs: int = connection.execute(self._runs, terms).scalar_one()
        return runs

    @cached_property
    def _begin_call(self) -> ReturningInsert[int]:
        return calls.insert().values(started_at=self._database.now).returning(_c.id)

    @cached_property
    def _end_call(self) -> ReturningUpdate[Any]:
        return (
            calls.update()
            .where(_c.id == bindparam("of_call"), _c.delivery_id == OWN_ID, _c.finished_at.is_(None))
            .values(finished_at=self._database.now)
            .returning(_c.prompt_id, _c.step_index)
        )

    @cached_property
    def _runs(self) -> Select[int]:
        return select(func.count(distinct(_c.delivery_id))).where(
            _c.thread_key == bindparam("of_thread"),
            _c.started_at > self._database.now - HOUR_MS,
            _c.delivery_id != OWN_ID,
        )

    def _budget(self, connection: Connection, row_id: int, calls_per_hour: int, now: int) -> Wait | None:
        """Why the hourly budget does not allow a call now; a time is reserved then."""
        connection.execute(_DROP_RESERVED, {"of_delivery": row_id})
        if connection.execute(_HOW_MANY, {"since": now - HOUR_MS}).scalar_one() < calls_per_hour:
            return None
        started = connection.execute(_STARTS, {"since": now - HOUR_MS}).scalars().all()
        ahead = connection.execute(_AHEAD, {"moment": now}).scalar_one()
        frees_at = budget_frees_at(started, limit=calls_per_hour, ahead=ahead)
        if frees_at is None:
            return None
        self._reserve(connection, row_id, _BUDGET, frees_at)
        at = from_ms(frees_at)
        return Wait(
            f"the hourly budget is used up: claude.calls_per_hour allows {calls_per_hour} calls, the next one at "
            f"{at:%H:%M:%S} UTC; raise it, or wait",
            at=at,
            holdup="claude",
        )


def _micro_usd(cost_usd: float | None) -> int | None:
    return None if cost_usd is None else round(cost_usd * 1_000_000)


def _spent(prompt_id: str, outcome: str, usage: Usage | None, *, shadow: bool) -> Counter[tuple[str, str]]:
    counts = Counter({("prompt_calls", prompt_id): 1, ("claude_calls", outcome): 1})
    if shadow:
        counts["prompt_shadow_calls", prompt_id] = 1
    if usage is not None:
        counts["tokens", "input"] = usage.input_tokens
        counts["tokens", "output"] = usage.output_tokens
        counts["tokens", "cache_write"] = usage.cache_write_tokens
        counts["tokens", "cache_read"] = usage.cache_read_tokens
        cost = _micro_usd(usage.cost_usd)
        if cost is not None:
            counts["cost_micro_usd", ""] = cost
            counts["prompt_cost_micro_usd", prompt_id] = cost
    return counts
