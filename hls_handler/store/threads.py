"""What came after a delivery on its thread, so that work which has become pointless stops before it posts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, exists, func, or_, select

from hls_handler.deliveries import Lease
from hls_handler.store.part import Part, literal
from hls_handler.store.tables import analyses, deliveries

_c = deliveries.c
_own = deliveries.alias("own")

_NEWER = and_(  # a delivery without a thread has none
    _c.thread_key == bindparam("of_thread"),
    _c.id > select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
)
_NEWEST_HEAD = (
    select(_c.head_sha)
    .where(
        _NEWER,
        _c.event == "pull_request",
        _c.state.in_([literal("queued"), literal("running"), literal("done")]),
        _c.head_sha.is_not(None),
    )
    .order_by(_c.id.desc())
    .limit(1)
)
_NEWEST_END = (
    select(_c.action)
    .where(
        _NEWER,
        or_(_c.event == "issues", _c.event == "pull_request"),
        or_(*(_c.action == action for action in ("closed", "deleted", "transferred", "reopened"))),
    )
    .order_by(_c.id.desc())
    .limit(1)
)


_ANSWERED = exists().where(
    _NEWER,
    _c.state == literal("done"),
    _c.posting_status == "done",
    analyses.c.delivery_id == _c.id,
    analyses.c.step_index == 0,
    func.substr(analyses.c.prompt_id, 1, bindparam("length")) == bindparam("up_to_its_hash"),
)
_LATER = select(
    _NEWEST_HEAD.scalar_subquery().label("head_sha"),
    _NEWEST_END.scalar_subquery().label("end"),
    _ANSWERED.label("is_answered"),
)


_IS_NEWER = select(_c.id).where(_NEWER).limit(1)  # hardly ever: asked alone, as it costs a tenth of the rest


@dataclass(frozen=True, slots=True)
class Later:
    """What newer deliveries brought to a thread after one of its deliveries."""

    head_sha: str | None  # the newest head commit that a pull request delivery brought, if it is another than its own
    is_closed: bool  # closed, deleted or transferred, and not reopened after that
    is_answered: bool  # the same prompt was asked about a newer event, and what came of it was posted


NOTHING_LATER = Later(head_sha=None, is_closed=False, is_answered=False)


class Overtaking(Part):
    """What came meanwhile, which is answered without touching the network."""

    def later(self, lease: Lease, prompt: str) -> Later:
        """What came after the delivery, which is worked on by a prompt ("issues/analyze")."""
        own = f"{prompt}@"
        terms = {"of_guid": lease.guid, "of_thread": lease.thread_key or "", "up_to_its_hash": own, "length": len(own)}
        with self._database.reading() as connection:
            if connection.execute(_IS_NEWER, terms).first() is None:
                return NOTHING_LATER
            row = connection.execute(_LATER, terms).one()
        return Later(
            head_sha=None if row.head_sha == lease.head_sha else row.head_sha,
            is_closed=row.end is not None and row.end != "reopened",
            is_answered=bool(row.is_answered),
        )
