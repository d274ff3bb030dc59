"""The HTTP server: uvicorn, configured, with bounds on all that is not a body and our own shape of a 400."""

from __future__ import annotations

import gc
import math
import os
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Settings
from hls_handler.web.answers import CLOSE, JSON_TYPE
from hls_handler.web.request_ids import answer_headers, given_or_fresh

MAX_HEAD_BYTES = 65_536
MOST_UNANSWERED = 100
"""Requests that one connection may have waiting behind the one at work."""

KEEP_ALIVE_S = 15
BACKLOG = 2048


COLLECT_AFTER = (20_000, 20, 20)
"""New objects before the collector of cycles looks at the youngest; Python's 700 are two webhooks'."""


class Server(uvicorn.Server):
    """uvicorn's server, which at its start takes all that is there by then, mostly imports, out of collections.

    `on_signal` is called when it is told to end: it first waits for open connections, `grace_s` at most, and only then
    ends the lifespan.
    """

    def __init__(self, config: uvicorn.Config, *, on_signal: Callable[[], None], grace_s: Callable[[], int]) -> None:
        super().__init__(config)
        self._on_signal, self._grace_s = on_signal, grace_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.timeout_graceful_shutdown = self._grace_s()
        super().handle_exit(sig, frame)
        self._on_signal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with the bounds that it lacks and our own answer to what it cannot parse."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bytes_between = 0  # since the last piece of a body: of a head, a chunk's extension or trailers

    def data_received(self, data: bytes) -> None:
        self._bytes_between += len(data)
        super().data_received(data)
        if self._bytes_between > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the headers are over {MAX_HEAD_BYTES} bytes")
        elif len(self.pipeline) > MOST_UNANSWERED:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._bytes_between = 0
        super().on_headers_complete()
        self.headers = []  # trailers go there, and no further

    def on_body(self, body: bytes) -> None:
        self._bytes_between = 0
        super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        """Two lines for each request that asks for WebSockets would be a stranger's way to fill the log."""

    def on_response_complete(self) -> None:
        """Close if the answered request is still coming in: nobody reads it. Only the newest one can be."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode({"detail": msg})
        length = (b"content-length", str(len(body)).encode("ascii"))
        headers = (JSON_TYPE, length, CLOSE, *answer_headers(given_or_fresh(())))
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + lines + b"\r\n" + body)
        self.transport.close()


def listen(settings: Settings) -> socket.socket:
    """A socket that listens where settings say. Raises `SettingsError` when the address cannot be had."""
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        where = settings.sources.where("server.port")
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        raise SettingsError(
            [f"{where}: cannot listen on {host}:{port}: {reason}; choose a free port; each serve needs its own"]
        ) from exc


def server(app: ASGIApp, settings: Callable[[], Settings], *, on_signal: Callable[[], None] = lambda: None) -> Server:
    """The server, to be run with `sockets=[listen(...)]`; `settings` gives those of now. It logs by the root logger."""

    def grace_s() -> int:
        now = settings()
        longest_request_s = max(now.server.body_timeout_s, now.server.sync_timeout_s) + 1
        return math.ceil(min(longest_request_s, now.limits.shutdown_s))

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s(),
    )
    return Server(config, on_signal=on_signal, grace_s=grace_s)
