"""What came after a delivery on its thread, so that work which has become pointless stops before it posts."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, select

from hls_handler.deliveries import Lease
from hls_handler.store.part import Part
from hls_handler.store.tables import deliveries

_c = deliveries.c
_own = deliveries.alias("own")


class Overtaking(Part):
    """Questions about newer deliveries of the same thread; both are answered without touching the network."""

    def newer_head(self, lease: Lease) -> str | None:
        """The newest head commit that a newer pull request delivery brought, if it is another than the lease's."""
        newest = (
            select(_c.head_sha)
            .where(
                _newer(lease),
                _c.event == "pull_request",
                _c.state.in_(("queued", "running", "done")),
                _c.head_sha.is_not(None),
            )
            .order_by(_c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            head_sha = connection.execute(newest).scalar()
        return None if head_sha == lease.head_sha else head_sha

    def closed_since(self, lease: Lease) -> bool:
        """Whether the thread was closed, deleted or transferred after this delivery, and not reopened after that."""
        newest = (
            select(_c.action)
            .where(
                _newer(lease),
                _c.event.in_(("issues", "pull_request")),
                _c.action.in_(("closed", "deleted", "transferred", "reopened")),
            )
            .order_by(_c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            action = connection.execute(newest).scalar()
        return action is not None and action != "reopened"


def _newer(lease: Lease) -> ColumnElement[bool]:
    """Of the same thread, accepted later. A delivery without a thread has none newer."""
    own_id = select(_own.c.id).where(_own.c.guid == lease.guid).scalar_subquery()
    return and_(_c.thread_key == (lease.thread_key or ""), _c.id > own_id)
