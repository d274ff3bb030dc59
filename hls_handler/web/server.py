"""The HTTP server: uvicorn with its configuration, and limits on heads of requests."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
from collections.abc import Iterable
from typing import NoReturn

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Settings
from hls_handler.web.app import new_request_id, response_headers
from hls_handler.web.receiver import BODY_TIMEOUT_S

HEAD_TIMEOUT_S = 10.0
"""Time in which the head of a request is complete, from the opening of the connection or from its
last response on.
"""

BACKLOG = 2048

MAX_HEADER_BYTES = 65_536
MAX_PIPELINED = 10
"""Requests of one connection that may wait for responses to earlier requests. GitHub and proxies do
not pipeline.
"""


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on server.host and server.port. Raises `SettingsError` if that
    fails.
    """
    host = settings.server.host.strip("[]")
    port = settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # of all addresses, also those of IPv4
    is_dual = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual
        )
    except OSError as exc:
        where = settings.sources.where("server.host")
        advice = "choose an address of this machine, such as 127.0.0.1 or ::"
        if exc.errno in (errno.EADDRINUSE, errno.EACCES):
            where = settings.sources.where("server.port")
            advice = "choose a free port with server.port or --port"
        # behind it, `create_server` names the address
        reason = (exc.strerror or str(exc)).partition(" (while ")[0]
        raise SettingsError(
            [f"{where}: cannot listen on {host}:{port}: {reason}; {advice}"]
        ) from exc


def graceful_shutdown_s(settings: Settings) -> int:
    """Return how many seconds uvicorn waits for open requests after a stop signal: at most
    limits.shutdown_s.
    """
    longest_request_s = max(BODY_TIMEOUT_S, settings.server.sync_timeout_s) + 1
    return math.ceil(min(longest_request_s, settings.limits.shutdown_s))


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on heads of requests, for which uvicorn has no option.

    It overrides callbacks of `asyncio.Protocol` and of the parser httptools.
    """

    head_timeout_s = HEAD_TIMEOUT_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._pending_bytes = 0  # bytes since the last complete headers, chunk or body
        self._problem = ""
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the headers are over {MAX_HEADER_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(
                f"more than {MAX_PIPELINED} requests were sent before their responses"
            )

    def on_headers_complete(self) -> None:
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
            self._stop_parsing(f"the headers are over {MAX_HEADER_BYTES} bytes")
        ambiguous = _find_ambiguous(self.headers, self.parser.get_http_version())
        if ambiguous is not None:
            self._stop_parsing(ambiguous)
        self._pending_bytes = 0
        self._deadline.cancel()
        super().on_headers_complete()
        self.headers = []  # trailers would otherwise become headers of the request

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # no other request waits
            self._deadline.cancel()
            self._start_deadline()

    def send_400_response(self, msg: str) -> None:
        self.transport.write(_format_400(self._problem or msg))
        self.transport.close()

    def _stop_parsing(self, problem: str) -> NoReturn:
        self._problem = problem
        raise ValueError(problem)  # uvicorn then calls `send_400_response`

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._end)

    def _end(self) -> None:
        """Close the connection, and abort it at the next deadline if the client has not read the
        response.
        """
        if self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()
            self._start_deadline()


def make_server(
    app: ASGIApp, settings: Settings, *, protocol: type[LimitedProtocol] = LimitedProtocol
) -> uvicorn.Server:
    """Return a server; run it with `server.serve(sockets=[listen(...)])`."""
    # its warnings are about requests that anybody can send
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=3600,  # the protocol closes idle connections before
        timeout_graceful_shutdown=graceful_shutdown_s(settings),
    )
    return uvicorn.Server(config)


def _find_ambiguous(headers: Iterable[tuple[bytes, bytes]], http_version: str) -> str | None:
    """Return the problem if a proxy in front might see another host or another end of the request;
    else None.

    https://www.rfc-editor.org/rfc/rfc9112#section-3.2 and #section-6.1
    """
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and http_version != "1.0"):
        return "there must be one header Host"
    if b"transfer-encoding" not in names:
        return None
    encodings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings != [b"chunked"]:
        return "Transfer-Encoding must be chunked, and nothing else"
    return None


def _format_400(detail: str) -> bytes:
    response = JSONResponse({"detail": detail}, headers={"connection": "close"})
    headers = [*response.raw_headers, *response_headers(new_request_id())]
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"".join((b"HTTP/1.1 400 Bad Request\r\n", lines, b"\r\n", response.body))
