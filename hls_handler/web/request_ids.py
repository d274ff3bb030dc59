"""The request id: the header X-Request-ID of the response, and a field of all log lines about the request."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from itertools import count

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_handler import logs

log = logging.getLogger(__name__)

HEADER = b"x-request-id"
INTERNAL_ERROR = "internal error; see the log under this request id"
HARDENING = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
CLOSE = (b"connection", b"close")

_PROCESS, _numbers = os.urandom(8).hex(), count(1)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9-]{8,64}")
_UUID = re.compile(rb"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_BODY_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


class RequestIdMiddleware:
    """ASGI middleware that puts the request id into log lines, `request.state` and the headers of every response.

    The response closes the connection if the request has a body that no route has read, as after a 404 or 405.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = given_request_id(scope["headers"]) or new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_read = scope["method"] == "POST" and message["status"] not in (404, 405)
                close = (CLOSE,) if not is_read and _has_body(scope["headers"]) else ()
                given = message["headers"]
                names = {name for name, _ in given}
                ours = (one for one in response_headers(request_id) if one[0] not in names)
                message["headers"] = [*given, *ours, *close]
            await send(message)

        with logs.log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:  # the top of a request: without this, the trace is logged without the request id
                log.exception("request failed because of a defect in HLS")
                await JSONResponse({"detail": INTERNAL_ERROR}, 500)(scope, receive, send_with_id)


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name in _BODY_HEADERS and value != b"0" for name, value in headers)


def given_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the X-Request-ID of a request; None unless it occurs once and has 8 to 64 letters, digits or hyphens.

    A UUID loses its hyphens: a caller must not choose the GUID of a delivery, whose log would then have this request.
    """
    given = [value for name, value in headers if name == HEADER]
    if len(given) != 1 or not _REQUEST_ID.fullmatch(given[0]):
        return None
    return (given[0].replace(b"-", b"") if _UUID.fullmatch(given[0]) else given[0]).decode("ascii")


def new_request_id() -> str:
    """Return 32 hexadecimal digits: 16 random ones of this process, and the number of the request."""
    return f"{_PROCESS}{next(_numbers):016x}"


def response_headers(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every response without others of these names: no type sniffing, no caching, the id."""
    return ((HEADER, request_id.encode("ascii")), *HARDENING)
