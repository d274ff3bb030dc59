"""What commands, stats and health read. Nothing here writes, and another process may ask while the service runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, func, select
from sqlalchemy.engine import Row

from hls_handler.deliveries import OPEN_STATES, Finished, State
from hls_handler.store.clock import from_ms, maybe_from_ms, to_ms
from hls_handler.store.packed import unpack
from hls_handler.store.part import Part, how_many, literal
from hls_handler.store.pauses import paused
from hls_handler.store.rows import AnalysisRow, CallRow, DeliveryRow, QueueFigures
from hls_handler.store.tables import analyses, calls, deliveries, steps

_c = deliveries.c
_SHOWN = [column for column in _c if column.name not in ("body", "digest")]


class Reading(Part):
    """Deliveries, calls and analyses as rows, and the state of the queue as figures."""

    def deliveries(
        self, *, state: State | None = None, repository: str | None = None, limit: int = 50
    ) -> list[DeliveryRow]:
        """The newest deliveries, newest first; of one state or one repository ("owner/repo") only, if given."""
        query = select(*_SHOWN).order_by(_c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(_c.state == literal(state))
        if repository is not None:
            query = query.where(_c.repository == repository)
        return self._deliveries(query)

    def delivery(self, guid_or_prefix: str) -> DeliveryRow | None:
        """The delivery of this GUID, or the only one whose GUID begins so; None where there is none, or several."""
        exact = self._deliveries(select(*_SHOWN).where(_c.guid == guid_or_prefix))
        alike = exact or self._deliveries(
            select(*_SHOWN).where(_c.guid.startswith(guid_or_prefix, autoescape=True)).limit(2)
        )
        return alike[0] if len(alike) == 1 else None

    def ends(self, guids: Collection[str]) -> list[Finished]:
        """How those of these deliveries ended that have."""
        over = select(_c.guid, _c.state, _c.reason).where(_c.guid.in_(guids), _c.state.not_in(OPEN_STATES))
        with self._database.reading() as connection:
            return [Finished(row.guid, row.state, row.reason) for row in connection.execute(over)]

    def thread(self, repository: str, number: int) -> list[DeliveryRow]:
        """All deliveries that are about an issue or pull request, or were answered there, oldest first."""
        about, said = (
            select(_c.id).where(_c.repository == repository, column == number) for column in (_c.number, _c.said_on)
        )
        return self._deliveries(select(*_SHOWN).where(_c.id.in_(about.union(said))).order_by(_c.id))

    def deliveries_with_step(self, name: str, *, since: datetime) -> list[DeliveryRow]:
        """The deliveries that came since then and remember a step of that name, newest first."""
        remembers = exists().where(steps.c.delivery_id == _c.id, steps.c.name == name)
        query = select(*_SHOWN).where(_c.received_at >= to_ms(since), remembers)
        return self._deliveries(query.order_by(_c.id.desc()))

    def body(self, guid: str) -> bytes | None:
        """A delivery's body as received; None for an unknown delivery, and where it is not kept (ignored ones)."""
        with self._database.reading() as connection:
            stored = connection.execute(select(_c.body).where(_c.guid == guid)).scalar()
        return None if stored is None else unpack(stored)

    def calls(self, guid: str) -> list[CallRow]:
        """A delivery's calls to Claude, in the order they began."""
        query = (
            select(calls)
            .join(deliveries, _c.id == calls.c.delivery_id)
            .where(_c.guid == guid)
            .order_by(calls.c.started_at, calls.c.id)
        )
        with self._database.reading() as connection:
            return [_call(row) for row in connection.execute(query)]

    def analyses(self, guid: str) -> list[AnalysisRow]:
        """What Claude said about a delivery, first reply first."""
        query = (
            select(analyses)
            .join(deliveries, _c.id == analyses.c.delivery_id)
            .where(_c.guid == guid)
            .order_by(analyses.c.step_index)
        )
        with self._database.reading() as connection:
            return [
                AnalysisRow(
                    index=row.step_index,
                    prompt_id=row.prompt_id,
                    reply_type=row.reply_type,
                    model=row.model,
                    reply=row.reply,
                    analysed_at=from_ms(row.analysed_at),
                )
                for row in connection.execute(query)
            ]

    def queue_figures(self) -> QueueFigures:
        """How much waits, runs and is dead, now."""
        held = paused(deliveries)
        is_due = and_(_c.due_at <= self._database.now, ~held)
        waiting = (
            select(
                func.count(),
                func.count().filter(is_due),
                func.count().filter(held),
                func.min(_c.due_at).filter(is_due),
                self._database.now,
            )
            .select_from(deliveries)
            .where(_c.state == literal("queued"))
        )
        why = (
            select(_c.reason)
            .where(_c.state == literal("queued"), _c.reason.is_not(None), _c.due_at > self._database.now)
            .order_by(_c.rank, _c.id)
            .limit(1)
        )
        with self._database.reading() as connection:
            queued, due, held_back, oldest, now = connection.execute(waiting).one()
            return QueueFigures(
                queued=queued,
                due=due,
                held=held_back,
                running=connection.execute(how_many(deliveries, "running")).scalar_one(),
                dead=connection.execute(how_many(deliveries, "dead")).scalar_one(),
                oldest_due_s=None if oldest is None else (now - oldest) / 1000,
                waiting_reason=connection.execute(why).scalar(),
            )

    def open_deliveries(self, repository: str | None) -> tuple[int, int]:
        """How many are queued and how many run, of "owner/repo" in any case, or of everything."""
        counted = select(
            func.count().filter(_c.state == literal("queued")), func.count().filter(_c.state == literal("running"))
        ).where(_c.state.in_((literal("queued"), literal("running"))))
        if repository is not None:
            counted = counted.where(func.lower(_c.repository) == repository.lower())
        with self._database.reading() as connection:
            queued, running = connection.execute(counted).one()
        return queued, running

    def _deliveries(self, query: Select[Any]) -> list[DeliveryRow]:
        with self._database.reading() as connection:
            return [_delivery(row) for row in connection.execute(query)]


