"""How a worker gives a delivery back: finished, buried, or postponed; and how an operator brings a dead one back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.sql.dml import ReturningUpdate

from hls_handler.deliveries import WISH, Lease, State
from hls_handler.store.clock import FURTHEST_MS, to_ms
from hls_handler.store.counters import ended, processed
from hls_handler.store.part import literal, lost, release_locks, terms_of
from hls_handler.store.ranks import rank
from hls_handler.store.steps import NOTHING, Keepable, Packed, Posted, Progressing, packed
from hls_handler.store.tables import deliveries, turns

AnalysisStatus = Literal["done", "failed"]
PostingStatus = Posted | Literal["failed"]

_c = deliveries.c
_DROP_TURNS = turns.delete().where(turns.c.delivery_id == bindparam("of_delivery"))
_SET_STATUS = deliveries.update().where(_c.id == bindparam("row_id"))
_NOBODYS: dict[str, object] = {"worker": None, "lease_until": None}


class Ending(Progressing):
    """What ends a lease. Each raises `LeaseLost` when the lease has ended already."""

    def finish(
        self,
        lease: Lease,
        state: Literal["done", "ignored", "superseded"],
        *,
        reason: str | None,
        kind: str | None = None,
        handler: str | None = None,
        took_s: float,
        kept: Sequence[Keepable] = (),
        posting: Posted | None = None,
    ) -> None:
        """The delivery is finished, and why. An ignored one loses its body and its digest, as at the door.

        With it what waits is `kept`, and what became of the posting, if anything was to be posted.
        """
        values: dict[str, object] = {"reason_kind": kind, "took_ms": round(took_s * 1000)}
        if state == "ignored":
            values |= {"body": None, "digest": None}
        if posting is not None:
            values |= {"posting_status": posting, "posting_error": None}
        self._end(lease, state, reason=reason, kind=kind, handler=handler, values=values, kept=packed(kept))

    def bury(self, lease: Lease, *, reason: str, handler: str | None = None) -> None:
        """The delivery failed for good: it is dead until an operator or a redelivery brings it back."""
        self._end(lease, "dead", reason=reason, kind=None, handler=handler, values={})

    def postpone(self, lease: Lease, *, at: datetime, reason: str, failed: bool, counts: bool) -> None:
        """The delivery waits until `at`: after a failure (`failed`), which may use up an attempt (`counts`), or not.

        A failure gives up the turns that the delivery has reserved.
        """
        due_at = func.min if self._database.file is not None else func.least
        values: dict[str, object] = {
            "state": "queued",
            "due_at": due_at(to_ms(at), self._database.now + FURTHEST_MS),
            "reason": reason,
        }
        if failed:
            values |= {
                "failures": _c.failures + 1,
                "first_failure_at": func.coalesce(_c.first_failure_at, self._database.now),
            }
        if counts:
            values["attempts"] = _c.attempts + 1
        give_back = deliveries.update().where(self._shared.is_held).values(_NOBODYS | values).returning(_c.id)
        with self._database.writing() as connection:
            row_id = connection.execute(give_back, terms_of(lease)).scalar()
            if row_id is None:
                raise lost(lease)
            release_locks(connection, row_id)
            if failed:
                connection.execute(_DROP_TURNS, {"of_delivery": row_id})
            self._database.ring(connection)  # its place among those that run is free

    def set_status(
        self,
        lease: Lease,
        *,
        analysis: AnalysisStatus | None = None,
        analysis_error: str | None = None,
        posting: PostingStatus | None = None,
        posting_error: str | None = None,
    ) -> None:
        """Keep what became of the analysis, the posting, or both, each with its error; None leaves it as it is."""
        values: dict[str, object] = {}
        if analysis is not None:
            values |= {"analysis_status": analysis, "analysis_error": analysis_error}
        if posting is not None:
            values |= {"posting_status": posting, "posting_error": posting_error}
        with self._database.writing(durable=False) as connection:
            row_id = self._fenced(connection, lease)
            if values:
                connection.execute(_SET_STATUS, {"row_id": row_id, **values})

    def requeue(self, guid: str) -> State | None:
        """Run a dead delivery again, its remembered steps kept, or one that waits at once: a person wishes it.

        The state it has now; None for an unknown one. A dead one whose body is not kept any more stays dead.
        """
        now = self._database.now
        wished = {"due_at": now, "priority": WISH, "rank": rank(now, WISH)}
        no_later = {"rank": case((_c.rank < wished["rank"], _c.rank), else_=wished["rank"])}
        at_once = deliveries.update().where(_c.guid == guid, _c.state == literal("queued")).values(wished | no_later)
        again = (
            deliveries.update()
            .where(_c.guid == guid, _c.state == literal("dead"), _c.body.is_not(None))
            .values(
                state="queued",
                reason="an operator runs it again",
                **wished,
                queued_at=now,
                finished_at=None,
                attempts=0,
                failures=0,
                crashes=0,
                first_failure_at=None,
            )
        )
        with self._database.writing() as connection:
            connection.execute(at_once)
            connection.execute(again)
            self._database.ring(connection)
            return connection.execute(select(_c.state).where(_c.guid == guid)).scalar()

    @cached_property
    def _over(self) -> ReturningUpdate[Any]:
        """What else it is to set is what it is run with."""
        return (
            deliveries.update()
            .where(self._shared.is_held)
            .values(_NOBODYS | {"finished_at": self._database.now})
            .returning(_c.id, (_c.finished_at - _c.queued_at).label("processing_ms"), _c.failures)
        )

    def _end(
        self,
        lease: Lease,
        state: State,
        *,
        reason: str | None,
        kind: str | None,
        handler: str | None,
        values: dict[str, object],
        kept: Packed = NOTHING,
    ) -> None:
        told = {"state": state, "reason": reason, "handler": handler, **values, **terms_of(lease)}
        with self._database.writing() as connection:
            row = connection.execute(self._over, told).first()
            if row is None:
                raise lost(lease)
            counts = self._keep(connection, row.id, kept)
            release_locks(connection, row.id)
            connection.execute(_DROP_TURNS, {"of_delivery": row.id})
            counts += ended(state, repository=lease.repository, kind=kind, handler=handler)
            if state == "done":
                counts += processed(row.processing_ms)
                if row.failures:
                    counts["recovered_by_retry", ""] = 1
            self._count(connection, counts)
            self._database.ring(connection)  # for the next of its thread, and for who waits for this end
