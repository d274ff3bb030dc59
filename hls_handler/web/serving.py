"""The HTTP server: uvicorn, configured, with a bound on connections and an end to waiting for clients."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Settings
from hls_handler.web.crowd import Awaited, Crowd
from hls_handler.web.files import connections_within, ensure_files, needed
from hls_handler.web.protocol import Protocol

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 15
READING_S = 10
"""How long who asked may leave the answer on the way: until it is taken, or so much of it that we can send more."""

LOOK_EVERY_S, TELL_EVERY_S = 0.5, 60.0
BACKLOG = 2048

COLLECT_AFTER = (20_000, 20, 20)
"""New objects before the collector of cycles looks at the youngest; Python's 700 are two webhooks'."""


class Server(uvicorn.Server):
    """uvicorn's server with a crowd of bounded size, whose clients are not waited for without end.

    At its start it takes all that is there by then, mostly imports, out of collections. `on_signal` is called when it
    is told to end: it first waits for open connections, and only then ends the lifespan.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        crowd: Crowd[Protocol],
        settings: Callable[[], Settings],
        *,
        on_signal: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._crowd, self._settings, self._on_signal = crowd, settings, on_signal
        self._told_at = -TELL_EVERY_S

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.config.timeout_graceful_shutdown = grace_s(self._settings())
        super().handle_exit(sig, frame)
        self._on_signal()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._look_round()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)

    def _look_round(self) -> None:
        """Again and again until the loop ends, which is after the last connection did."""
        loop = asyncio.get_running_loop()
        self.end_waits(loop.time())
        loop.call_later(LOOK_EVERY_S, self._look_round)

    def end_waits(self, now: float) -> None:
        """Close the connections of all who were waited for long enough by `now`, in the loop's seconds."""
        patience_s: dict[Awaited, float] = {
            "head": self._settings().server.header_timeout_s,
            "next request": KEEP_ALIVE_S,
            "reading": READING_S,
        }
        for connection, awaited in self._crowd.overdue(now, patience_s):
            connection.out_of_patience(awaited, patience_s[awaited])
        if self._crowd.made_room and now - self._told_at >= TELL_EVERY_S:
            log.warning(
                "too many connections: the longest silent ones were closed",
                extra={"closed": self._crowd.made_room, "open": len(self._crowd)},
            )
            self._crowd.made_room, self._told_at = 0, now


class Bound:
    """How many connections may be open: what settings say now, or fewer where files are short, which is logged."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._wanted = self._most = 0

    def __call__(self) -> int:
        settings = self._settings()
        wanted = settings.server.max_connections
        if wanted != self._wanted:
            workers = settings.limits.concurrency
            files = ensure_files(needed(wanted, workers))
            self._wanted, self._most = wanted, connections_within(files, wanted, workers)
            if self._most < wanted:
                log.warning(
                    "fewer connections than server.max_connections: raise the limit of open files (ulimit -n)",
                    extra={"wanted": wanted, "connections": self._most, "files": files},
                )
        return self._most


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


def grace_s(settings: Settings) -> int:
    """How long open connections are waited for at the end."""
    longest_request_s = max(settings.server.body_timeout_s, settings.server.sync_timeout_s) + 1
    return math.ceil(min(longest_request_s, settings.limits.shutdown_s))


def server(app: ASGIApp, settings: Callable[[], Settings], *, on_signal: Callable[[], None] = lambda: None) -> Server:
    """The server, to be run with `sockets=[listen(...)]`; `settings` gives those of now. It logs by the root logger."""
    crowd: Crowd[Protocol] = Crowd()
    most = Bound(settings)
    most()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(Protocol, crowd=crowd, most=most),  # type: ignore[arg-type]  # makes one, as the class would
        ws="none",
        lifespan="on",
        workers=1,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s(settings()),
    )
    return Server(config, crowd, settings, on_signal=on_signal)