def _delivery(row: Row[Any]) -> DeliveryRow:
    return DeliveryRow(
        guid=row.guid,
        event=row.event,
        action=row.action,
        request_id=row.request_id,
        state=row.state,
        reason=row.reason,
        reason_kind=row.reason_kind,
        repository_id=row.repository_id,
        repository=row.repository,
        installation=row.installation,
        number=row.number,
        head_sha=row.head_sha,
        sender=row.sender,
        priority=row.priority,
        received_at=from_ms(row.received_at),
        queued_at=from_ms(row.queued_at),
        due_at=from_ms(row.due_at),
        finished_at=maybe_from_ms(row.finished_at),
        took_s=None if row.took_ms is None else row.took_ms / 1000,
        handler=row.handler,
        worker=row.worker,
        lease_until=maybe_from_ms(row.lease_until),
        attempt=row.attempt,
        attempts=row.attempts,
        failures=row.failures,
        crashes=row.crashes,
        first_failure_at=maybe_from_ms(row.first_failure_at),
        analysis_status=row.analysis_status,
        analysis_error=row.analysis_error,
        posting_status=row.posting_status,
        posting_error=row.posting_error,
    )


def _call(row: Row[Any]) -> CallRow:
    return CallRow(
        id=row.id,
        index=row.step_index,
        prompt_id=row.prompt_id,
        model=row.model,
        sender=row.sender,
        started_at=from_ms(row.started_at),
        finished_at=maybe_from_ms(row.finished_at),
        outcome=row.outcome,
        error=row.error,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cache_write_tokens=row.cache_write_tokens,
        cache_read_tokens=row.cache_read_tokens,
        cost_usd=None if row.cost_micro_usd is None else row.cost_micro_usd / 1_000_000,
        took_s=None if row.took_ms is None else row.took_ms / 1000,
    )
