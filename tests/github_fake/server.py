"""The sandbox with a log of its requests and with faults, as tests use it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hls_handler.sandbox import server
from tests.github_fake.faults import Faults
from tests.github_fake.middleware import DROP, FaultMiddleware, RequestLog


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[DROP] = self.transport.abort


class Sandbox(server.Sandbox):
    """The sandbox. `requests` are those to the stand-ins, some of which get `faults`."""

    protocol = _Protocol

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.faults = Faults()
        self.requests = RequestLog()
        self._closing: Future[None] = Future()

    def stop(self) -> None:
        """Stop the server, even while requests hang because of a fault."""
        if not self._closing.done():
            self._closing.set_result(None)
        super().stop()
        self._closing = Future()

    def mount(self, stand_ins: Mapping[str, ASGIApp]) -> list[BaseRoute]:
        """Return the stand-ins behind the log and the faults, and the log for other processes."""

        def wrap(prefix: str, app: ASGIApp) -> ASGIApp:
            return FaultMiddleware(
                app,
                "claude" if prefix == server.CLAUDE_PREFIX else "github",
                prefix=prefix,
                faults=self.faults,
                requests=self.requests,
                closing=self._closing,
            )

        async def list_requests(request: Request) -> Response:
            if request.method == "DELETE":
                self.requests.clear()
            return JSONResponse([logged.document() for logged in self.requests.all()])

        path = "/_sandbox/requests"
        return [
            Route(path, list_requests, methods=["GET", "DELETE"]),
            *(Mount(prefix, wrap(prefix, app)) for prefix, app in stand_ins.items()),
        ]
