"""The HTTP server: uvicorn with its configuration, and limits for which uvicorn has no option.

These are the number of connections, and the size and time of headers.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NoReturn

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Server as ServerSettings
from hls_handler.settings.model import Settings
from hls_handler.web.app import new_request_id, response_headers

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
BACKLOG = 2048

OWN_FILES = 64
FILES_PER_WORKER = 8
"""Open files reserved for database, GitHub, Claude and prompts: `OWN_FILES` plus `FILES_PER_WORKER`
per worker.
"""

MIN_CONNECTIONS = 16

MAX_HEADER_BYTES = 65_536
MAX_HEADERS = 100
MAX_PIPELINED = 10
"""Requests of one connection that may wait for responses to earlier requests. GitHub and proxies do
not pipeline.
"""

LOG_EVERY_S = 60.0


def find_connection_limit(settings: Settings) -> int:
    """Return how many connections may be open: server.max_connections, or fewer. Raises the limit
    of open files.

    The number is lower if the system allows too few open files, because libuv would silently drop
    further connections.
    """
    reserved = OWN_FILES + FILES_PER_WORKER * (settings.limits.concurrency + 1)
    wanted = settings.server.max_connections
    return max(MIN_CONNECTIONS, min(wanted, raise_file_limit(wanted + reserved) - reserved))


def raise_file_limit(files: int) -> int:
    """Raise the limit of open files to `files`. Return `files`, or the system's maximum if it is
    lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= files:
        return files
    wanted = files
    if hard != resource.RLIM_INFINITY:
        wanted = min(files, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS enforces a lower limit than it reports
        return soft
    return wanted


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on server.host and server.port. Raises `SettingsError` if that
    fails.
    """
    host = settings.server.host
    port = settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        where = settings.sources.where("server.port")
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        advice = "choose a free port with it or with --port; each `hls serve` needs its own"
        raise SettingsError(
            [f"{where}: cannot listen on {host}:{port}: {reason}; {advice}"]
        ) from exc


def graceful_shutdown_s(settings: Settings) -> int:
    """Return how many seconds uvicorn waits for open requests after a stop signal: at most
    limits.shutdown_s.
    """
    longest_request_s = max(settings.server.body_timeout_s, settings.server.sync_timeout_s) + 1
    return math.ceil(min(longest_request_s, settings.limits.shutdown_s))


def make_server(app: ASGIApp, settings: Callable[[], Settings]) -> uvicorn.Server:
    """Return a server; run it with `server.serve(sockets=[listen(...)])`. `settings` returns the
    current settings.
    """
    wanted = settings().server.max_connections
    limit = find_connection_limit(settings())
    if limit < wanted:
        log.warning(
            "fewer connections than server.max_connections allowed: raise the limit of open files"
            " (ulimit -n)",
            extra={"wanted": wanted, "connections": limit},
        )
    # its warnings are about requests that anybody can send
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=limited_protocol(
            Connections(lambda: find_connection_limit(settings())), lambda: settings().server
        ),
        ws="none",
        lifespan="on",
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=graceful_shutdown_s(settings()),
    )
    return uvicorn.Server(config)


class Connections:
    """The open connections in the order of their last complete request, or of their opening if
    there was none.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._open: OrderedDict[asyncio.Transport, None] = OrderedDict()
        self._unanswered: dict[asyncio.Transport, list[RequestResponseCycle]] = {}
        self._evicted = 0
        self._logged_at = -LOG_EVERY_S

    def add(self, transport: asyncio.Transport, now: float) -> None:
        """Add a connection. Above the limit, close the one that was idle longest. `now` is in
        monotonic seconds.
        """
        self._open[transport] = None
        while len(self._open) > max(self._limit(), 1):
            longest_idle, _ = self._open.popitem(last=False)
            longest_idle.abort()
            self._evicted += 1
        if self._evicted and now - self._logged_at >= LOG_EVERY_S:
            fields = {"closed": self._evicted, "open": len(self._open)}
            log.warning(
                "too many connections: those that were idle longest were closed", extra=fields
            )
            self._evicted = 0
            self._logged_at = now

    def add_request(self, transport: asyncio.Transport, request: RequestResponseCycle) -> None:
        earlier = self._unanswered.get(transport, ())
        self._unanswered[transport] = [
            *(one for one in earlier if not one.response_complete),
            request,
        ]

    def has_sent_request(self, transport: asyncio.Transport) -> None:
        if transport in self._open:
            self._open.move_to_end(transport)

    def remove(self, transport: asyncio.Transport) -> None:
        """Remove a closed connection, so that nothing is sent to it."""
        self._open.pop(transport, None)
        for request in self._unanswered.pop(transport, ()):
            request.disconnected = True  # uvicorn does this only for the newest pipelined request


def limited_protocol(
    connections: Connections, limits: Callable[[], ServerSettings]
) -> type[HttpToolsProtocol]:
    """Return a subclass of uvicorn's HTTP protocol that limits headers and connections. uvicorn has
    no option for that.

    It overrides callbacks of `asyncio.Protocol` and of the parser httptools.
    """

    class LimitedProtocol(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._pending_bytes = 0  # bytes since the last complete headers, chunk or body
            self._in_headers = False
            self._problem = ""
            self._deadline = self.loop.call_later(limits().header_timeout_s, self._time_out_headers)
            connections.add(transport, self.loop.time())

        def connection_lost(self, exc: Exception | None) -> None:
            self._deadline.cancel()
            connections.remove(self.transport)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._pending_bytes += len(data)
            super().data_received(data)
            if self._pending_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response(f"the headers are over {MAX_HEADER_BYTES} bytes")
            is_waiting = self._pending_bytes > 0 and self._deadline.cancelled()
            # also after an empty line
            if is_waiting and (self._in_headers or self.cycle.response_complete):
                self._deadline = self.loop.call_later(
                    limits().header_timeout_s, self._time_out_headers
                )

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_headers = True
            if len(self.pipeline) >= MAX_PIPELINED:
                self._stop_parsing(
                    f"more than {MAX_PIPELINED} requests were sent before their responses"
                )

        def on_headers_complete(self) -> None:
            if len(self.headers) > MAX_HEADERS:
                self._stop_parsing(f"there are more than {MAX_HEADERS} headers")
            if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADER_BYTES:
                self._stop_parsing(f"the headers are over {MAX_HEADER_BYTES} bytes")
            ambiguous = _find_ambiguous(self.headers, self.parser.get_http_version())
            if ambiguous is not None:
                self._stop_parsing(ambiguous)
            self._pending_bytes = 0
            self._in_headers = False
            self._deadline.cancel()
            super().on_headers_complete()
            self.headers = []  # trailers would otherwise become headers of the request
            connections.add_request(self.transport, self.cycle)

        def on_body(self, body: bytes) -> None:
            self._pending_bytes = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._pending_bytes = 0
            connections.has_sent_request(self.transport)
            super().on_message_complete()

        def _stop_parsing(self, problem: str) -> NoReturn:
            self._problem = problem
            raise ValueError(problem)  # uvicorn then calls `send_400_response`

        def _time_out_headers(self) -> None:
            # else send nothing: a proxy would take it for the response to its next request
            if self._pending_bytes:
                self.transport.write(
                    _raw_response(b"408 Request Timeout", "the headers did not arrive in time")
                )
            self.transport.close()

        def send_400_response(self, msg: str) -> None:
            self.transport.write(_raw_response(b"400 Bad Request", self._problem or msg))
            self.transport.close()

    return LimitedProtocol


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


def _raw_response(status: bytes, detail: str) -> bytes:
    response = JSONResponse({"detail": detail}, headers={"connection": "close"})
    headers = [*response.raw_headers, *response_headers(new_request_id())]
    return (
        b"HTTP/1.1 %b\r\n%b\r\n" % (status, b"".join(b"%b: %b\r\n" % one for one in headers))
        + response.body
    )
