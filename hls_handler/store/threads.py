"""What came after a delivery on its thread, so that work which has become pointless stops before it posts."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, select

from hls_handler.deliveries import Lease
from hls_handler.store.part import Part
from hls_handler.store.tables import deliveries

_c = deliveries.c
_own = deliveries.alias("own")

_NEWER = and_(
    _c.thread_key == bindparam("of_thread"),
    _c.id > select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
)
_NEWEST_HEAD = (
    select(_c.head_sha)
    .where(
        _NEWER,
        _c.event == "pull_request",
        _c.state.in_(("queued", "running", "done")),
        _c.head_sha.is_not(None),
    )
    .order_by(_c.id.desc())
    .limit(1)
)
_NEWEST_END = (
    select(_c.action)
    .where(
        _NEWER,
        _c.event.in_(("issues", "pull_request")),
        _c.action.in_(("closed", "deleted", "transferred", "reopened")),
    )
    .order_by(_c.id.desc())
    .limit(1)
)


class Overtaking(Part):
    """Questions about newer deliveries of the same thread; both are answered without touching the network."""

    def newer_head(self, lease: Lease) -> str | None:
        """The newest head commit that a newer pull request delivery brought, if it is another than the lease's."""
        with self._database.reading() as connection:
            head_sha = connection.execute(_NEWEST_HEAD, _newer_than(lease)).scalar()
        return None if head_sha == lease.head_sha else head_sha

    def closed_since(self, lease: Lease) -> bool:
        """Whether the thread was closed, deleted or transferred after this delivery, and not reopened after that."""
        with self._database.reading() as connection:
            action = connection.execute(_NEWEST_END, _newer_than(lease)).scalar()
        return action is not None and action != "reopened"


def _newer_than(lease: Lease) -> dict[str, object]:
    """What `_NEWER` is asked with: of the same thread, accepted later. A delivery without a thread has none newer."""
    return {"of_guid": lease.guid, "of_thread": lease.thread_key or ""}
