"""Request ids: every request has one, it is answered in X-Request-ID and stands in every line logged meanwhile."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hls_handler import logs

HEADER = b"x-request-id"
SCOPE_KEY = "hls.request_id"
_OURS, _NUMBERS = os.urandom(8).hex(), count(1)
"""A fresh id is the half that this process drew at random, and a number: the kernel is not asked for each."""

_SANE = re.compile(rb"[A-Za-z0-9-]{8,64}")

HARDENING = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class RequestIds:
    """Pure ASGI middleware. The id is in the scope, too, for whoever answers outside of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = given_or_fresh(scope["headers"])
        scope[SCOPE_KEY] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *answer_headers(request_id)]
            await send(message)

        with logs.bound(request_id=request_id):
            await self._app(scope, receive, send_with_id)


def given_or_fresh(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The sender's X-Request-ID if it came once and is a plain token, else a new one of 32 hexadecimal digits."""
    given = [value for name, value in headers if name == HEADER]
    if len(given) == 1 and _SANE.fullmatch(given[0]):
        return given[0].decode("ascii")
    return f"{_OURS}{next(_NUMBERS):016x}"


def answer_headers(request_id: str) -> tuple[tuple[bytes, bytes], ...]:
    """What every answer carries."""
    return ((HEADER, request_id.encode("ascii")), *HARDENING)
