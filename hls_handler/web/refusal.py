"""A request that is answered with 4xx: what the sender is told, and what only the log says."""

from __future__ import annotations

from hls_handler.errors import HlsError


class Refused(HlsError):
    """`detail` is one sentence for the sender; `why` is for the operator's log, where the sender must not know."""

    def __init__(self, status: int, detail: str, *, why: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.why = why or detail


def not_verified(why: str) -> Refused:
    """The one 401: it does not say which part of the signature was wrong."""
    return Refused(401, "the request could not be verified: check the webhook's secret", why=why)
